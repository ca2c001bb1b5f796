"""What cells are made of: an operation on every edge, and a sum of edges at every node.

Operations have their published names (Dong & Yang, "NAS-Bench-201", ICLR 2020; Liu et al., "DARTS",
ICLR 2019): convolutions follow an activation and precede a norm. In a supernet each edge has
weights of its own for each of its operations.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from jaxnas.networks.op import Op
from jaxnas.spaces.part_builder import PartBuilder
from jaxnas.types import Size

Operation = Callable[[PartBuilder, str, int], int]  # (part, path, stride) -> its last position


def edge(
    name: str, operations: Sequence[str], size: int, width: int, stride: int, choice: Size
) -> tuple[Op, ...]:
    """The operators of an edge: those of each operation where it is the choice."""
    ops = PartBuilder(size, width)
    results = []
    for i, operation in enumerate(operations):
        with ops.only_where((choice == i) * 1):
            results.append(OPERATIONS[operation](ops, f"{name}/{operation}", stride))
    ops.pick(tuple(results), choice)
    return ops.done()


def node(size: int, width: int, edges: int) -> tuple[Op, ...]:
    """The sum of edges."""
    ops = PartBuilder(size, width)
    others = [ops.input(size, width) for _ in range(edges - 1)]
    total = 0
    for other in others:
        total = ops.append("add", inputs=(total, other))
    return ops.done()


def relu_conv_norm(ops: PartBuilder, path: str, width: int, **rest: Any) -> int:
    """Activation, convolution and norm of the part's input."""
    _relu(ops)
    return ops.conv(path, width, **rest)


def factorised_reduction(ops: PartBuilder, path: str, width: int) -> int:
    """Half of the channels from the even pixels of the part's input, half from the odd ones."""
    relu = _relu(ops)
    even = ops.conv(f"{path}/even", width // 2, stride=2)
    ops.append("shift", inputs=(relu,))
    odd = ops.conv(f"{path}/odd", width - width // 2, stride=2)
    return ops.append("concat", inputs=(even, odd))


def _relu(ops: PartBuilder) -> int:
    return ops.append("identity", inputs=(0,), act="relu")


def _none(ops: PartBuilder, path: str, stride: int) -> int:
    return ops.append("zero", inputs=(0,), stride=stride)


def _skip(ops: PartBuilder, path: str, stride: int) -> int:
    return 0 if stride == 1 else factorised_reduction(ops, path, ops.ops[0].c_out)


def _convolution(kernel: int, ops: PartBuilder, path: str, stride: int) -> int:
    return relu_conv_norm(ops, path, ops.ops[0].c_out, kernel=kernel, stride=stride)


def _pool(kind: str, ops: PartBuilder, path: str, stride: int) -> int:
    return ops.append(kind, inputs=(0,), kernel=3, stride=stride)


def _separable(kernel: int, ops: PartBuilder, path: str, stride: int) -> int:
    """A depthwise and a pointwise convolution, twice."""
    width = ops.ops[0].c_out
    _relu(ops)
    window = {"kernel": kernel, "groups": width}
    ops.append("conv", width, f"{path}/depthwise1", stride=stride, **window)
    ops.conv(f"{path}/pointwise1", width, act="relu")
    ops.append("conv", width, f"{path}/depthwise2", **window)
    return ops.conv(f"{path}/pointwise2", width)


def _dilated(kernel: int, ops: PartBuilder, path: str, stride: int) -> int:
    """A dilated depthwise and a pointwise convolution."""
    width = ops.ops[0].c_out
    _relu(ops)
    window = {"kernel": kernel, "groups": width, "dilation": 2}
    ops.append("conv", width, f"{path}/depthwise", stride=stride, **window)
    return ops.conv(f"{path}/pointwise", width)


OPERATIONS: dict[str, Operation] = {
    "none": _none,
    "skip_connect": _skip,
    "nor_conv_1x1": partial(_convolution, 1),
    "nor_conv_3x3": partial(_convolution, 3),
    "avg_pool_3x3": partial(_pool, "avgpool"),
    "max_pool_3x3": partial(_pool, "maxpool"),
    "sep_conv_3x3": partial(_separable, 3),
    "sep_conv_5x5": partial(_separable, 5),
    "dil_conv_3x3": partial(_dilated, 3),
    "dil_conv_5x5": partial(_dilated, 5),
}
