"""The elastic inverted-residual family: stages of blocks, each described by its choices.

Genome: resolution, widths (first_conv, each stage, last_conv), depths, kernels, expands, in this
order. AttentiveNAS has one width, depth, kernel and expand ratio per stage, shared by its blocks:
31 genes (Wang et al., "AttentiveNAS", CVPR 2021). Once-for-All has a kernel and an expand ratio for
every block (Cai et al., "Once for All", ICLR 2020).
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from jaxnas.networks.op import Op
from jaxnas.networks.sizes import make_divisible, squeezed, strided
from jaxnas.spaces.gene import Gene, deeper_than
from jaxnas.spaces.mobilenet_structure import MobileNet, Stage, head_width
from jaxnas.spaces.part_builder import PartBuilder, squeeze_excite
from jaxnas.spaces.parts import Part, of_named
from jaxnas.spaces.space import Space
from jaxnas.types import Size


def mobilenet_space(name: str, net: MobileNet) -> Space:
    """The space of a structure; its genes are in the order that the head of this page gives."""
    stages = [(f"mb{i}", stage) for i, stage in enumerate(net.stages, 1)]
    genes = (
        Gene("resolution", net.resolutions, "resolution", static=True),
        Gene("first_conv_width", net.first_widths, "width"),
        *(Gene(f"{mb}_width", stage.widths, "width") for mb, stage in stages),
        Gene("last_conv_width", net.last_widths, "width"),
        *(Gene(f"{mb}_depth", stage.depths, "depth") for mb, stage in stages),
        *(gene for mb, stage in stages for gene in _block_genes(net, mb, stage, "kernel")),
        *(gene for mb, stage in stages for gene in _block_genes(net, mb, stage, "expand")),
    )
    parts = _parts(net, [gene.name for gene in genes])
    return Space(name, genes, parts, net, partial(smallest, name, net))


def smallest(name: str, net: MobileNet) -> Space:
    """The same kinds of blocks, few, narrow, and on small images; the last may be two."""
    kinds = {
        (stage.operator, stage.squeeze_excite, stage.expands == (1,)): stage
        for stage in net.stages[::-1]
    }
    few = [*kinds.values()][::-1][:3]
    deep = max((i for i, stage in enumerate(few) if len(stage.depths) > 1), default=-1)
    stages = tuple(
        replace(
            stage,
            widths=stage.widths[:1] if len(stage.widths) == 1 else (8, 16),
            depths=(1, 2) if i == deep else (1,),
            kernels=stage.kernels[:2],
            expands=stage.expands if len(stage.expands) == 1 else (2, 3),
            stride=2 if i else 1,
        )
        for i, stage in enumerate(few)
    )
    small = replace(net, resolutions=(12,), first_stride=1, stages=stages, classes=4)
    return mobilenet_space(name, replace(small, first_widths=(8,), last_widths=(16, 24)))


def _block_genes(net: MobileNet, mb: str, stage: Stage, kind: str) -> list[Gene]:
    """The stage's gene of a kind, or one for each of its blocks."""
    choices = stage.kernels if kind == "kernel" else stage.expands
    if not net.per_block:
        return [Gene(f"{mb}_{kind}", choices, kind)]
    genes = []
    for b in range(stage.depths[-1]):
        needs = deeper_than(b, mb, stage.depths)
        genes.append(Gene(f"{mb}_block{b}_{kind}", choices, kind, needs=needs))
    return genes


def _parts(net: MobileNet, genes: list[str]) -> tuple[Part, ...]:
    """The stem, every block, and the head in two or three parts."""
    part = partial(of_named, genes)
    parts = [part("first_conv", ["resolution", "first_conv_width"], partial(_stem, net))]
    width = "first_conv_width"
    stride = net.first_stride
    for i, stage in enumerate(net.stages, 1):
        for b in range(stage.depths[-1]):
            own = f"mb{i}_block{b}" if net.per_block else f"mb{i}"
            name = f"mb{i}/block{b}"
            by = [f"mb{i}_width", f"{own}_kernel", f"{own}_expand"]
            if b == 0:
                ops = partial(_first_block, net, stage, name, stride)
                parts.append(part(name, ["resolution", width, *by], ops))
                width = f"mb{i}_width"
                stride *= stage.stride
            else:
                ops = partial(_later_block, net, stage, name, stride, b)
                parts.append(part(name, ["resolution", *by, f"mb{i}_depth"], ops))
    by = ["resolution", width, "last_conv_width"]
    return (*parts, *(part(name, by, ops) for name, ops in _head(net, stride)))


def _stem(net: MobileNet, resolution: Size, width: Size) -> tuple[Op, ...]:
    ops = PartBuilder(resolution, net.channels)
    ops.conv("first_conv", width, kernel=3, stride=net.first_stride, act=net.activation)
    return ops.done()


def _head(net: MobileNet, stride: int) -> list[tuple[str, Callable[..., tuple[Op, ...]]]]:
    """Convolution and pool; MobileNetV3's layer behind them; the classifier."""

    def expand(resolution: Size, width: Size, last: Size) -> tuple[Op, ...]:
        ops = PartBuilder(strided(resolution, stride), width)
        ops.conv("last_conv/expand", head_width(net, width, last), act=net.activation)
        ops.append("pool")
        return ops.done()

    def feature(resolution: Size, width: Size, last: Size) -> tuple[Op, ...]:
        ops = PartBuilder(1, head_width(net, width, last))
        ops.append("conv", last, "last_conv/feature", act=net.activation)
        return ops.done()

    def classifier(resolution: Size, width: Size, last: Size) -> tuple[Op, ...]:
        ops = PartBuilder(1, last)
        ops.append("linear", net.classes, "classifier", bias=True)
        return ops.done()

    middle = [("last_conv/feature", feature)] if net.head == "v3" else []
    return [("last_conv", expand), *middle, ("classifier", classifier)]


def _first_block(
    net: MobileNet, stage: Stage, name: str, before: int, resolution, c_in, c_out, kernel, expand
) -> tuple[Op, ...]:
    """A stage's first block, which strides and changes the width; there is always one."""
    ops = PartBuilder(strided(resolution, before), c_in)
    stride = stage.stride
    result = _layers(ops, net, stage, name, stride, c_out, kernel, expand)
    equal = (c_in == c_out) * 1
    if net.shortcut == "always":
        shortcut = ops.append("avgpool2", inputs=(0,)) if stride == 2 else 0
        conv = ops.append("conv", c_out, f"{name}/shortcut", (shortcut,), repeat=1 - equal)
        around = ops.pick((conv, shortcut), equal)
        ops.append("add", inputs=(result, around))
    elif stride == 1:
        added = ops.append("add", inputs=(result, 0), repeat=equal)
        ops.pick((result, added), equal)
    return ops.done()


def _later_block(
    net: MobileNet,
    stage: Stage,
    name: str,
    before: int,
    b: int,
    resolution,
    width,
    kernel,
    expand,
    depth,
) -> tuple[Op, ...]:
    """A block of equal widths that stages of up to `b` blocks do without."""
    there = (depth > b) * 1
    ops = PartBuilder(strided(resolution, before), width, repeat=there)
    result = _layers(ops, net, stage, name, 1, width, kernel, expand)
    added = ops.append("add", inputs=(result, 0))
    ops.pick((0, added), there)
    return ops.done()


def _layers(
    ops: PartBuilder, net: MobileNet, stage: Stage, name: str, stride: int, c_out, kernel, expand
) -> int:
    """A block's operators without the shortcut; returns the position of the last."""
    middle = make_divisible(ops.channels * expand)
    act = stage.activation
    if stage.operator == "fused_mbconv":
        ops.conv(f"{name}/expand", middle, kernel=kernel, stride=stride, act=act)
    elif stage.expand_kernels:
        ops.conv(f"{name}/expand", middle, act=act)
    if stage.depthwise_kernels:
        smaller = stage.kernels[:-1] if net.kernel_transform else ()
        sizes = {"kernel": kernel, "stride": stride, "groups": middle, "transforms": smaller}
        ops.conv(f"{name}/depthwise", middle, act=act, **sizes)
    if stage.squeeze_excite:
        squeeze_excite(ops, f"{name}/squeeze_excite", squeezed(middle))
    return ops.conv(f"{name}/project", c_out)
