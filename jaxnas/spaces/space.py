"""A search space as data: genes, their choices, and what every choice costs."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from jaxnas.errors import UserError
from jaxnas.types import Genome, Genomes, PRNGKey
from jaxnas.workload import Layers


@dataclass(frozen=True)
class Gene:
    """One decision: a name and its choices, smallest first. `static` genes change array shapes (resolution)."""

    name: str
    choices: tuple[int, ...]
    static: bool = False


@dataclass(frozen=True)
class Space:
    """What can be built. A genome is one choice index per gene; `layers` says what a genome costs.

    `canonical` maps genomes that mean the same network to one of them; `layers` is pure and vmaps. `structure` is the
    family's own description, from which its supernet is built.
    """

    name: str
    genes: tuple[Gene, ...]
    canonical: Callable[[Genome], Genome]
    layers: Callable[[Genome], Layers]
    structure: Any = None

    @cached_property
    def sizes(self) -> np.ndarray:
        """Number of choices of each gene, int32 (genes,)."""
        return np.array([len(gene.choices) for gene in self.genes], np.int32)

    @cached_property
    def smallest(self) -> np.ndarray:
        return np.zeros(len(self.genes), np.int32)

    @cached_property
    def largest(self) -> np.ndarray:
        return self.sizes - 1

    def size(self) -> int:
        """Number of genomes, exact."""
        return math.prod(len(gene.choices) for gene in self.genes)

    def values(self, genomes: Int[Array, "*n genes"]) -> Int[Array, "*n genes"]:
        """The chosen values (16 channels, kernel 5, ...) in place of choice indices."""
        table = np.zeros((len(self.genes), self.sizes.max()), np.int32)
        for row, gene in zip(table, self.genes, strict=True):
            row[: len(gene.choices)] = gene.choices
        return jnp.asarray(table)[jnp.arange(len(self.genes)), genomes]

    def sample(self, key: PRNGKey, n: int) -> Genomes:
        """`n` genomes, every gene uniform over its choices, independently."""
        return jax.random.randint(key, (n, len(self.genes)), 0, jnp.asarray(self.sizes), jnp.int32)

    def mutate(self, key: PRNGKey, genomes: Genomes, mask: Bool[Array, "n genes"]) -> Genomes:
        """Give each masked gene a different value, uniform over the others; genes with one choice stay."""
        sizes = jnp.asarray(self.sizes)
        step = jax.random.randint(key, genomes.shape, 1, jnp.maximum(sizes, 2), jnp.int32)
        return jnp.where(mask & (sizes > 1), (genomes + step) % sizes, genomes)

    def encode(self, network: Mapping[str, int]) -> np.ndarray:
        """The genome of `{gene name: value}`; names every gene whose value is missing or impossible."""
        wrong = [
            f"{self.name}.{gene.name} must be one of {gene.choices}, got {network.get(gene.name)}"
            for gene in self.genes
            if network.get(gene.name) not in gene.choices
        ]
        if wrong:
            raise UserError("; ".join(wrong))
        return np.array([gene.choices.index(network[gene.name]) for gene in self.genes], np.int32)

    def decode(self, genome: Genome | np.ndarray) -> dict[str, int]:
        """`{gene name: value}` of a genome of choice indices."""
        genome = np.asarray(genome)
        if genome.shape != self.sizes.shape or (genome < 0).any() or (genome >= self.sizes).any():
            raise UserError(f"a genome of {self.name} has {len(self.genes)} indices below {self.sizes.tolist()}, got {genome.tolist()}")
        return {gene.name: gene.choices[int(i)] for gene, i in zip(self.genes, genome, strict=True)}
