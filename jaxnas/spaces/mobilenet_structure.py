"""The description of an elastic network.

Stages of blocks with their choices, between a stem and a head.
"""

from dataclasses import asdict, dataclass
from typing import Any

from jaxnas.errors import UserError
from jaxnas.spaces.choices import (
    ACTIVATIONS,
    among,
    check_around_stages,
    check_choices,
    check_stride,
)
from jaxnas.spaces.saved import completed, stages_by_name

HEAD_EXPAND = 6  # MobileNetV3's head: its first 1x1 convolution widens the last stage by this much
OPERATORS = ("mbconv", "fused_mbconv")


@dataclass(frozen=True)
class Stage:
    """Blocks that share their choices, which are sorted; widths are multiples of 8.

    Operators: `mbconv` expands by a 1x1 convolution (none where `expands` is (1,)), filters each
    channel k x k, squeezes and excites, projects by a 1x1; `fused_mbconv` expands by an ordinary k
    x k convolution and has no depthwise one. The first block strides and changes the width.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    kernels: tuple[int, ...]
    expands: tuple[int, ...]
    stride: int
    squeeze_excite: bool = False
    activation: str = "swish"
    operator: str = "mbconv"

    def __post_init__(self):
        for name in ("widths", "depths", "kernels", "expands"):
            check_choices(f"a stage's {name}", getattr(self, name), 8 if name == "widths" else 1)
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise UserError(f"a stage's kernels must be odd, got {self.kernels}")
        check_stride("a stage's stride", self.stride)
        among("operator", self.operator, OPERATORS)
        among("activation", self.activation, ACTIVATIONS)
        if self.operator == "mbconv" and 1 in self.expands and self.expands != (1,):
            raise UserError(
                "expands of mbconv are (1,), no expansion layer, or all above 1, got "
                f"{self.expands}"
            )

    @property
    def expand_kernels(self) -> tuple[int, ...]:
        """Kernels of the expanding convolution, () where there is none."""
        if self.operator == "fused_mbconv":
            return self.kernels
        return (1,) if self.operator == "mbconv" and self.expands != (1,) else ()

    @property
    def depthwise_kernels(self) -> tuple[int, ...]:
        """Kernels of the depthwise convolution, () where there is none."""
        return self.kernels if self.operator == "mbconv" else ()


@dataclass(frozen=True)
class MobileNet:
    """What a supernet of this family is built from. The stem is a 3x3 convolution.

    `shortcut` "always": around every block, by 2x2 average pool at stride 2 and a 1x1 convolution
    where the widths differ (AttentiveNAS); "identity": only around blocks of stride 1 and equal
    widths (Once-for-All). `per_block`: every block has a kernel and an expand gene of its own.
    `kernel_transform`: a smaller kernel is the larger one's centre times a learned matrix. `head`
    "v3", MobileNetV3's: a 1x1 convolution to six times the last stage's width, pool, a layer of the
    last width, classifier; "v2", MobileNetV2's: a 1x1 convolution to the last width, pool,
    classifier.
    """

    resolutions: tuple[int, ...]
    first_widths: tuple[int, ...]
    first_stride: int
    stages: tuple[Stage, ...]
    last_widths: tuple[int, ...]
    channels: int
    classes: int
    activation: str = "swish"
    shortcut: str = "always"
    per_block: bool = False
    kernel_transform: bool = False
    head: str = "v3"

    def settings(self) -> dict[str, Any]:
        """As it is saved, stages by name."""
        return stages_by_name(asdict(self), "mb")

    def completed(self, saved: dict[str, Any]) -> dict[str, Any]:
        """What a file says, in today's form."""
        return completed(MobileNet, Stage, saved)

    def __post_init__(self):
        check_around_stages(self)
        check_choices("last_widths", self.last_widths, 1)
        among("shortcut", self.shortcut, ("always", "identity"))
        among("head", self.head, ("v3", "v2"))


def head_width(net: MobileNet, width, last):
    """Channels that the head pools, for a width of the last stage and a last width.

    For ints and traced integers alike.
    """
    return HEAD_EXPAND * width if net.head == "v3" else last
