"""chosen.json: the networks that were chosen, each trained on its own."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from jaxtyping import Int32

from jaxnas.records.reading import reading
from jaxnas.records.run_directory import RunDirectory
from jaxnas.records.values import genome, named, number, text
from jaxnas.spaces.genomes import check_genomes
from jaxnas.spaces.space import Space

CHOSEN = "chosen.json"


@dataclass(frozen=True)
class Chosen:
    """A chosen network. NaN: the run has no such figure."""

    name: str
    role: str  # why it was chosen
    genome: Int32[np.ndarray, "genes"]
    network: Mapping[str, int | str]  # values or labels by the names of genes
    macs: int
    params: int
    search_accuracy: float  # with the weights that the search gave it
    finetuned_search_accuracy: float
    selection_accuracy: float = math.nan  # on images held out for the choice
    finetuned_selection_accuracy: float = math.nan
    predicted_ms: float = math.nan
    # Other objectives that the search minimised, by name; in the file they stand beside the rest.
    costs: dict[str, float] = field(default_factory=dict)
    # Settings of the chip that the genome chooses; absent from the file where it chooses none.
    chip: dict[str, int] = field(default_factory=dict)


OPTIONAL = ("selection_accuracy", "finetuned_selection_accuracy", "predicted_ms")
NAMES = tuple(one.name for one in fields(Chosen))


def read_chosen(run: RunDirectory, space: Space | None = None) -> list[Chosen]:
    """The chosen networks in order.

    With a `space`, all must be of its networks.
    """
    with reading(run, CHOSEN):
        values = run.read_json(CHOSEN)
        if not isinstance(values, list) or not values:
            raise TypeError("expected a list of networks")
        chosen = [_read(named(one)) for one in values]
        if len({one.name for one in chosen}) < len(chosen):
            raise ValueError("two networks have one name")
        if space is not None:
            for one in chosen:
                check_genomes(space, one.genome[None])
    return chosen


def write_chosen(run: RunDirectory, chosen: Sequence[Chosen]) -> None:
    """Write all of them."""
    run.write_json(CHOSEN, [_written(one) for one in chosen])


def _read(values: dict[str, Any]) -> Chosen:
    known = [name for name in OPTIONAL if values.get(name) is not None]
    others = {
        name: float(value)
        for name, value in values.items()
        if name not in NAMES and type(value) in (int, float)
    }
    return Chosen(
        text(values, "name"),
        text(values, "role"),
        genome(values, values["name"]),
        named(values["network"]),
        int(number(values, "macs")),
        int(number(values, "params")),
        number(values, "search_accuracy"),
        number(values, "finetuned_search_accuracy"),
        **{name: number(values, name) for name in known},
        costs=others,
        chip=named(values.get("chip", {})),
    )


def _written(one: Chosen) -> dict[str, Any]:
    values = asdict(one)
    costs = values.pop("costs")
    absent = [name for name in OPTIONAL if math.isnan(values[name])]
    absent += [] if one.chip else ["chip"]
    return {name: value for name, value in values.items() if name not in absent} | costs
