"""The description of a network of stages that choose their operator, with their other choices."""

from dataclasses import asdict, dataclass
from typing import Any

from jaxnas.errors import UserError
from jaxnas.spaces.choices import (
    among,
    check_around_stages,
    check_choices,
    check_stride,
    check_switch,
)
from jaxnas.spaces.saved import completed, stages_by_name

# The last is that of a space's largest genome, from which others learn in a sandwich.
OPERATORS = ("separable", "conv", "fused_mbconv", "mbconv")
EXPANDING = ("mbconv", "fused_mbconv")
SQUEEZING = ("mbconv", "fused_mbconv", "separable")


@dataclass(frozen=True)
class HierarchicalStage:
    """Layers that are alike: they share all choices, which are sorted; widths are multiples of 8.

    Operators: `mbconv` expands by a 1x1 convolution, filters each channel, squeezes and excites,
    projects; `fused_mbconv` expands by an ordinary k x k convolution and has no depthwise one;
    `conv` is an ordinary convolution; `separable` an mbconv without the first. `squeezes` are the
    widths of squeeze-excite in percent of the layer's input, one channel at least; 0 for none.
    `shortcuts`: without (0) and with (1) an identity around all layers but the first, which strides
    and changes the width.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    kernels: tuple[int, ...] = (3, 5)
    expands: tuple[int, ...] = (3, 6)
    squeezes: tuple[int, ...] = (0, 25)
    stride: int = 1
    operators: tuple[str, ...] = OPERATORS
    shortcuts: tuple[int, ...] = (0, 1)

    def __post_init__(self):
        for name in ("widths", "depths", "kernels", "expands"):
            check_choices(f"a stage's {name}", getattr(self, name), 8 if name == "widths" else 1)
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise UserError(f"a stage's kernels must be odd, got {self.kernels}")
        percents = self.squeezes
        if not percents or list(percents) != sorted({*percents} & {*range(101)}):
            raise UserError(
                f"a stage's squeezes must be different percents, smallest first, got {percents}"
            )
        check_stride("a stage's stride", self.stride)
        check_switch("a stage's shortcuts", self.shortcuts)
        for operator in self.operators:
            among("operator", operator, OPERATORS)
        if not self.operators or len({*self.operators}) < len(self.operators):
            raise UserError(f"a stage's operators must be different, got {self.operators}")

    def choices(self, operators: tuple[str, ...] = OPERATORS) -> tuple[int, ...]:
        """The stage's operators among these, as positions in OPERATORS."""
        return tuple(
            i for i, name in enumerate(OPERATORS) if name in self.operators and name in operators
        )


@dataclass(frozen=True)
class Hierarchical:
    """What a supernet of this family is built from. The stem is a 3x3 convolution.

    Behind the stages a 1x1 convolution to the last width, global average and a linear layer.
    """

    resolutions: tuple[int, ...]
    first_widths: tuple[int, ...]
    first_stride: int
    stages: tuple[HierarchicalStage, ...]
    last_widths: tuple[int, ...]
    channels: int
    classes: int
    activation: str = "relu"

    def __post_init__(self):
        check_around_stages(self)
        check_choices("last_widths", self.last_widths, 1)

    def settings(self) -> dict[str, Any]:
        """As it is saved, stages by name."""
        return stages_by_name(asdict(self), "stage")

    def completed(self, saved: dict[str, Any]) -> dict[str, Any]:
        """What a file says, in today's form."""
        return completed(Hierarchical, HierarchicalStage, saved)
