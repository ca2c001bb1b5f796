"""Plain residual networks: stages of blocks of convolutions, in groups or not, with shortcuts.

Basic and bottleneck blocks are those of He et al. ("Deep residual learning", CVPR 2016), with the
stride in the 3x3 convolution; in groups those of Xie et al. ("Aggregated residual transformations",
CVPR 2017). `single` is one convolution, `fused` the fused inverted residual of Tan & Le
("EfficientNetV2", ICML 2021).

Genome: resolution, widths (stem, each stage, last convolution if there is one), depths, kernels,
expands, in this order; a stage's blocks share its genes.
"""

from collections.abc import Callable
from functools import partial

from jaxnas.networks.op import Op
from jaxnas.networks.sizes import strided
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.part_builder import PartBuilder
from jaxnas.spaces.parts import Part, of_named
from jaxnas.spaces.residual_structure import Residual, ResidualStage
from jaxnas.spaces.space import Space
from jaxnas.types import Size


def residual_space(name: str, net: Residual) -> Space:
    """The space of a structure."""
    stages = [(f"{net.prefix}{i}", stage) for i, stage in enumerate(net.stages, 1)]
    last = (Gene("last_conv_width", net.last_widths, "width"),) if net.last_widths else ()
    genes = (
        Gene("resolution", net.resolutions, "resolution", static=True),
        Gene("first_conv_width", net.first_widths, "width"),
        *(Gene(f"{stage}_width", own.widths, "width") for stage, own in stages),
        *last,
        *(Gene(f"{stage}_depth", own.depths, "depth") for stage, own in stages),
        *(Gene(f"{stage}_kernel", own.kernels, "kernel") for stage, own in stages),
        *(Gene(f"{stage}_expand", own.expands, "expand") for stage, own in stages),
    )
    parts = _parts(net, [gene.name for gene in genes])
    return Space(name, genes, parts, net, partial(smallest, name, net))


def smallest(name: str, net: Residual) -> Space:
    """The same kinds of blocks, few, narrow, and on small images."""
    stages = tuple(
        ResidualStage(
            (16, 32) if stage.groups == 1 else (8 * stage.groups, 16 * stage.groups),
            stage.depths[:1] if len(stage.depths) == 1 else (1, 2),
            stage.kernels[:2],
            stage.expands[:2],
            2 if i else 1,
            stage.block,
            stage.groups,
        )
        for i, stage in enumerate(dict.fromkeys(net.stages[:2]))
    )
    first = (8, 16)
    last = (16, 24) if net.last_widths else ()
    sizes = (16,) if net.first_pool else (12,)
    return residual_space(
        name,
        Residual(
            sizes,
            first,
            1,
            stages,
            last,
            net.channels,
            4,
            net.activation,
            net.shortcut,
            first_pool=net.first_pool,
            prefix=net.prefix,
        ),
    )


def _parts(net: Residual, genes: list[str]) -> tuple[Part, ...]:
    """The stem, every block, and the head."""
    part = partial(of_named, genes)
    parts = [part("first_conv", ["resolution", "first_conv_width"], partial(_stem, net))]
    width = "first_conv_width"
    before = partial(_after_stem, net)
    for i, stage in enumerate(net.stages, 1):
        own = f"{net.prefix}{i}"
        by = [f"{own}_width", f"{own}_kernel", f"{own}_expand"]
        for b in range(stage.depths[-1]):
            name = f"{own}/block{b}"
            if b == 0:
                ops = partial(_first_block, net, stage, name, before)
                parts.append(part(name, ["resolution", width, *by], ops))
                before = partial(_after_stage, before, stage.stride)
            else:
                ops = partial(_later_block, net, stage, name, before, b)
                parts.append(part(name, ["resolution", *by, f"{own}_depth"], ops))
        width = f"{own}_width"
    if net.last_widths:
        by = ["resolution", width, "last_conv_width"]
        parts.append(part("last_conv", by, partial(_last, net, before)))
        parts.append(part("classifier", ["last_conv_width"], partial(_classifier, net)))
    else:
        parts.append(part("pool", ["resolution", width], partial(_pool, before)))
        parts.append(part("classifier", [width], partial(_classifier, net)))
    return tuple(parts)


def _after_stem(net: Residual, resolution: Size) -> Size:
    size = strided(resolution, net.first_stride)
    return size // 2 if net.first_pool else size


def _after_stage(before: Callable[[Size], Size], stride: int, resolution: Size) -> Size:
    return strided(before(resolution), stride)


def _stem(net: Residual, resolution: Size, width: Size) -> tuple[Op, ...]:
    ops = PartBuilder(resolution, net.channels)
    kernel = {"kernel": net.first_kernel, "stride": net.first_stride}
    ops.conv("first_conv", width, act=net.activation, **kernel)
    if net.first_pool:
        ops.append("maxpool2")
    return ops.done()


def _last(net: Residual, before: Callable, resolution, width, last) -> tuple[Op, ...]:
    ops = PartBuilder(before(resolution), width)
    ops.conv("last_conv/expand", last, act=net.activation)
    ops.append("pool")
    return ops.done()


def _pool(before: Callable, resolution: Size, width: Size) -> tuple[Op, ...]:
    ops = PartBuilder(before(resolution), width)
    ops.append("pool")
    return ops.done()


def _classifier(net: Residual, width: Size) -> tuple[Op, ...]:
    ops = PartBuilder(1, width)
    ops.append("linear", net.classes, "classifier", bias=True)
    return ops.done()


def _first_block(
    net: Residual, stage: ResidualStage, name: str, before, resolution, c_in, width, kernel, expand
) -> tuple[Op, ...]:
    ops = PartBuilder(before(resolution), c_in)
    result = _branch(ops, net, stage, name, stage.stride, width, kernel, expand)
    equal = (c_in == width) * 1
    path = f"{name}/shortcut"
    if net.shortcut == "pool":
        same = ops.append("avgpool2", inputs=(0,)) if stage.stride == 2 else 0
        other = ops.append("conv", width, path, (same,), repeat=1 - equal)
        around = ops.pick((other, same), equal)
    else:
        needed = 1 if stage.stride == 2 else 1 - equal
        sizes = {"inputs": (0,), "stride": stage.stride, "repeat": needed}
        around = ops.conv(path, width, **sizes)
        around = around if stage.stride == 2 else ops.pick((around, 0), equal)
    ops.append("add", inputs=(result, around), act=_after(net, stage))
    return ops.done()


def _later_block(
    net: Residual,
    stage: ResidualStage,
    name: str,
    before,
    b: int,
    resolution,
    width,
    kernel,
    expand,
    depth,
) -> tuple[Op, ...]:
    """A block that stages of up to `b` blocks do without."""
    there = (depth > b) * 1
    ops = PartBuilder(before(resolution), width, repeat=there)
    result = _branch(ops, net, stage, name, 1, width, kernel, expand)
    added = ops.append("add", inputs=(result, 0), act=_after(net, stage))
    ops.pick((0, added), there)
    return ops.done()


def _after(net: Residual, stage: ResidualStage) -> str:
    """The activation behind the sum, as ResNets have it."""
    return net.activation if stage.block in ("basic", "bottleneck") else ""


def _branch(
    ops: PartBuilder,
    net: Residual,
    stage: ResidualStage,
    name: str,
    stride: int,
    width,
    kernel,
    expand,
) -> int:
    """A block's operators beside the shortcut; returns the position of the last."""
    act = net.activation
    window = {"kernel": kernel, "stride": stride}
    match stage.block:
        case "single":
            return ops.conv(f"{name}/project", width, act=act, **window)
        case "fused":
            ops.conv(f"{name}/expand", ops.channels * expand, act=act, **window)
            return ops.conv(f"{name}/project", width)
        case "basic":
            ops.conv(f"{name}/conv1", width, act=act, **window)
            return ops.conv(f"{name}/conv2", width, kernel=kernel)
    middle = width // 4 * expand
    ops.conv(f"{name}/conv1", middle, act=act)
    ops.conv(f"{name}/conv2", middle, act=act, groups=stage.groups, **window)
    return ops.conv(f"{name}/conv3", width)
