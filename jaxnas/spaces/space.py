"""A search space as data: genes, their choices, and what every choice costs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, UInt

from jaxnas.errors import UserError
from jaxnas.networks.costs import Costs, Layers, layer_costs
from jaxnas.types import Genome, Genomes, PRNGKey

CHOICES = 1 << 16  # of a gene, at most: what the random bits of a mutation tell apart
# Of the choices that decide what a part costs, all of which stand in a table.
COMBINATIONS = 1 << 14
ANYTHING = np.iinfo(np.int32).min  # what a gene needs that always matters


@dataclass(frozen=True)
class Gene:
    """One decision: a name and its choices, smallest first.

    `static` genes change array shapes (resolution).

    A gene that `needs` (name, value) matters only where the gene of that name has at least this
    value: the kernel of a stage's fourth block needs depth 4. Choices of an `ordered` gene are
    alike where they are near each other (widths, kernels); those of another are merely different
    (operations).
    """

    name: str
    choices: tuple[int, ...]
    static: bool = False
    needs: tuple[str, int] | None = None
    ordered: bool = True


class Part(NamedTuple):
    """Operators in a row, and the genes that decide what they cost.

    `rows` takes the values of `genes`, numbers or arrays of one shape, and gives a row of `Layers`
    for each operator.
    """

    genes: tuple[int, ...]  # positions
    rows: Callable[..., list[Layers]]


@dataclass(frozen=True)
class Space:
    """What can be built.

    A genome is one choice index per gene; `parts` say what a genome costs, one after another.

    `structure` is the family's own description, from which its supernet is built.
    """

    name: str
    genes: tuple[Gene, ...]
    parts: tuple[Part, ...] = ()
    structure: Any = None

    def __post_init__(self):
        for gene in self.genes:
            if len(gene.choices) > CHOICES:
                raise UserError(
                    f"gene {gene.name} of {self.name} has {len(gene.choices)} choices, more than "
                    f"{CHOICES}: give it fewer"
                )
        most = [
            sum(int(counts.max()) for counts in column) for column in zip(*self.tables, strict=True)
        ]
        for what, limit, total in zip(
            ("multiply-adds", "weights", "activations"), (2**31, 2**29, 2**29), most, strict=False
        ):
            if total >= limit:
                raise UserError(
                    f"a network of space {self.name} may have {total} {what}, more than "
                    f"{limit - 1}: give it smaller choices"
                )

    @cached_property
    def sizes(self) -> np.ndarray:
        """Number of choices of each gene, int32 (genes,)."""
        return np.array([len(gene.choices) for gene in self.genes], np.int32)

    @cached_property
    def steps(self) -> np.ndarray:
        """Which genes are ordered and have more than two choices, bool (genes,).

        Those that a mutation moves step by step.
        """
        return np.array([gene.ordered and len(gene.choices) > 2 for gene in self.genes], bool)

    @cached_property
    def smallest(self) -> np.ndarray:
        return np.zeros(len(self.genes), np.int32)

    @cached_property
    def largest(self) -> np.ndarray:
        return self.sizes - 1

    @cached_property
    def static(self) -> int:
        """Position of the static gene, of which a space has one: the resolution."""
        return next(i for i, gene in enumerate(self.genes) if gene.static)

    def resolution_choice(self, pixels: int) -> int:
        """The static gene's choice of this resolution; a `UserError` where there is none."""
        if pixels not in self.resolutions:
            raise UserError(
                f"{self.name} has the resolutions {', '.join(map(str, self.resolutions))}, got "
                f"{pixels}"
            )
        return self.resolutions.index(pixels)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Choices of the static gene: a compiled program each."""
        return self.genes[self.static].choices

    def size(self) -> int:
        """Number of different networks, exact.

        Genomes that differ in a gene that does not matter count once.
        """
        return math.prod(self._ways(gene) for gene in self.genes if gene.needs is None)

    def _ways(self, gene: Gene) -> int:
        """Number of choices of a gene.

        Each together with all choices of the genes that then matter.
        """
        dependents = [
            other for other in self.genes if other.needs is not None and other.needs[0] == gene.name
        ]
        return sum(
            math.prod(len(other.choices) for other in dependents if value >= _needed(other))
            for value in gene.choices
        )

    def alive(self, genomes: Int[Array | np.ndarray, "*n genes"]) -> Bool[Array, "*n genes"]:
        """Whether each gene matters in its genome."""
        names = [gene.name for gene in self.genes]
        parents = np.array(
            [names.index(gene.needs[0]) if gene.needs else i for i, gene in enumerate(self.genes)]
        )
        return self.values(genomes)[..., parents] >= jnp.asarray(
            [_needed(gene) for gene in self.genes], jnp.int32
        )

    def canonical(self, genomes: Int[Array | np.ndarray, "*n genes"]) -> Int[Array, "*n genes"]:
        """Genomes that mean the same network become one.

        Genes that do not matter take their first choice.
        """
        return jnp.where(self.alive(genomes), genomes, 0)

    def values(self, genomes: Int[Array | np.ndarray, "*n genes"]) -> Int[Array, "*n genes"]:
        """The chosen values (16 channels, kernel 5, ...) in place of choice indices."""
        table = np.zeros((len(self.genes), self.sizes.max()), np.int32)
        for row, gene in zip(table, self.genes, strict=True):
            row[: len(gene.choices)] = gene.choices
        return jnp.asarray(table)[jnp.arange(len(self.genes)), genomes]

    def layers(self, genome: Genome | Int[np.ndarray, "genes"]) -> Layers:
        """The cost table of one genome.

        Every operator that a network may have, skipped ones with repeat 0; vmaps.

        A genome of NumPy's is counted with plain numbers: one of JAX's takes 50 times as long where
        nothing compiles it.
        """
        host = isinstance(genome, np.ndarray)
        values = list(self.decode(genome).values()) if host else self.values(genome)
        rows = [row for part in self.parts for row in part.rows(*(values[i] for i in part.genes))]
        stack = np.array if host else jnp.stack
        return Layers(
            *(jnp.asarray(stack(column), jnp.int32) for column in zip(*rows, strict=True))
        )

    def costs(self, genomes: Int[Array | np.ndarray, "*n genes"]) -> Costs:
        """`workload.costs` of many networks, millions a second.

        Every part's are looked up in a table.
        """
        return _looked_up(self, jnp.asarray(genomes))

    @cached_property
    def tables(self) -> list[Costs]:
        """Each part's costs for every combination of its genes' choices, int64.

        The last gene changes fastest.
        """
        for part in self.parts:
            ways = math.prod(len(self.genes[i].choices) for i in part.genes)
            if ways > COMBINATIONS:
                names = ", ".join(self.genes[i].name for i in part.genes)
                raise UserError(
                    f"{names} of space {self.name} have {ways} combinations, more than "
                    f"{COMBINATIONS}: give them fewer choices"
                )
        return [_table(part, [self.genes[i].choices for i in part.genes]) for part in self.parts]

    def sample(self, key: PRNGKey, n: int) -> Genomes:
        """`n` genomes, every gene uniform over its choices, independently."""
        return jax.random.randint(key, (n, len(self.genes)), 0, jnp.asarray(self.sizes), jnp.int32)

    def mutate(
        self, draws: UInt[Array, "n genes"], genomes: Genomes, mask: Bool[Array, "n genes"]
    ) -> Genomes:
        """Give each masked gene a different value; genes with one choice stay.

        Of a gene that is not ordered it is uniform over the others; of an ordered one it lies j
        choices away with a probability that falls as 1/j, up or down alike (harmonic mutation:
        Doerr, Doerr & Koetzing 2018). `draws` are random words of 32 bits, of which the lower 16
        decide: even to 2^-16.
        """
        sizes = jnp.asarray(self.sizes)
        others = jnp.maximum(sizes - 1, 1).astype(jnp.uint32)
        moved = genomes + 1 + (((draws & 0xFFFF) * others) >> 16).astype(jnp.int32)
        moved = jnp.where(moved >= sizes, moved - sizes, moved)
        if self.steps.any():
            moved = jnp.where(jnp.asarray(self.steps), _stepped(draws, genomes, sizes), moved)
        return jnp.where(mask & (sizes > 1), moved, genomes)

    def encode(self, network: Mapping[str, int]) -> np.ndarray:
        """The genome of `{gene name: value}`.

        Names every gene whose value is missing or impossible.
        """
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
            raise UserError(
                f"a genome of {self.name} has {len(self.genes)} indices below "
                f"{self.sizes.tolist()}, got {genome.tolist()}"
            )
        return {gene.name: gene.choices[int(i)] for gene, i in zip(self.genes, genome, strict=True)}


def _stepped(
    draws: UInt[Array, "n genes"], genomes: Genomes, sizes: Int[Array, "genes"]
) -> Genomes:
    """A bit decides up or down where there is room on both sides, 15 bits the way.

    The logarithm of the step is uniform.
    """
    below = genomes
    above = sizes - 1 - genomes
    up = (above > 0) & ((below == 0) | (draws & 1 == 1))
    room = jnp.where(up, above, below).astype(jnp.float32)
    share = ((draws >> 1) & 0x7FFF).astype(jnp.float32) / 2**15
    step = jnp.clip(jnp.floor(jnp.exp(share * jnp.log(room + 1))), 1, jnp.maximum(room, 1)).astype(
        jnp.int32
    )
    return genomes + jnp.where(up, step, -step)


def _needed(gene: Gene) -> int:
    return gene.needs[1] if gene.needs else int(ANYTHING)


def every_row(part: Part, choices: Sequence[Sequence[int]]) -> Layers:
    """A part's operators, (combinations, operators), for every combination of choices.

    The last gene changes fastest. int64, of NumPy.
    """
    values = [axis.ravel() for axis in np.meshgrid(*choices, indexing="ij")]
    columns = zip(*part.rows(*values), strict=True)
    stacked: Any = (
        np.stack(np.broadcast_arrays(values[0], *column)[1:], axis=1) for column in columns
    )
    return Layers(*stacked)


def _table(part: Part, choices: Sequence[Sequence[int]]) -> Costs:
    macs, params, live = layer_costs(every_row(part, choices))
    return Costs(macs.sum(axis=1), params.sum(axis=1), live.max(axis=1))


@partial(jax.jit, static_argnames="space")
def _looked_up(space: Space, genomes: Int[Array, "*n genes"]) -> Costs:
    macs = params = peak = jnp.int32(0)
    for part, table in zip(space.parts, space.tables, strict=True):
        row = jnp.int32(0)
        for i in part.genes:
            row = row * len(space.genes[i].choices) + genomes[..., i]
        found = [jnp.asarray(counts, jnp.int32)[row] for counts in table]
        macs = macs + found[0]
        params = params + found[1]
        peak = jnp.maximum(peak, found[2])
    return Costs(macs, params, peak)
