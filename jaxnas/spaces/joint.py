"""Joint spaces: a network's genes, followed by those of the chip that is to run it.

No part of the network has a gene of the chip. So whatever builds, trains or exports a network takes
a joint genome as it is, and only what asks a chip reads its genes.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Int

from jaxnas.spaces.gene import CHIP, Gene
from jaxnas.spaces.space import Space
from jaxnas.types import Genome


def joint(space: Space, chip: Sequence[Gene]) -> Space:
    """The space with the genes of a chip behind its own."""
    return replace(space, genes=(*space.genes, *chip)) if chip else space


def alone(space: Space) -> Space:
    """The space of the networks, without the genes of a chip."""
    own = tuple(gene for gene in space.genes if gene.kind != CHIP)
    return replace(space, genes=own) if len(own) < len(space.genes) else space


def of_network(space: Space, genomes: Int[np.ndarray, "*n genes"]) -> Int[np.ndarray, "*n own"]:
    """The choices of the network's own genes, what genomes of `alone(space)` hold."""
    return genomes[..., np.array([gene.kind != CHIP for gene in space.genes])]


def on_one_chip(space: Space, genomes: Int[np.ndarray, "*n genes"]) -> Int[np.ndarray, "*n genes"]:
    """The genomes with the first choice of every gene of a chip: the networks as they are."""
    return np.where([gene.kind == CHIP for gene in space.genes], 0, genomes)


def chip_values(space: Space, genome: Genome | Int[np.ndarray, "genes"]) -> dict[str, Any]:
    """{setting of the chip: its value}; ints of a genome of NumPy's, else traced arrays."""
    if isinstance(genome, np.ndarray):
        values = space.decode(genome)
        return {gene.name: values[gene.name] for gene in space.genes if gene.kind == CHIP}
    found = space.values(genome)
    return {gene.name: found[i] for i, gene in enumerate(space.genes) if gene.kind == CHIP}
