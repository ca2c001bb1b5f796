"""VGG with batch norm (Simonyan and Zisserman, 2015) for CIFAR.

Five poolings leave one pixel.
"""

from jaxnas.errors import choose
from jaxnas.networks.builder import append, append_conv
from jaxnas.networks.op import Op

WIDTHS = (64, 128, 256, 512, 512)
# Convolutions before each pooling.
DEPTHS = {
    "11": (1, 1, 2, 2, 2),
    "13": (2, 2, 2, 2, 2),
    "16": (2, 2, 3, 3, 3),
    "19": (2, 2, 4, 4, 4),
}
HIDDEN = 512


def operators(layers: int, classes: int) -> tuple[Op, ...]:
    """The paper's configurations A, B, D and E, of 11, 13, 16 and 19 layers.

    Convolutions have a bias before their norm.
    """
    ops: list[Op] = []
    for stage, (width, depth) in enumerate(
        zip(WIDTHS, choose("VGG", str(layers), DEPTHS), strict=True), 1
    ):
        for i in range(depth):
            append_conv(ops, f"features{stage}/{i}", width, 3, bias=True)
        append(ops, "maxpool2")
    for i in range(2):
        append(ops, "linear", HIDDEN, f"hidden{i}", bias=True, act="relu")
    append(ops, "linear", classes, "classifier", bias=True)
    return tuple(ops)
