"""A search space as data: genes, their choices, and the parts of a network that they decide."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, UInt

from jaxnas.errors import UserError
from jaxnas.networks.costs import Costs, Layers
from jaxnas.networks.op import Op
from jaxnas.spaces import cost_tables
from jaxnas.spaces.checked import check_parts
from jaxnas.spaces.gene import CHIP, Gene, check_genes, needs, networks
from jaxnas.spaces.graph_memory import Memory, memory_of
from jaxnas.spaces.mutation import mutated
from jaxnas.spaces.parts import Held, Part, assembled, of_every_choice
from jaxnas.types import Genome, Genomes, PRNGKey


@runtime_checkable
class Structure(Protocol):
    """How a family describes itself."""

    def settings(self) -> dict[str, Any]:
        """All that decides what the networks are: what a run's space.json holds."""
        ...

    def completed(self, saved: dict[str, Any]) -> dict[str, Any]:
        """What a file says of a structure, in today's form."""
        ...


@dataclass(frozen=True)
class Space:
    """What can be built. A genome is one choice index per gene; `parts` are its network, in order.

    `structure` is the family's own description of itself, and `smaller` makes the smallest instance
    with the same kinds of blocks, on which contracts are tested. An operator that no result depends
    on is a mistake, which is refused, unless `counts_unread`: in cells it stands on an edge without
    a way on, and published tables count its costs. The plain network is without it in any case.
    """

    name: str
    genes: tuple[Gene, ...]
    parts: tuple[Part, ...] = ()
    structure: Structure | None = None
    smaller: Callable[[], "Space"] | None = None
    counts_unread: bool = False

    def __post_init__(self):
        check_genes(self.name, self.genes)
        check_parts(self)
        cost_tables.check(self)

    @cached_property
    def needs(self) -> tuple[np.ndarray, np.ndarray, int]:
        """See `gene.needs`."""
        return needs(self.name, self.genes)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Number of choices of each gene, int32 (genes,)."""
        return np.array([len(gene.choices) for gene in self.genes], np.int32)

    @cached_property
    def steps(self) -> np.ndarray:
        """Which genes are ordered and have more than two choices, bool (genes,).

        Those are moved step by step by a mutation.
        """
        return np.array([gene.ordered and len(gene.choices) > 2 for gene in self.genes], bool)

    @cached_property
    def smallest(self) -> np.ndarray:
        """The genome of every gene's first choice."""
        return np.zeros(len(self.genes), np.int32)

    @cached_property
    def largest(self) -> np.ndarray:
        """The genome of every gene's last choice."""
        return self.sizes - 1

    @cached_property
    def static(self) -> int | None:
        """Position of the static gene, the resolution; None in a space without one."""
        return next((i for i, gene in enumerate(self.genes) if gene.static), None)

    @cached_property
    def resolutions(self) -> tuple[int, ...]:
        """Pixels of the images' side, a compiled program each: the choices of the static gene."""
        if self.static is not None:
            return self.genes[self.static].choices
        return (int(self.image[0]),) if self.parts else ()

    @cached_property
    def image(self) -> tuple[int, int]:
        """Pixels of a side and channels of the largest images, as the first part reads them."""
        first = self.part_ops(self.largest)[0][0]
        return int(first.height), int(first.c_out)

    def resolution_choice(self, pixels: int) -> int:
        """The position of this resolution; a `UserError` where there is none."""
        if pixels not in self.resolutions:
            known = ", ".join(map(str, self.resolutions))
            raise UserError(f"{self.name} has the resolutions {known}, got {pixels}")
        return self.resolutions.index(pixels)

    def resolution_choices(self, genomes: Int[Array | np.ndarray, "*n genes"]) -> Any:
        """The position of each genome's resolution, 0 in a space without a static gene; (*n).

        That of a genome which is no candidate (see `left_out`) is -1.
        """
        if self.static is None:
            return genomes[..., 0].clip(-1, 0)
        return genomes[..., self.static]

    def at_resolution(self, genomes: Any, choice: Any) -> Any:
        """The genomes at the resolution of this position."""
        if self.static is None:
            return genomes
        there = np.arange(len(self.genes)) == self.static
        xp: Any = np if isinstance(genomes, np.ndarray) and isinstance(choice, int) else jnp
        return xp.where(there, xp.asarray(choice, xp.int32), genomes)

    def pixels(self, genome: Int[np.ndarray, "genes"]) -> int:
        """The resolution of a genome."""
        return self.resolutions[int(self.resolution_choices(genome))]

    def left_out(
        self, genomes: Int[np.ndarray, "n genes"], mask: Bool[np.ndarray, "n"]
    ) -> Int[np.ndarray, "n genes"]:
        """The genomes with those of the mask marked as no candidates: evaluations skip them."""
        marked = np.array(genomes)
        marked[mask, self.static or 0] = -1
        return marked

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides what a genome means: what a run's space.json holds."""
        own = self.structure.settings() if self.structure is not None else self._described()
        chip = {gene.name: list(gene.choices) for gene in self.genes if gene.kind == CHIP}
        return {"name": self.name, **own, **({"chip": chip} if chip else {})}

    def _described(self) -> dict[str, Any]:
        """Of a family that does not describe itself: genes, and the largest network's trunk."""
        genes = {gene.name: list(gene.choices) for gene in self.genes if gene.kind != CHIP}
        return {"genes": genes, "largest": [_told(op) for op in self.ops(self.largest)[:-1]]}

    def completed(self, saved: dict[str, Any]) -> dict[str, Any]:
        """What a file says of the space, in today's form, without its name."""
        saved = {name: value for name, value in saved.items() if name != "name"}
        return saved if self.structure is None else self.structure.completed(saved)

    def size(self) -> int:
        """Number of different networks, exact: genomes that differ in a dead gene count once."""
        return networks(self.genes)

    def alive(self, genomes: Int[Array | np.ndarray, "*n genes"]) -> Bool[Array, "*n genes"]:
        """Whether each gene matters in its genome."""
        parents, allowed, nesting = self.needs
        columns = jnp.asarray(genomes)[..., parents]
        own = jnp.asarray(allowed)[jnp.arange(len(self.genes), dtype=jnp.int32), columns]
        alive = own
        for _ in range(nesting):
            alive = own & alive[..., parents]
        return alive

    def canonical(self, genomes: Int[Array | np.ndarray, "*n genes"]) -> Int[Array, "*n genes"]:
        """Genomes that mean the same network become one: dead genes take their first choice."""
        return jnp.where(self.alive(genomes), genomes, 0)

    def values(self, genomes: Int[Array | np.ndarray, "*n genes"]) -> Int[Array, "*n genes"]:
        """The chosen values (16 channels, kernel 5, ...) in place of choice indices."""
        table = np.zeros((len(self.genes), self.sizes.max()), np.int32)
        for row, gene in zip(table, self.genes, strict=True):
            row[: len(gene.choices)] = gene.choices
        return jnp.asarray(table)[jnp.arange(len(self.genes)), genomes]

    def part_ops(self, genome: Genome | np.ndarray) -> list[tuple[Op, ...]]:
        """The operators of each part for one genome, in ints."""
        values = list(self.decode(genome).values())
        return [part.ops(*(values[i] for i in part.genes)) for part in self.parts]

    def ops(self, genome: Genome | np.ndarray) -> tuple[Op, ...]:
        """The plain network of one genome, operator by operator in order of execution."""
        return assembled(self.parts, self.part_ops(genome))[0]

    def owners(self, genome: Genome | np.ndarray) -> tuple[str, ...]:
        """The name of the part that each of `ops(genome)` belongs to."""
        return assembled(self.parts, self.part_ops(genome))[1]

    def layers(self, genome: Genome | Int[np.ndarray, "genes"]) -> Layers:
        """The cost table of one genome, with absent operators of repeat 0; vmaps.

        A genome of NumPy's is counted with plain numbers: one of JAX's takes 50 times as long where
        nothing compiles it.
        """
        return cost_tables.layers(self, genome)

    def costs(self, genomes: Int[Array | np.ndarray, "*n genes"]) -> Costs:
        """`networks.costs` of many networks, millions a second: looked up in tables."""
        return cost_tables.looked_up(self, jnp.asarray(genomes))

    @cached_property
    def tabled(self) -> tuple[tuple[Op, ...], ...]:
        """The operators of each part, with an axis for each of its genes in every size."""
        return tuple(
            of_every_choice(part, [self.genes[i].choices for i in part.genes])
            for part in self.parts
        )

    @cached_property
    def held(self) -> tuple[tuple[tuple[int, ...], Held], ...]:
        """What each part holds in memory, as a table over the genes that decide its operators."""
        return tuple(cost_tables.held_of(self, i) for i in range(len(self.parts)))

    @cached_property
    def memory(self) -> Memory:
        """What each part holds in memory where parts are no chain."""
        return memory_of(self)

    @cached_property
    def terms(self) -> tuple[cost_tables.Term, ...]:
        """What a network costs, as a sum over a few genes each."""
        return cost_tables.terms(self)

    def sample(self, key: PRNGKey, n: int) -> Genomes:
        """`n` genomes, every gene uniform over its choices, independently."""
        sizes = jnp.asarray(self.sizes)
        return jax.random.randint(key, (n, len(self.genes)), 0, sizes, jnp.int32)

    def mutate(
        self, draws: UInt[Array, "n genes"], genomes: Genomes, mask: Bool[Array, "n genes"]
    ) -> Genomes:
        """Give each masked gene a different value: see `mutation.mutated`."""
        moved = mutated(draws, genomes, self.sizes, self.steps)
        return jnp.where(mask & (jnp.asarray(self.sizes) > 1), moved, genomes)

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


def _told(op: Op) -> str:
    """As files have it that are older than dilation, padding and kernels of a size's own."""
    told = repr(op).replace(", own=()", "")
    return told.replace(", padding='same'", "").replace(", dilation=1)", ")")
