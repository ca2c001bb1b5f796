"""Plain residual networks: stages of blocks of convolutions, in groups or not, with shortcuts.

Basic and bottleneck blocks are those of He et al. ("Deep residual learning", CVPR 2016), with the
stride in the 3x3 convolution; in groups those of Xie et al. ("Aggregated residual transformations",
CVPR 2017). `single` is one convolution, `fused` the fused inverted residual of Tan & Le
("EfficientNetV2", ICML 2021).

Genome: resolution, widths (stem, each stage, last convolution if there is one), depths, kernels,
expands, in this order; a stage's blocks share its genes.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from jaxnas.errors import UserError
from jaxnas.networks.op import Op
from jaxnas.spaces.part_builder import PartBuilder
from jaxnas.spaces.parts import Part
from jaxnas.spaces.saved import completed, stages_by_name
from jaxnas.spaces.sizes import strided
from jaxnas.spaces.space import Gene, Space
from jaxnas.spaces.stage import ACTIVATIONS, among, check_choices, check_stride
from jaxnas.types import Size

BLOCKS = ("single", "basic", "bottleneck", "fused")


@dataclass(frozen=True)
class ResidualStage:
    """Blocks that share their choices, which are sorted; widths are multiples of 8.

    The first block strides and changes the width. Inside, a `fused` block is `expands` times as
    wide as its input, a `bottleneck` `expands` times as wide as a quarter of its output; the others
    have expands (1,). The k x k convolution of a bottleneck is computed in `groups`.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    kernels: tuple[int, ...]
    expands: tuple[int, ...] = (1,)
    stride: int = 1
    block: str = "basic"
    groups: int = 1

    def __post_init__(self):
        for name in ("widths", "depths", "kernels", "expands"):
            check_choices(f"a stage's {name}", getattr(self, name), 8 if name == "widths" else 1)
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise UserError(f"a stage's kernels must be odd, got {self.kernels}")
        check_stride("a stage's stride", self.stride)
        among("block", self.block, BLOCKS)
        if self.block in ("single", "basic") and self.expands != (1,):
            raise UserError(f"a stage of {self.block} blocks has expands (1,), got {self.expands}")
        if self.groups != 1 and self.block != "bottleneck":
            raise UserError(f"only bottleneck blocks have groups, got {self.groups}: set it to 1")
        middles = [width // 4 * expand for width in self.widths for expand in self.expands]
        if self.groups < 1 or any(middle % self.groups for middle in middles):
            raise UserError(
                f"a stage's groups must divide the widths inside its blocks, {middles}, got "
                f"{self.groups}: choose other widths or expands"
            )


@dataclass(frozen=True)
class Residual:
    """What a supernet of this family is built from. The stem is a convolution of `first_kernel`.

    `shortcut` "pool": a 2x2 average pool at stride 2, and a 1x1 convolution without a norm where
    the widths differ; "projection": a 1x1 convolution with the block's stride and a norm wherever
    size or width change (He et al., option B). `first_pool`: a 2x2 maximum pool after the stem.
    Without `last_widths` the last stage is pooled and classified, else a 1x1 convolution of theirs.
    `prefix` begins the names of stages, their genes and their weights.
    """

    resolutions: tuple[int, ...]
    first_widths: tuple[int, ...]
    first_stride: int
    stages: tuple[ResidualStage, ...]
    last_widths: tuple[int, ...]
    channels: int
    classes: int
    activation: str = "relu"
    shortcut: str = "projection"
    first_kernel: int = 3
    first_pool: bool = False
    prefix: str = "stage"

    def __post_init__(self):
        for name in ("resolutions", "first_widths", *(["last_widths"] * bool(self.last_widths))):
            check_choices(name, getattr(self, name), 8 if name == "first_widths" else 1)
        check_stride("first_stride", self.first_stride)
        among("shortcut", self.shortcut, ("pool", "projection"))
        among("activation", self.activation, ACTIVATIONS)
        if not self.stages:
            raise UserError("a network needs at least one stage, got none")

    def settings(self) -> dict[str, Any]:
        """As it is saved, stages by name."""
        return stages_by_name(asdict(self), self.prefix)

    def completed(self, saved: dict[str, Any]) -> dict[str, Any]:
        """What a file says, in today's form; files of old called this family a MobileNet."""
        if "head" in saved:
            saved = _of_mobilenet(saved, self.prefix)
        return completed(Residual, ResidualStage, saved)


def _of_mobilenet(saved: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The settings of a MobileNet whose blocks are those of this family."""
    names = {"conv": "single", "fused_mbconv": "fused"}
    stages = saved["stages"]
    rows = []
    for stage in stages.values() if isinstance(stages, dict) else stages:
        row = {name: value for name, value in stage.items() if name in _STAGE}
        rows.append(row | {"block": names.get(stage["operator"], stage["operator"])})
    kept = ("resolutions", "first_widths", "first_stride", "last_widths", "channels", "classes")
    found = {name: saved[name] for name in (*kept, "name") if name in saved}
    shortcut = "pool" if saved["shortcut"] == "always" else saved["shortcut"]
    more = {"activation": saved["activation"], "shortcut": shortcut, "prefix": prefix}
    return found | more | {"stages": rows}


_STAGE = ("widths", "depths", "kernels", "expands", "stride")


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

    def part(name: str, by: list[str], ops: Callable[..., tuple[Op, ...]]) -> Part:
        return Part(name, tuple(map(genes.index, by)), ops)

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
