"""The factorised hierarchical family: every stage chooses its operator, and its layers are alike.

Tan et al., "MnasNet: Platform-aware neural architecture search for mobile" (CVPR 2019), section 4.

Genome: resolution, widths (stem, each stage, last convolution), depths, operators, kernels,
squeezes, expands, shortcuts, in this order. An operator's value is its position in `OPERATORS`.
"""

from dataclasses import replace
from functools import partial

from jaxnas.networks.op import Op
from jaxnas.networks.sizes import strided
from jaxnas.spaces.gene import Gene, shortcut_gene
from jaxnas.spaces.hierarchical_structure import (
    EXPANDING,
    OPERATORS,
    SQUEEZING,
    Hierarchical,
    HierarchicalStage,
)
from jaxnas.spaces.part_builder import PartBuilder, classifier, squeeze_excite
from jaxnas.spaces.parts import Part, of_named
from jaxnas.spaces.space import Space
from jaxnas.types import Size

PER_LAYER = ("operator", "kernel", "squeeze", "expand")  # genes that each layer depends on


def hierarchical_space(name: str, net: Hierarchical) -> Space:
    """The space of a structure."""
    stages = [(f"stage{i}", stage) for i, stage in enumerate(net.stages, 1)]
    genes = (
        Gene("resolution", net.resolutions, "resolution", static=True),
        Gene("first_conv_width", net.first_widths, "width"),
        *(Gene(f"{stage}_width", own.widths, "width") for stage, own in stages),
        Gene("last_conv_width", net.last_widths, "width"),
        *(Gene(f"{stage}_depth", own.depths, "depth") for stage, own in stages),
        *(_operator(stage, own) for stage, own in stages),
        *(Gene(f"{stage}_kernel", own.kernels, "kernel") for stage, own in stages),
        *(_gene_of(stage, own, "squeeze", own.squeezes, SQUEEZING) for stage, own in stages),
        *(_gene_of(stage, own, "expand", own.expands, EXPANDING) for stage, own in stages),
        *(shortcut_gene(stage, own.depths, own.shortcuts) for stage, own in stages),
    )
    parts = _parts(net, [gene.name for gene in genes])
    return Space(name, genes, parts, net, partial(smallest, name, net))


def _operator(stage: str, own: HierarchicalStage) -> Gene:
    choices = own.choices()
    labels = tuple(OPERATORS[choice] for choice in choices)
    return Gene(f"{stage}_operator", choices, "operation", labels=labels)


def _gene_of(
    stage: str,
    own: HierarchicalStage,
    kind: str,
    choices: tuple[int, ...],
    operators: tuple[str, ...],
) -> Gene:
    """A gene that matters to some operators alone; where the stage has none of them, one choice."""
    some = own.choices(operators)
    needs = (f"{stage}_operator", some) if 0 < len(some) < len(own.operators) else None
    return Gene(f"{stage}_{kind}", choices if some else choices[:1], kind, needs=needs)


def smallest(name: str, net: Hierarchical) -> Space:
    """All operators in a stage of one layer, one of them in a deeper one; narrow, small images."""
    wide = HierarchicalStage((8, 16), (1,), (3,), (2,), (0, 25))
    deep = HierarchicalStage((8,), (1, 2), (3, 5), (2,), (0,), 2, ("mbconv",))
    small = replace(net, resolutions=(12,), first_widths=(8,), first_stride=1, stages=(wide, deep))
    return hierarchical_space(name, replace(small, last_widths=(16, 24), classes=4))


def _parts(net: Hierarchical, genes: list[str]) -> tuple[Part, ...]:
    """The stem, every layer, and the head in two parts."""
    part = partial(of_named, genes)
    parts = [part("first_conv", ["resolution", "first_conv_width"], partial(_stem, net))]
    width = "first_conv_width"
    stride = net.first_stride
    for i, stage in enumerate(net.stages, 1):
        own = [f"stage{i}_{kind}" for kind in ("width", *PER_LAYER)]
        first = partial(_first_layer, net, stage, f"stage{i}/layer0", stride)
        parts.append(part(f"stage{i}/layer0", ["resolution", width, *own], first))
        width = f"stage{i}_width"
        stride *= stage.stride
        by = ["resolution", *own, f"stage{i}_shortcut", f"stage{i}_depth"]
        for layer in range(1, stage.depths[-1]):
            name = f"stage{i}/layer{layer}"
            parts.append(part(name, by, partial(_later_layer, net, stage, name, stride, layer)))
    by = ["resolution", width, "last_conv_width"]
    parts.append(part("last_conv", by, partial(_last, net, stride)))
    parts.append(part("classifier", ["last_conv_width"], partial(classifier, classes=net.classes)))
    return tuple(parts)


def _stem(net: Hierarchical, resolution: Size, width: Size) -> tuple[Op, ...]:
    ops = PartBuilder(resolution, net.channels)
    ops.conv("first_conv", width, kernel=3, stride=net.first_stride, act=net.activation)
    return ops.done()


def _last(net: Hierarchical, stride: int, resolution, width, last) -> tuple[Op, ...]:
    ops = PartBuilder(strided(resolution, stride), width)
    ops.conv("last_conv/expand", last, act=net.activation)
    ops.append("pool")
    return ops.done()


def _first_layer(
    net: Hierarchical,
    stage: HierarchicalStage,
    name: str,
    before: int,
    resolution,
    c_in,
    width,
    *choices,
) -> tuple[Op, ...]:
    """A stage's first layer, which strides and changes the width; there is always one."""
    ops = PartBuilder(strided(resolution, before), c_in)
    _operators(ops, net, stage, name, stage.stride, width, *choices)
    return ops.done()


def _later_layer(
    net: Hierarchical,
    stage: HierarchicalStage,
    name: str,
    before: int,
    layer: int,
    resolution,
    width,
    *choices,
) -> tuple[Op, ...]:
    """A layer of equal widths that stages of up to `layer` layers do without."""
    *own, shortcut, depth = choices
    there = (depth > layer) * 1
    ops = PartBuilder(strided(resolution, before), width, repeat=there)
    result = _operators(ops, net, stage, name, 1, width, *own)
    added = ops.append("add", inputs=(result, 0), repeat=shortcut)
    ops.pick((0, result, added), there * (1 + shortcut))
    return ops.done()


def _operators(
    ops: PartBuilder,
    net: Hierarchical,
    stage: HierarchicalStage,
    name: str,
    stride: int,
    width,
    operator,
    kernel,
    squeeze,
    expand,
) -> int:
    """Every operator of the stage on the part's input, each with weights of its own; one counts."""
    results = []
    position = operator * 0
    for i, choice in enumerate(stage.choices()):
        with ops.only_where((operator == choice) * 1):
            kind = OPERATORS[choice]
            window = {"kernel": kernel, "stride": stride}
            results.append(_layer(ops, net, kind, f"{name}/{kind}", window, width, squeeze, expand))
        position = position + i * (operator == choice)
    return ops.pick(tuple(results), position)


def _layer(
    ops: PartBuilder, net: Hierarchical, kind: str, path: str, window: dict, width, squeeze, expand
) -> int:
    """One operator; returns the position of its result."""
    c_in = ops.ops[0].c_out
    act = net.activation
    if kind == "conv":
        return ops.conv(f"{path}/project", width, act, inputs=(0,), **window)
    if kind == "fused_mbconv":
        ops.conv(f"{path}/expand", c_in * expand, act, inputs=(0,), **window)
    else:
        before = 0
        if kind == "mbconv":
            before = ops.conv(f"{path}/expand", c_in * expand, act, inputs=(0,))
        middle = ops.ops[before].c_out
        ops.conv(f"{path}/depthwise", middle, act, inputs=(before,), groups=middle, **window)
    filtered = len(ops.ops) - 1
    squeezes = (squeeze > 0) * 1
    squeezed = c_in * squeeze // 100
    with ops.only_where(squeezes):
        one = (squeezed == 0) * 1  # a channel at least, where it is absent too
        gated = squeeze_excite(ops, f"{path}/squeeze_excite", squeezed + one, "sigmoid")
    ops.pick((filtered, gated), squeezes)
    return ops.conv(f"{path}/project", width)
