"""A genome's network as a list of operators, without weights."""

from typing import NamedTuple

from jaxnas.networks.op import Op
from jaxnas.spaces.mobilenet import Choice
from jaxnas.spaces.stage import MobileNet, Stage, head_width, make_divisible, squeezed, strided
from jaxnas.types import Size


class Sizes(NamedTuple):
    """A block's active sizes, ints or traced."""

    c_in: Size
    c_out: Size
    kernel: Size
    expand: Size


def operators(net: MobileNet, choice: Choice) -> tuple[Op, ...]:
    """The network of a genome, operator by operator, in order of execution."""
    ops: list[Op] = []
    size = strided(choice.resolution, net.first_stride)
    c_in = choice.first
    _append(
        ops,
        "conv",
        size,
        net.channels,
        c_in,
        "first_conv",
        kernel=3,
        stride=net.first_stride,
        norm=True,
        act=net.activation,
    )
    for i, stage in enumerate(net.stages):
        for b in range(choice.depths[i]):
            stride = stage.stride if b == 0 else 1
            sizes = Sizes(c_in, choice.widths[i], choice.kernels[i][b], choice.expands[i][b])
            append_block(ops, f"mb{i + 1}/block{b}", net, stage, size, stride, sizes)
            size = strided(size, stride)
            c_in = choice.widths[i]
    wide = head_width(net, c_in, choice.last)
    _append(ops, "conv", size, c_in, wide, "last_conv/expand", norm=True, act=net.activation)
    _append(ops, "pool", 1, wide, wide)
    if net.head == "v3":
        _append(ops, "conv", 1, wide, choice.last, "last_conv/feature", act=net.activation)
    _append(ops, "linear", 1, choice.last, net.classes, "classifier", bias=True)
    return tuple(ops)


def _append(
    ops: list[Op],
    kind: str,
    size: int,
    c_in: int,
    c_out: int,
    path: str = "",
    inputs: tuple[int, ...] = (),
    **rest,
) -> int:
    """Appends an operator, which follows the one before it unless `inputs` are given.

    Returns its position.
    """
    ops.append(Op(kind, path, inputs or (len(ops) - 1,), size, size, c_in, c_out, **rest))
    return len(ops) - 1


def append_block(
    ops: list[Op], path: str, net: MobileNet, stage: Stage, size: int, stride: int, sizes: Sizes
) -> None:
    """Appends the operators of one block.

    Its input is the last operator's result, of `size` pixels.
    """
    c_in, c_out, kernel, expand = map(int, sizes)
    around = len(ops) - 1
    out = strided(size, stride)
    middle = make_divisible(c_in * expand)
    act = stage.activation
    if stage.operator == "fused_mbconv":
        _append(
            ops,
            "conv",
            out,
            c_in,
            middle,
            f"{path}/expand",
            kernel=kernel,
            stride=stride,
            norm=True,
            act=act,
        )
    elif stage.expand_kernels:
        _append(ops, "conv", size, c_in, middle, f"{path}/expand", norm=True, act=act)
    if stage.depthwise_kernels:
        _append(
            ops,
            "conv",
            out,
            middle,
            middle,
            f"{path}/depthwise",
            kernel=kernel,
            stride=stride,
            groups=middle,
            norm=True,
            act=act,
        )
    if stage.squeeze_excite:
        x = len(ops) - 1
        _append(ops, "pool", 1, middle, middle)
        _append(
            ops,
            "conv",
            1,
            middle,
            squeezed(middle),
            f"{path}/squeeze_excite/squeeze",
            bias=True,
            act="relu",
        )
        gate = _append(
            ops,
            "conv",
            1,
            squeezed(middle),
            middle,
            f"{path}/squeeze_excite/excite",
            bias=True,
            act="hard_sigmoid",
        )
        _append(ops, "mul", out, middle, middle, inputs=(x, gate))
    if stage.operator == "conv":
        x = _append(
            ops,
            "conv",
            out,
            middle,
            c_out,
            f"{path}/project",
            kernel=kernel,
            stride=stride,
            norm=True,
            act=act,
        )
    else:
        x = _append(ops, "conv", out, middle, c_out, f"{path}/project", norm=True)
    if net.shortcut == "identity" and (stride != 1 or c_in != c_out):
        return
    if stride == 2:
        around = _append(ops, "avgpool2", out, c_in, c_in, inputs=(around,))
    if c_in != c_out:
        around = _append(ops, "conv", out, c_in, c_out, f"{path}/shortcut", inputs=(around,))
    _append(ops, "add", out, c_out, c_out, inputs=(x, around))
