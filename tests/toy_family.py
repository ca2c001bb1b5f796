"""A family that shares nothing with jaxnas's own: a graph of two nodes, and a kind of operator.

Each edge is a convolution, a pool or a skip; no gene is a resolution; genes and weights have other
names; a residual block follows. All that jaxnas is told of it stands here: parts, and `smooth`, the
3x3 average, as `OPERATORS` and `EMITTERS` take it.
"""

from functools import partial

import jax.numpy as jnp
from onnx import helper

from jaxnas.export.emitters import Asked, Emitted
from jaxnas.networks.depthwise import depthwise
from jaxnas.networks.op import Op
from jaxnas.networks.operators import Operator
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.part_builder import PartBuilder
from jaxnas.spaces.parts import Part
from jaxnas.spaces.space import Space

CONVOLUTION, SMOOTH, SKIP = range(3)
PIXELS = 6


def _smooth(op, arrays, x):
    return depthwise(x, jnp.full((3, 3, x.shape[-1]), 1 / 9, x.dtype), 1)


def _emit_smooth(asked: Asked) -> Emitted:
    window = {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1}
    return Emitted([helper.make_node("AveragePool", asked.inputs, [asked.name], **window)])


OPERATOR = Operator(_smooth, channelwise=True)
EMITTER = _emit_smooth


def toy(size: int = PIXELS, channels: int = 3, classes: int = 4) -> Space:
    """Six genes: a width, an operation for each of three edges, their kernel, an expansion."""
    genes = (
        Gene("girth", (8, 16), "width"),
        Gene("from0to1", (CONVOLUTION, SMOOTH, SKIP), "operation"),
        Gene("from0to2", (CONVOLUTION, SMOOTH, SKIP), "operation"),
        Gene("from1to2", (CONVOLUTION, SMOOTH, SKIP), "operation"),
        Gene("reach", (1, 3), "kernel"),
        Gene("swelling", (1, 2), "expand"),
    )
    edge = partial(_edge, size)
    parts = (
        Part("entry", (0,), partial(_entry, size, channels), ("image",)),
        Part("one", (0, 1, 4), partial(edge, "one"), ("entry",)),
        Part("across", (0, 2, 4), partial(edge, "across"), ("entry",)),
        Part("two", (0, 3, 4), partial(edge, "two"), ("one",)),
        Part("sum", (0,), partial(_sum, size), ("across", "two")),
        Part("echo", (0, 5), partial(_echo, size), ("sum",)),
        Part("verdict", (0,), partial(_verdict, size, classes), ("echo",)),
    )
    return Space("toy", genes, parts)


def _entry(size, channels, girth) -> tuple[Op, ...]:
    ops = PartBuilder(size, channels)
    ops.conv("entry/weigh", girth, kernel=3, act="relu")
    return ops.done()


def _edge(size, name, girth, choice, reach) -> tuple[Op, ...]:
    ops = PartBuilder(size, girth)
    there = (choice == CONVOLUTION) * 1
    convolution = ops.conv(f"{name}/weigh", girth, act="relu", kernel=reach, repeat=there)
    smooth = ops.append("smooth", inputs=(0,), repeat=(choice == SMOOTH) * 1)
    ops.pick((convolution, smooth, 0), choice)
    return ops.done()


def _sum(size, girth) -> tuple[Op, ...]:
    ops = PartBuilder(size, girth)
    other = ops.input(size, girth)
    ops.append("add", inputs=(0, other))
    return ops.done()


def _echo(size, girth, swelling) -> tuple[Op, ...]:
    ops = PartBuilder(size, girth)
    ops.conv("echo/widen", girth * swelling, act="swish")
    narrow = ops.conv("echo/narrow", girth)
    ops.append("add", inputs=(narrow, 0))
    return ops.done()


def _verdict(size, classes, girth) -> tuple[Op, ...]:
    ops = PartBuilder(size, girth)
    ops.append("pool")
    ops.append("linear", classes, "verdict", bias=True)
    return ops.done()
