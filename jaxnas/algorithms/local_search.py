"""Pareto local search (Paquete, Chiarandini & Stuetzle 2004).

Try the neighbours of everything that is not dominated.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, UInt

from jaxnas.algorithms import pareto
from jaxnas.algorithms.algorithm import (
    AnySpace,
    Asked,
    check_fitness,
    check_limits,
    check_sizes,
    unevaluated,
    with_members,
)
from jaxnas.algorithms.variation import (
    Discrete,
    hashes,
    in_memory,
    nothing_seen,
    remember,
    without_duplicates,
)
from jaxnas.errors import UserError
from jaxnas.spaces.box import Box
from jaxnas.types import Fitness, Genomes, PRNGKey


class State(NamedTuple):
    """The front of this climb, best first."""

    genomes: Genomes
    fitness: Fitness  # NaN where there is no member
    rows: Int[Array, "n"]  # where the archive has the members
    # Which neighbours of each member were not evaluated yet; none of who is not on the front.
    untried: Bool[Array, "n neighbours"]
    evaluated: Int[Array, ""]  # candidates told so far
    seen: UInt[Array, "slots"]  # networks evaluated before (variation.remember)


@dataclass(frozen=True)
class LocalSearch:
    """Climbs with a whole front from random candidates.

    Begins again when no neighbour is left to try.

    Neighbours differ in one gene. Each generation tries some of the front's untried ones, drawn at
    random and shared out evenly among the members; then the front of members and neighbours climbs
    on (at most `population` of it, by crowding). With one objective this is hill climbing. Where
    fewer neighbours are left than are asked for, random candidates make up the number. When none is
    left, a new climb begins with a random generation and keeps no member.

    A network that was evaluated is not tried again, not even by a later climb, as long as it is
    remembered. Of neighbours that two members share, one is changed in another gene.
    """

    population: int = 28
    """Candidates per generation, and the most members of a front; at least 2."""
    objectives: int = 2
    """Columns of the fitness."""
    limits: tuple[float | None, ...] = ()
    """The most that each objective may be; None, or nothing at all, sets no limit. As long as
    nothing is within, less excess is better."""

    def __post_init__(self):
        check_sizes(self.population, self.objectives)
        check_limits(self.limits, self.objectives)

    def init(self, key: PRNGKey, space: AnySpace) -> State:
        n = self.population
        return State(
            *unevaluated(key, space, n, self.objectives),
            untried=jnp.zeros((n, len(moves(sizes(space)))), bool),
            evaluated=jnp.int32(0),
            seen=nothing_seen(n),
        )

    def ask(self, key: PRNGKey, space: AnySpace, state: State) -> Asked:
        pick_key, sample_key, duplicates_key = jax.random.split(key, 3)
        member, move = self._picked(pick_key, state.untried)
        tries = state.untried[member, move]
        neighbours = moved(
            state.genomes[member], jnp.asarray(moves(sizes(space)))[move], sizes(space)
        )
        genomes = jnp.where(tries[:, None], neighbours, space.sample(sample_key, self.population))
        parents = jnp.stack(
            [jnp.where(tries, state.rows[member], -1), jnp.full(self.population, -1, jnp.int32)],
            axis=1,
        )
        return Asked(
            without_duplicates(duplicates_key, space, Discrete(), genomes, state.seen), parents
        )

    def tell(self, space: AnySpace, state: State, asked: Asked, fitness: Fitness) -> State:
        check_fitness(self, fitness)
        evaluated = state.evaluated + self.population
        seen = remember(state.seen, space, asked.genomes)
        genomes, fitness, rows = with_members(state, asked, fitness)
        rank = pareto.rank_within(fitness, self.limits)
        kept = pareto.survivors(rank, pareto.crowding(fitness, rank), self.population)
        genomes, fitness, rows, rank = (array[kept] for array in (genomes, fitness, rows, rank))
        climbs = (rank == 0) & ~pareto.failed(fitness)
        # What was tried stays so, even if forgotten.
        untried = jnp.concatenate([jnp.ones_like(state.untried), state.untried])[kept]
        untried = untried & self._unseen(space, genomes, seen) & climbs[:, None]
        fitness = jnp.where(climbs[:, None] & untried.any(), fitness, jnp.nan)
        return State(genomes, fitness, rows, untried, evaluated, seen)

    def _picked(
        self, key: PRNGKey, untried: Bool[Array, "n neighbours"]
    ) -> tuple[Int[Array, "n"], Int[Array, "n"]]:
        """Members and moves, untried ones first.

        Every member's first, in random order, then every member's second, ...
        """
        draw = jnp.where(untried, jax.random.uniform(key, untried.shape, jnp.float32), 2.0)
        turn = jnp.argsort(jnp.argsort(draw, axis=1), axis=1)
        order = jnp.lexsort((draw.ravel(), turn.ravel(), ~untried.ravel()))[: self.population]
        return order // untried.shape[1], order % untried.shape[1]

    def _unseen(
        self, space: AnySpace, genomes: Genomes, seen: UInt[Array, "slots"]
    ) -> Bool[Array, "n neighbours"]:
        neighbours = jax.vmap(lambda move: moved(genomes, move, sizes(space)), out_axes=1)(
            jnp.asarray(moves(sizes(space)))
        )
        found = hashes(space, neighbours.reshape(-1, genomes.shape[1]))
        return ~in_memory(seen, found).reshape(self.population, -1)


def sizes(space: AnySpace) -> Int[np.ndarray, "genes"]:
    """Number of choices of each gene, which a `Box` has none of."""
    if isinstance(space, Box):
        raise UserError(
            f"local search needs a space of choices, got the box {space.name}; use another "
            "algorithm"
        )
    if (space.sizes == 1).all():
        raise UserError(
            f"local search needs two networks or more, got the space {space.name} of one; give a "
            "gene more choices"
        )
    return space.sizes


def moves(sizes: Int[np.ndarray, "genes"]) -> Int[np.ndarray, "neighbours 2"]:
    """Every gene, and every step from a choice of it to another one."""
    return np.array(
        [(gene, step) for gene, size in enumerate(sizes) for step in range(1, size)], np.int32
    ).reshape(-1, 2)


def moved(
    genomes: Genomes, move: Int[Array | np.ndarray, "*n 2"], sizes: Int[Array | np.ndarray, "genes"]
) -> Genomes:
    """The genomes with one gene changed, each by its own move or all by one."""
    steps = jnp.where(jnp.arange(genomes.shape[1]) == move[..., :1], move[..., 1:], 0)
    return (genomes + steps) % jnp.asarray(sizes)
