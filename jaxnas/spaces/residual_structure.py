"""The description of a plain residual network: stages of blocks with their choices."""

from dataclasses import asdict, dataclass
from typing import Any

from jaxnas.errors import UserError
from jaxnas.spaces.choices import among, check_around_stages, check_choices, check_stride
from jaxnas.spaces.saved import completed, stages_by_name

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
        check_around_stages(self)
        among("shortcut", self.shortcut, ("pool", "projection"))

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
