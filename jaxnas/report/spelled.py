"""What the genomes of a run stand for: names of genes, labels of choices, and networks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from jaxnas.errors import UserError
from jaxnas.networks.op import Op
from jaxnas.records.chosen import CHOSEN, read_chosen
from jaxnas.records.data import read_data
from jaxnas.records.run_directory import RunDirectory
from jaxnas.spaces.genomes import check_genomes
from jaxnas.spaces.space import Space
from jaxnas.stages.job import space_of
from jaxnas.stages.settings import read_config


@dataclass(frozen=True)
class Spelled:
    """Genes by name; no space where what it depends on is not at hand."""

    genes: tuple[dict[str, Any], ...]  # name, and choices as people read them or None
    space: Space | None

    def ops(self, genome: Int[np.ndarray, "genes"]) -> tuple[tuple[Op, ...], tuple[str, ...]]:
        """The operators of a network, and the part that each belongs to."""
        assert self.space is not None
        return self.space.ops(genome), self.space.owners(genome)


def spelled(run: RunDirectory, genomes: Int[np.ndarray, "n genes"]) -> Spelled:
    """What these genomes of a run stand for.

    Without the space the genes have the names that the chosen networks give them, else numbers.
    """
    space = _space(run, genomes)
    if space is not None:
        named = [
            {"name": gene.name, "choices": [*(gene.labels or gene.choices)]} for gene in space.genes
        ]
        return Spelled(tuple(named), space)
    names = [f"gene_{i + 1}" for i in range(genomes.shape[1])]
    if run.exists(CHOSEN):
        given = [*read_chosen(run)[0].network]
        names = given if len(given) == len(names) else names
    return Spelled(tuple({"name": name, "choices": None} for name in names), None)


def _space(run: RunDirectory, genomes: Int[np.ndarray, "n genes"]) -> Space | None:
    try:
        data = read_data(run)
        config = read_config(run.root)
        space = space_of(config, data.height, data.channels, len(data.class_names))
        check_genomes(space, genomes)
    except (UserError, ValueError):
        return None
    return space
