"""MobileNetV2 (Sandler et al., 2018, table 2) for CIFAR.

The first two of its five strides are 1.
"""

from jaxnas.networks.builder import append, append_classifier, append_conv, append_depthwise
from jaxnas.networks.op import Op
from jaxnas.networks.sizes import make_divisible
from jaxnas.spaces.mobilenet_v2 import FIRST, LAST, ROWS

STAGES = tuple((*row[:3], stride) for row, stride in zip(ROWS, (1, 1, 2, 2, 1, 2, 1), strict=True))


def operators(width: float, classes: int) -> tuple[Op, ...]:
    """All channels times `width`, but the last convolution's only where that is more than 1."""
    ops: list[Op] = []
    append_conv(ops, "first_conv", _scaled(FIRST, width), 3, act="relu6")
    for stage, (expand, channels, blocks, stride) in enumerate(STAGES, 1):
        for block in range(blocks):
            _block(
                ops,
                f"mb{stage}/block{block}",
                expand,
                _scaled(channels, width),
                1 if block else stride,
            )
    append_conv(ops, "last_conv", _scaled(LAST, max(1.0, width)), 1, act="relu6")
    append_classifier(ops, "classifier", classes)
    return tuple(ops)


def _block(ops: list[Op], path: str, expand: int, c_out: int, stride: int) -> None:
    """An inverted residual; the way around is there where nothing changes its shape."""
    around = len(ops) - 1
    c_in = ops[around].c_out
    if expand > 1:
        append_conv(ops, f"{path}/expand", expand * c_in, 1, act="relu6")
    append_depthwise(ops, f"{path}/depthwise", stride, "relu6")
    branch = append_conv(ops, f"{path}/project", c_out, 1, act="")
    if stride == 1 and c_in == c_out:
        append(ops, "add", inputs=(branch, around))


def _scaled(channels: int, width: float) -> int:
    """As the paper rounds: to the nearest multiple of 8, never below 90 %."""
    return int(make_divisible(channels * width))
