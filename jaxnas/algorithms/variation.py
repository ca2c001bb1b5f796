"""How children come about.

Crossover and mutation of genomes, and what keeps them from repeating what is known.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, UInt

from jaxnas.algorithms.algorithm import AnySpace
from jaxnas.algorithms.pareto import lexsort
from jaxnas.errors import UserError
from jaxnas.spaces.box import Box
from jaxnas.spaces.space import Space
from jaxnas.types import Genomes, Parents, PRNGKey

SLOTS = 1 << 16  # of a memory, at least
WORD = np.uint32(2**32 - 1)  # the largest random word
ROUNDS = 4  # times that a child which repeats a known candidate is mutated again


@runtime_checkable
class Variation(Protocol):
    """The operators of one kind of genome."""

    def cross(
        self, key: PRNGKey, space: Any, first: Genomes, second: Genomes
    ) -> tuple[Genomes, Genomes, Bool[Array, "n"]]:
        """Two children of each pair of rows, and whether they are crossed or copies."""
        ...

    def mutate(self, key: PRNGKey, space: Any, genomes: Genomes) -> Genomes: ...

    def change(
        self, key: PRNGKey, space: Any, genomes: Genomes, chosen: Bool[Array, "n"]
    ) -> Genomes:
        """The chosen genomes mutated, each of them for certain; the others as they are."""
        ...


@dataclass(frozen=True)
class Discrete:
    """Operators on choice indices.

    `crossover` is the probability, per pair, that the two exchange genes, each with probability
    1/2 (uniform crossover). `mutation` is the probability, per child, that it is mutated at all:
    then each free gene (one with two choices or more) changes with probability 1/(number of free
    genes), or one of them, uniformly, if none was drawn, and always to a different value.
    """

    crossover: float = 0.9
    mutation: float = 0.35

    def __post_init__(self):
        check_probabilities(crossover=self.crossover, mutation=self.mutation)

    def cross(
        self, key: PRNGKey, space: AnySpace, first: Genomes, second: Genomes
    ) -> tuple[Genomes, Genomes, Bool[Array, "n"]]:
        crosses_key, swap_key = jax.random.split(key)
        crosses = happens(crosses_key, self.crossover, first.shape[:1])
        swap = crosses[:, None] & _uniform(swap_key, first.shape)
        return jnp.where(swap, second, first), jnp.where(swap, first, second), crosses

    def mutate(self, key: PRNGKey, space: AnySpace, genomes: Genomes) -> Genomes:
        n, genes = genomes.shape
        draws = jax.random.bits(key, (n, genes + 1), jnp.uint32)
        return self._changed(
            draws[:, :genes], space, genomes, (draws[:, genes] >> 8) < self.mutation * 2**24
        )

    def change(
        self, key: PRNGKey, space: AnySpace, genomes: Genomes, chosen: Bool[Array, "n"]
    ) -> Genomes:
        return self._changed(
            jax.random.bits(key, genomes.shape, jnp.uint32), space, genomes, chosen
        )

    def _changed(
        self,
        draws: UInt[Array, "n genes"],
        space: AnySpace,
        genomes: Genomes,
        chosen: Bool[Array, "n"],
    ) -> Genomes:
        """One random word for each gene says whether it changes and to what.

        It takes most of a generation's time.
        """
        space = _choices(space)
        free = space.sizes > 1
        words = jnp.where(free, draws, WORD)
        changes = words <= jnp.maximum(
            WORD // np.uint32(max(free.sum(), 1)), words.min(axis=1, keepdims=True)
        )
        return space.mutate(draws, genomes, changes & free & chosen[:, None])


def _uniform(key: PRNGKey, shape: tuple[int, ...]) -> Bool[Array, "n genes"]:
    """A bit for each gene, 32 in a word."""
    n, genes = shape
    words = jax.random.bits(key, (n, -(-genes // 32)), jnp.uint32)
    gene = np.arange(genes, dtype=np.uint32)
    return (words[:, gene // 32] >> (gene % 32)) & 1 == 1


@dataclass(frozen=True)
class Real:
    """Operators on the values of a `Box`.

    Simulated binary crossover and polynomial mutation (Deb & Agrawal 1995, 1999).

    `crossover` is the probability, per pair, that they are crossed, each gene then with probability
    1/2; `mutation` the probability, per child, that each of its genes is mutated with probability
    1/genes. The larger an index, the closer children stay to their parents.
    """

    crossover: float = 0.9
    mutation: float = 0.9
    crossover_index: float = 15.0
    mutation_index: float = 20.0

    def __post_init__(self):
        check_probabilities(crossover=self.crossover, mutation=self.mutation)

    def cross(
        self, key: PRNGKey, space: AnySpace, first: Genomes, second: Genomes
    ) -> tuple[Genomes, Genomes, Bool[Array, "n"]]:
        space = _box(space)
        crosses_key, genes_key, spread_key, swap_key = jax.random.split(key, 4)
        crosses = happens(crosses_key, self.crossover, first.shape[:1])
        low = jnp.asarray(space.low, jnp.float32)
        high = jnp.asarray(space.high, jnp.float32)
        less = jnp.minimum(first, second)
        more = jnp.maximum(first, second)
        gap = more - less
        u = jax.random.uniform(spread_key, first.shape, jnp.float32)
        below, above = (
            self._spread(u, 1 + 2 * room / jnp.where(gap > 0, gap, 1.0))
            for room in (less - low, high - more)
        )
        one = jnp.clip(0.5 * (less + more - below * gap), low, high)
        other = jnp.clip(0.5 * (less + more + above * gap), low, high)
        crossed = crosses[:, None] & (gap > 0) & happens(genes_key, 0.5, first.shape)
        swap = happens(swap_key, 0.5, first.shape)
        return (
            jnp.where(crossed, jnp.where(swap, other, one), first),
            jnp.where(crossed, jnp.where(swap, one, other), second),
            crosses,
        )

    def _spread(self, u: Genomes, room: Genomes) -> Genomes:
        """How far children spread, drawn by `u` from what the room to the bound allows."""
        power = 1 / (self.crossover_index + 1)
        alpha = 2 - room ** -(self.crossover_index + 1)
        contracting = u * alpha <= 1
        return (
            jnp.where(contracting, u * alpha, 1 / jnp.where(contracting, 1.0, 2 - u * alpha))
            ** power
        )

    def mutate(self, key: PRNGKey, space: AnySpace, genomes: Genomes) -> Genomes:
        chosen_key, genes_key, values_key = jax.random.split(key, 3)
        chosen = happens(chosen_key, self.mutation, genomes.shape[:1])
        genes = happens(genes_key, min(0.5, 1 / genomes.shape[1]), genomes.shape)
        return self._moved(values_key, space, genomes, chosen[:, None] & genes)

    def change(
        self, key: PRNGKey, space: AnySpace, genomes: Genomes, chosen: Bool[Array, "n"]
    ) -> Genomes:
        genes_key, values_key = jax.random.split(key)
        draw = jax.random.uniform(genes_key, genomes.shape, jnp.float32)
        genes = draw <= jnp.maximum(1 / genomes.shape[1], draw.min(axis=1, keepdims=True))
        return self._moved(values_key, space, genomes, chosen[:, None] & genes)

    def _moved(
        self, key: PRNGKey, space: AnySpace, genomes: Genomes, mask: Bool[Array, "n genes"]
    ) -> Genomes:
        space = _box(space)
        low = jnp.asarray(space.low, jnp.float32)
        high = jnp.asarray(space.high, jnp.float32)
        u = jax.random.uniform(key, genomes.shape, jnp.float32)
        power = self.mutation_index + 1
        down = u <= 0.5
        place = (genomes - low) / (high - low)
        v = jnp.where(down, 2 * u, 2 - 2 * u)
        room = jnp.where(down, place, 1 - place)
        step = 1 - (v + (1 - v) * (1 - room) ** power) ** (1 / power)
        moved = jnp.clip(genomes + jnp.where(down, -step, step) * (high - low), low, high)
        return jnp.where(mask, moved, genomes)


def _choices(space: AnySpace) -> Space:
    if not isinstance(space, Space):
        raise UserError(
            f"the operators Discrete need a Space of choices, got the Box {space.name}: set "
            "variation to Real()"
        )
    return space


def _box(space: AnySpace) -> Box:
    if not isinstance(space, Box):
        raise UserError(
            f"the operators Real need a Box, got the Space of choices {space.name}: set variation "
            "to Discrete()"
        )
    return space


def happens(key: PRNGKey, probability: float, shape: tuple[int, ...]) -> Bool[Array, "*shape"]:
    """True with this probability: the same draws whether JAX counts in 32 bits or in 64."""
    return jax.random.bernoulli(key, jnp.float32(probability), shape)


def check_probabilities(**probabilities: float) -> None:
    """Each is from 0 to 1."""
    for name, value in probabilities.items():
        if not 0 <= value <= 1:
            raise UserError(f"{name} must be a probability from 0 to 1, got {value}; set one")


def mated(
    key: PRNGKey,
    space: AnySpace,
    variation: Variation,
    genomes: Genomes,
    rows: Int[Array, "n"],
    pairs: Int[Array, "2 pairs"],
) -> tuple[Genomes, Parents]:
    """Two children of each pair of members, as many as there are members.

    Of an odd number the last child is dropped.

    `rows` are the members' in the archive; a copy has one parent.
    """
    one, other, crossed = variation.cross(key, space, *genomes[pairs])
    own = rows[pairs].reshape(-1)
    partner = rows[pairs[::-1]].reshape(-1)
    parents = jnp.stack([own, jnp.where(jnp.tile(crossed, 2), partner, -1)], axis=1)
    return jnp.concatenate([one, other])[: len(genomes)], parents[: len(genomes)]


def hashes(space: AnySpace, genomes: Genomes) -> UInt[Array, "n"]:
    """A number above 0 for each network.

    Those of different networks are almost always different.
    """
    words = jax.lax.bitcast_convert_type(jax.vmap(space.canonical)(genomes), jnp.uint32)
    places = jnp.arange(genomes.shape[1], dtype=jnp.uint32) * jnp.uint32(2654435769)
    # 0 is nobody's.
    return jnp.maximum(jnp.sum(_mixed(words + places), axis=1, dtype=jnp.uint32), 1)


def _mixed(words: UInt[Array, "*n"]) -> UInt[Array, "*n"]:
    """MurmurHash3's finalizer (Appleby): every bit changes half of the others."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        words = (words ^ (words >> shift)) * jnp.uint32(factor)
    return words


def nothing_seen(population: int) -> UInt[Array, "slots"]:
    """An empty memory of candidates: the hash of the last one of each slot, 0 for nobody."""
    return jnp.zeros(max(SLOTS, 1 << (32 * population - 1).bit_length()), jnp.uint32)


def remember(seen: UInt[Array, "slots"], space: AnySpace, genomes: Genomes) -> UInt[Array, "slots"]:
    """The memory with these candidates, which take the slots of older ones.

    Of as many as there are slots a third is forgotten.
    """
    found = hashes(space, genomes)
    return seen.at[found % jnp.uint32(len(seen))].set(found)


def in_memory(seen: UInt[Array, "slots"], found: UInt[Array, "n"]) -> Bool[Array, "n"]:
    """Which hashes are remembered."""
    return seen[found % jnp.uint32(len(seen))] == found


def repeated(space: AnySpace, genomes: Genomes, seen: UInt[Array, "slots"]) -> Bool[Array, "n"]:
    """Which genomes mean a remembered network, or that of an earlier row."""
    mine = hashes(space, genomes)
    order = lexsort((mine, 32))
    later = jnp.append(False, mine[order][1:] == mine[order][:-1])
    return jnp.zeros_like(later).at[order].set(later) | in_memory(seen, mine)


def without_duplicates(
    key: PRNGKey,
    space: AnySpace,
    variation: Variation,
    children: Genomes,
    seen: UInt[Array, "slots"],
) -> Genomes:
    """Children that mean a known network, mutated again.

    That of a remembered candidate or of an earlier child.

    `ROUNDS` times at most, so that a space that has been seen whole still gives children.
    """

    def again(carry):
        step, children, duplicates = carry
        children = variation.change(jax.random.fold_in(key, step), space, children, duplicates)
        return step + 1, children, repeated(space, children, seen)

    start = jnp.int32(0), children, repeated(space, children, seen)
    return jax.lax.while_loop(lambda carry: (carry[0] < ROUNDS) & carry[2].any(), again, start)[1]
