"""derived.json: the networks that a search by gradient has derived."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Int32

from jaxnas.records.reading import reading
from jaxnas.records.run_directory import RunDirectory
from jaxnas.records.values import genome, named, number, string
from jaxnas.spaces.genomes import check_genomes
from jaxnas.spaces.space import Space

DERIVED = "derived.json"


@dataclass(frozen=True)
class Derived:
    """The most probable network of an architecture, at one resolution. NaN: no such figure."""

    label: str  # what the architecture was asked for, "" where there is one alone
    genome: Int32[np.ndarray, "genes"]
    network: dict[str, int]  # values by the names of genes
    accuracy: float  # of the network on the search split
    relaxed_accuracy: float  # of the mixture; where none was trained, the mean of networks drawn
    skips: int  # operations that hand on their input
    skippable: int  # that could
    collapsed: bool
    cost: float = math.nan  # of the network
    expected_cost: float = math.nan
    target: float = math.nan


OPTIONAL = ("accuracy", "relaxed_accuracy", "cost", "expected_cost", "target")


def read_derived(run: RunDirectory, space: Space | None = None) -> list[Derived]:
    """The networks in order; with a `space`, all must be of it."""
    with reading(run, DERIVED):
        values = run.read_json(DERIVED)
        if not isinstance(values, list) or not values:
            raise TypeError("expected a list of networks")
        found = [_read(named(one)) for one in values]
        if space is not None:
            check_genomes(space, np.stack([one.genome for one in found]))
    return found


def write_derived(run: RunDirectory, derived: Sequence[Derived]) -> None:
    """Write all of them."""
    run.write_json(DERIVED, [_written(one) for one in derived])


def _read(values: dict[str, Any]) -> Derived:
    if type(values["collapsed"]) is not bool:
        raise TypeError(f"collapsed must be true or false, got {values['collapsed']!r}")
    figures = {
        name: float(number(values, name)) if name in values else math.nan for name in OPTIONAL
    }
    return Derived(
        label=string(values, "label"),
        genome=genome(values, "a network derived"),
        network=named(values["network"]),
        skips=int(number(values, "skips")),
        skippable=int(number(values, "skippable")),
        collapsed=values["collapsed"],
        **figures,
    )


def _written(one: Derived) -> dict[str, Any]:
    values = asdict(one)
    return {
        name: value
        for name, value in values.items()
        if name not in OPTIONAL or not math.isnan(value)
    }
