"""Analytic chips with settings that are still to be chosen, by genes beside the network's.

An elastic chip is a type of its own, so that the formulas of a chip compute with numbers alone:
`chosen` is the chip with one value of each setting, which may be traced.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from jaxnas import toml_files
from jaxnas.errors import UserError, choose
from jaxnas.networks.costs import Layers
from jaxnas.spaces.gene import CHIP, Gene
from jaxnas.spaces.joint import chip_values
from jaxnas.spaces.space import Space
from jaxnas.types import Genome

if TYPE_CHECKING:
    from jaxnas.hardware.cost_model import CostModel, Estimate

MOST = 2**31 - 1  # of a gene's values, which are int32


@dataclass(frozen=True)
class ElasticChip:
    """A chip, and the values that some of its settings may have.

    Raises:
        UserError: a setting is none that a designer chooses (`elastic` of the chip's class), its
            values are not whole numbers that ascend, or the chip refuses one of them.
    """

    chip: Any
    """A dataclass of `config.CHIP_KINDS`; its own values of these settings are not read."""
    choices: tuple[tuple[str, tuple[int, ...]], ...]
    """By the setting's name, smallest first."""

    def __post_init__(self):
        for name, values in self.choices:
            choose("setting to choose", name, dict.fromkeys(self.chip.elastic))
            if not values or list(values) != sorted({*values}) or values[-1] > MOST:
                raise _refusal(name, values)
            for value in values:
                replace(self.chip, **{name: value})

    @property
    def name(self) -> str:
        return self.chip.name

    @property
    def error(self) -> str:
        return self.chip.error

    def __call__(self, layers: Layers) -> "Estimate":
        """Of the chip with the first choice of each setting."""
        return self.chosen({name: values[0] for name, values in self.choices})(layers)

    @property
    def genes(self) -> tuple[Gene, ...]:
        """A gene for each setting, named after it."""
        return tuple(Gene(name, values, CHIP) for name, values in self.choices)

    def chosen(self, values: Mapping[str, Any]) -> "CostModel":
        """The chip with one value of each setting, ints or traced.

        Raises:
            UserError: a setting has no value.
        """
        missing = [name for name, _ in self.choices if name not in values]
        if missing:
            raise UserError(
                f"the chip {self.name} has choices of {', '.join(missing)}, and here nothing "
                "chooses: give each one value"
            )
        chip = copy(self.chip)  # not `replace`, whose checks cannot read traced values
        vars(chip).update({name: values[name] for name, _ in self.choices})
        return chip

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides its figures."""
        return {**vars(self.chip), **dict(self.choices)}


def load(
    kind: type, where: str, settings: Mapping[str, Any], given: Mapping[str, Any]
) -> "CostModel":
    """A chip from a file's settings; a list is the choices of a setting, which makes it elastic."""
    choices = {
        name: values
        for name, values in settings.items()
        if isinstance(values, list) and name in kind.elastic  # pyright: ignore[reportAttributeAccessIssue]
    }
    for name, values in choices.items():
        if not values or any(type(value) is not int for value in values):
            raise UserError(f"{where}: {_refusal(name, values)}")
    first = {name: values[0] for name, values in choices.items()}
    chip = toml_files.made(kind, where, {**settings, **first}, given)
    if not choices:
        return chip
    try:
        return ElasticChip(chip, tuple((name, tuple(row)) for name, row in choices.items()))
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _refusal(name: str, values: Sequence[Any]) -> UserError:
    return UserError(
        f"{name} must be a number, or a list of whole numbers below 2^31 to choose from, smallest "
        f"first, got {[*values]}"
    )


def genes_of(model: "CostModel | None") -> tuple[Gene, ...]:
    """The genes of a device's model; none of a chip that is fixed, or of a device that measures."""
    return model.genes if isinstance(model, ElasticChip) else ()


def chip_of(
    model: "CostModel", space: Space, genome: Genome | Int[np.ndarray, "genes"]
) -> "CostModel":
    """The chip that a genome of a joint space means; a fixed chip is the same for all."""
    return model.chosen(chip_values(space, genome)) if isinstance(model, ElasticChip) else model
