"""The description of a network of fire modules: stages of modules with their choices."""

from dataclasses import asdict, dataclass
from typing import Any

from jaxnas.networks.sizes import PADDINGS
from jaxnas.spaces.choices import among, check_around_stages, check_choices, check_switch
from jaxnas.spaces.saved import completed, stages_by_name


@dataclass(frozen=True)
class FireStage:
    """Fire modules that share their choices, which are sorted; widths are multiples of 8.

    A module squeezes its input by a 1x1 convolution and expands it by a 1x1 and a 3x3 one, whose
    results are concatenated. `pool`: a 3x3 maximum pool of stride 2 stands before the stage.
    `shortcuts`: without (0) and with (1) an identity around all modules but the first, which
    changes the width.
    """

    squeezes: tuple[int, ...]
    expands_1x1: tuple[int, ...]
    expands_3x3: tuple[int, ...]
    depths: tuple[int, ...]
    pool: bool = False
    shortcuts: tuple[int, ...] = (0,)

    def __post_init__(self):
        for name in ("squeezes", "expands_1x1", "expands_3x3"):
            check_choices(f"a stage's {name}", getattr(self, name), 8)
        check_choices("a stage's depths", self.depths, 1)
        check_switch("a stage's shortcuts", self.shortcuts)


@dataclass(frozen=True)
class Fire:
    """What a supernet of this family is built from. The stem is a 3x3 convolution.

    `first_padding` is that of the stem, "same" or "valid". `norm`: batch norm behind every
    convolution, else a bias. `head` "linear": global average and a linear layer; "conv",
    SqueezeNet's: a 1x1 convolution to the classes, activation and global average.
    """

    resolutions: tuple[int, ...]
    first_widths: tuple[int, ...]
    first_stride: int
    stages: tuple[FireStage, ...]
    channels: int
    classes: int
    activation: str = "relu"
    first_padding: str = "same"
    norm: bool = True
    head: str = "linear"

    def __post_init__(self):
        check_around_stages(self)
        among("first_padding", self.first_padding, PADDINGS[:2])
        among("head", self.head, ("linear", "conv"))

    def settings(self) -> dict[str, Any]:
        """As it is saved, stages by name."""
        return stages_by_name(asdict(self), "stage")

    def completed(self, saved: dict[str, Any]) -> dict[str, Any]:
        """What a file says, in today's form."""
        return completed(Fire, FireStage, saved)
