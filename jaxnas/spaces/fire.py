"""Fire modules: what is squeezed by a 1x1 convolution is expanded by 1x1 and 3x3 ones side by side.

Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters" (2016), with its
simple bypass as a choice.

Genome: resolution, width of the stem, squeezes, 1x1 expands, 3x3 expands, depths, shortcuts of each
stage, in this order; a stage's modules share its genes.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from jaxnas.networks.op import Op
from jaxnas.networks.sizes import windowed
from jaxnas.spaces.fire_structure import Fire, FireStage
from jaxnas.spaces.gene import Gene, shortcut_gene
from jaxnas.spaces.part_builder import PartBuilder
from jaxnas.spaces.parts import Part, of_named
from jaxnas.spaces.space import Space
from jaxnas.types import Size

POOL: dict[str, Any] = {"kernel": 3, "stride": 2, "padding": "ceil"}


def fire_space(name: str, net: Fire) -> Space:
    """The space of a structure."""
    stages = [(f"stage{i}", stage) for i, stage in enumerate(net.stages, 1)]
    genes = (
        Gene("resolution", net.resolutions, "resolution", static=True),
        Gene("first_conv_width", net.first_widths, "width"),
        *(Gene(f"{stage}_squeeze", own.squeezes, "width") for stage, own in stages),
        *(Gene(f"{stage}_expand1x1", own.expands_1x1, "width") for stage, own in stages),
        *(Gene(f"{stage}_expand3x3", own.expands_3x3, "width") for stage, own in stages),
        *(Gene(f"{stage}_depth", own.depths, "depth") for stage, own in stages),
        *(shortcut_gene(stage, own.depths, own.shortcuts) for stage, own in stages),
    )
    parts = _parts(net, [gene.name for gene in genes])
    return Space(name, genes, parts, net, partial(smallest, name, net))


def smallest(name: str, net: Fire) -> Space:
    """Two narrow stages on small images: one of two modules, and one behind a pool."""
    stages = (
        FireStage((8,), (8, 16), (8, 16), (1, 2), shortcuts=net.stages[-1].shortcuts),
        FireStage((8, 16), (8,), (8,), (1,), pool=True),
    )
    small = replace(net, resolutions=(12,), first_widths=(8,), stages=stages, classes=4)
    return fire_space(name, small)


def _parts(net: Fire, genes: list[str]) -> tuple[Part, ...]:
    """The stem, every module, and the head."""
    part = partial(of_named, genes)
    parts = [part("first_conv", ["resolution", "first_conv_width"], partial(_stem, net))]
    widths = ["first_conv_width"]  # whose sum is the width before a stage
    side = partial(_after_stem, net)
    for i, stage in enumerate(net.stages, 1):
        own = [f"stage{i}_{kind}" for kind in ("squeeze", "expand1x1", "expand3x3")]
        first = partial(_first_module, net, stage, f"stage{i}/fire0", side)
        parts.append(part(f"stage{i}/fire0", ["resolution", *widths, *own], first))
        side = partial(_after_pool, side) if stage.pool else side
        widths = own[1:]
        by = ["resolution", *own, f"stage{i}_depth", f"stage{i}_shortcut"]
        for module in range(1, stage.depths[-1]):
            name = f"stage{i}/fire{module}"
            parts.append(part(name, by, partial(_later_module, net, name, side, module)))
    parts.append(part("classifier", ["resolution", *widths], partial(_head, net, side)))
    return tuple(parts)


def _after_stem(net: Fire, resolution: Size) -> Size:
    return windowed(resolution, 3, net.first_stride, net.first_padding)


def _after_pool(side: Callable[[Size], Size], resolution: Size) -> Size:
    return windowed(side(resolution), **POOL)


def _stem(net: Fire, resolution: Size, width: Size) -> tuple[Op, ...]:
    ops = PartBuilder(resolution, net.channels)
    window = {"kernel": 3, "stride": net.first_stride, "padding": net.first_padding}
    _conv(ops, net, "first_conv", width, **window)
    return ops.done()


def _first_module(
    net: Fire, stage: FireStage, name: str, side: Callable[[Size], Size], resolution, *values
) -> tuple[Op, ...]:
    *widths, squeeze, one, three = values
    ops = PartBuilder(side(resolution), sum(widths))
    if stage.pool:
        ops.append("maxpool", **POOL)
    _module(ops, net, name, squeeze, one, three)
    return ops.done()


def _later_module(
    net: Fire,
    name: str,
    side: Callable[[Size], Size],
    module: int,
    resolution,
    squeeze,
    one,
    three,
    depth,
    shortcut,
) -> tuple[Op, ...]:
    """A module that stages of up to `module` modules do without."""
    there = (depth > module) * 1
    ops = PartBuilder(side(resolution), one + three, repeat=there)
    result = _module(ops, net, name, squeeze, one, three)
    added = ops.append("add", inputs=(result, 0), repeat=shortcut)
    ops.pick((0, result, added), there * (1 + shortcut))
    return ops.done()


def _module(ops: PartBuilder, net: Fire, name: str, squeeze, one, three) -> int:
    squeezed = _conv(ops, net, f"{name}/squeeze", squeeze)
    left = _conv(ops, net, f"{name}/expand1x1", one)
    right = _conv(ops, net, f"{name}/expand3x3", three, inputs=(squeezed,), kernel=3)
    return ops.append("concat", inputs=(left, right))


def _conv(ops: PartBuilder, net: Fire, path: str, width: Size, **rest: Any) -> int:
    """Convolution, norm or bias, and activation."""
    behind = {"norm": net.norm, "bias": not net.norm, "act": net.activation}
    return ops.append("conv", width, path, **behind, **rest)


def _head(net: Fire, side: Callable[[Size], Size], resolution, *widths) -> tuple[Op, ...]:
    ops = PartBuilder(side(resolution), sum(widths))
    if net.head == "linear":
        ops.append("pool")
        ops.append("linear", net.classes, "classifier", bias=True)
        return ops.done()
    ops.append("conv", net.classes, "classifier", bias=True, act=net.activation)
    ops.append("pool")
    ops.append("flatten")
    return ops.done()
