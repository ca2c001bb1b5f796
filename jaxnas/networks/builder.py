"""Lists of operators written one after the other.

Sizes and input channels follow from what an operator reads.
"""

from collections.abc import Sequence
from dataclasses import replace

from jaxnas.errors import UserError
from jaxnas.networks.op import Op
from jaxnas.networks.operators import OPERATORS

# Of CIFAR's images.
SIZE = 32
CHANNELS = 3


def append(
    ops: list[Op],
    kind: str,
    c_out: int = 0,
    path: str = "",
    inputs: tuple[int, ...] = (),
    stride: int = 1,
    **rest,
) -> int:
    """Appends an operator.

    It follows the one before it unless `inputs` are given, and keeps its width without `c_out`.

    Returns its position.
    """
    inputs = inputs or (len(ops) - 1,)
    sources = [(ops[i].height, ops[i].c_out) if i >= 0 else (SIZE, CHANNELS) for i in inputs]
    size, c_in = sources[0]
    if kind == "concat":
        c_in = sum(channels for _, channels in sources)
    op = Op(kind, path, inputs, size, size, c_in, c_out or c_in, stride=stride, **rest)
    side = OPERATORS[kind].side(size, op)
    ops.append(replace(op, height=side, width=side))
    return len(ops) - 1


def at_size(ops: Sequence[Op], pixels: int) -> tuple[Op, ...]:
    """The same network, weights and all, for square images of another size.

    Raises:
        UserError: its classifier sees the last map's one pixel, as VGG's does, and there would be
            more.
    """
    sized: list[Op] = []
    for op in ops:
        before = sized[op.inputs[0]].height if op.inputs[0] >= 0 else pixels
        if op.kind == "linear" and before > 1:
            raise UserError(
                f"{op.path} reads one pixel, got {before} x {before} from images of {pixels}: a "
                "network that ends in a pool takes them"
            )
        size = OPERATORS[op.kind].side(before, op)
        sized.append(replace(op, height=size, width=size))
    return tuple(sized)


def append_conv(
    ops: list[Op],
    path: str,
    c_out: int,
    kernel: int,
    stride: int = 1,
    act: str = "relu",
    inputs: tuple[int, ...] = (),
    bias: bool = False,
) -> int:
    """Convolution, norm and activation."""
    return append(
        ops, "conv", c_out, path, inputs, stride, kernel=kernel, norm=True, act=act, bias=bias
    )


def append_depthwise(
    ops: list[Op], path: str, stride: int, act: str = "", inputs: tuple[int, ...] = ()
) -> int:
    """Depthwise 3x3 convolution, norm and activation."""
    channels = ops[inputs[0] if inputs else -1].c_out
    return append(
        ops, "conv", channels, path, inputs, stride, kernel=3, groups=channels, norm=True, act=act
    )


def append_classifier(ops: list[Op], path: str, classes: int) -> int:
    """Global average and linear layer."""
    append(ops, "pool")
    return append(ops, "linear", classes, path, bias=True)
