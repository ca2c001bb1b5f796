"""The description of a residual network of parallel branches, as AnalogNAS searches them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jaxnas.errors import UserError
from jaxnas.spaces.choices import check_choices, check_stride
from jaxnas.spaces.saved import completed, stages_by_name
from jaxnas.types import Size

GROUPS = 5  # of the published space, at most
BASIC, BOTTLENECK = 1, 2
BLOCKS = (BASIC, BOTTLENECK)
PERCENT = 100
DIVISOR = 8  # of a group's width


@dataclass(frozen=True)
class ResnetLikeGroup:
    """Blocks that share their choices, which are sorted.

    `repeats`: blocks, 0 for a group that is not there. `blocks`: 1 is basic, 2 a bottleneck.
    `widenings`: how much wider than before the group is, in percent, 100 / `widenfact` as published
    (125 for a factor of 0.8, 200 for 0.5). `branches`: parallel branches of every block. The first
    block strides and changes the width.
    """

    repeats: tuple[int, ...]
    widenings: tuple[int, ...]
    branches: tuple[int, ...]
    blocks: tuple[int, ...] = (BASIC,)
    stride: int = 1

    def __post_init__(self):
        _check("a group's repeats", self.repeats, 0)
        _check("a group's widenings", self.widenings, PERCENT)
        _check("a group's branches", self.branches, 1)
        _check("a group's blocks", self.blocks, BASIC)
        check_stride("a group's stride", self.stride)
        if self.blocks[-1] > BOTTLENECK:
            raise UserError(f"a group's blocks must be among {BLOCKS}, got {self.blocks}")


@dataclass(frozen=True)
class ResnetLike:
    """What a space of this family is built from. `numbers`: how many of the groups there are.

    The stem is a 7x7 convolution with a norm. The last group is pooled and classified.
    """

    pixels: int
    first_widths: tuple[int, ...]
    numbers: tuple[int, ...]
    stages: tuple[ResnetLikeGroup, ...]
    channels: int
    classes: int
    first_stride: int = 1

    def __post_init__(self):
        check_choices("first_widths", self.first_widths, 1)
        _check("numbers of groups", self.numbers, 1)
        check_stride("first_stride", self.first_stride)
        for name in ("pixels", "channels", "classes"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.first_widths[0] < DIVISOR:
            raise UserError(f"first_widths must be at least {DIVISOR}, got {self.first_widths}")
        if self.numbers[-1] != len(self.stages):
            raise UserError(
                f"as many groups as the largest of numbers must be described, {self.numbers[-1]}, "
                f"got {len(self.stages)}"
            )
        if 0 in self.stages[0].repeats:
            raise UserError(
                f"the first group must have at least one block, got {self.stages[0].repeats}"
            )

    def settings(self) -> dict[str, Any]:
        """As it is saved, groups by name."""
        return stages_by_name(asdict(self), "group")

    def completed(self, saved: dict[str, Any]) -> dict[str, Any]:
        """What a file says, in today's form."""
        return completed(ResnetLike, ResnetLikeGroup, saved)


def width(first: Size, widenings: Sequence[Size]) -> Size:
    """Channels behind groups that widen so, in percent; 100 where one is not there.

    The product is rounded to a multiple of 8, half of one up.

    >>> width(16, [125, 200]), width(64, [200] * 5)
    (40, 2048)
    """
    wide, whole = first, 1
    for widening in widenings:
        wide = wide * widening
        whole = whole * PERCENT
    if not widenings:
        return first
    return (wide + DIVISOR // 2 * whole) // (DIVISOR * whole) * DIVISOR


def _check(what: str, choices: tuple[int, ...], least: int) -> None:
    if not choices or list(choices) != sorted({*choices}) or choices[0] < least:
        raise UserError(
            f"{what} must be different numbers from {least} on, smallest first, got {choices}"
        )
