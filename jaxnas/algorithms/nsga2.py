"""NSGA-II (Deb et al., 2002): ranks first, then room on the front."""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt

from jaxnas.algorithms import pareto
from jaxnas.algorithms.algorithm import (
    AnySpace,
    Asked,
    check_fitness,
    check_limits,
    check_sizes,
    initial_or_children,
    unevaluated,
    with_members,
)
from jaxnas.algorithms.variation import (
    WORD,
    Discrete,
    Variation,
    mated,
    nothing_seen,
    remember,
    without_duplicates,
)
from jaxnas.types import Fitness, Genomes, PRNGKey


class State(NamedTuple):
    """The members of the population, best first, and how far the search is."""

    genomes: Genomes
    fitness: Fitness
    rows: Int[Array, "n"]  # where the archive has the members; -1 before they are evaluated
    rank: Int[Array, "n"]
    crowding: Float[Array, "n"]
    evaluated: Int[Array, ""]  # candidates told so far
    generation: Int[Array, ""]  # generations told so far
    seen: UInt[Array, "slots"]  # networks evaluated before (variation.remember)


@dataclass(frozen=True)
class NSGA2:
    """Evolves a population towards the whole front of non-dominated candidates.

    The first generation is uniform over the space. Later ones: parents win tournaments of two
    different members, in which every member takes part equally often: who dominates the other wins,
    else who has more room (crowding). They come in pairs. A child that means the same network as an
    evaluated candidate or an earlier child is mutated again a few times, and then accepted as it
    is.

    Parents and children compete for the places: by rank, then by crowding, then the newer first.
    Failed candidates only fill places that nobody else can, and are parents only if the whole
    population failed. Under `limits` a candidate beyond one is dominated by every one within, and
    by those that exceed less (Deb 2002, section VI).
    """

    population: int = 28
    """Members, and candidates per generation; at least 2, even or odd."""
    variation: Variation = field(default_factory=Discrete)
    """Crossover and mutation: `Discrete` of choices, `Real` of a `Box`."""
    objectives: int = 2
    """Columns of the fitness."""
    limits: tuple[float | None, ...] = ()
    """The most that each objective may be; None, or nothing at all, sets no limit."""
    avoid_duplicates: bool = True

    def __post_init__(self):
        check_sizes(self.population, self.objectives)
        check_limits(self.limits, self.objectives)

    def init(self, key: PRNGKey, space: AnySpace) -> State:
        n = self.population
        return State(
            *unevaluated(key, space, n, self.objectives),
            rank=jnp.zeros(n, jnp.int32),
            crowding=jnp.zeros(n, jnp.float32),
            evaluated=jnp.int32(0),
            generation=jnp.int32(0),
            seen=nothing_seen(n),
        )

    def ask(self, key: PRNGKey, space: AnySpace, state: State) -> Asked:
        pairs_key, cross_key, mutation_key, duplicates_key = jax.random.split(key, 4)
        children, parents = mated(
            cross_key,
            space,
            self.variation,
            state.genomes,
            state.rows,
            _tournaments(pairs_key, state, self.limits),
        )
        children = self.variation.mutate(mutation_key, space, children)
        if self.avoid_duplicates:
            children = without_duplicates(
                duplicates_key, space, self.variation, children, state.seen
            )
        return initial_or_children(state, Asked(children, parents))

    def tell(self, space: AnySpace, state: State, asked: Asked, fitness: Fitness) -> State:
        check_fitness(self, fitness)
        genomes, fitness, rows = with_members(state, asked, fitness)
        rank, crowding, kept = self.selected(fitness)
        members = (array[kept] for array in (genomes, fitness, rows, rank, crowding))
        evaluated = state.evaluated + self.population
        seen = remember(state.seen, space, asked.genomes) if self.avoid_duplicates else state.seen
        return State(*members, evaluated=evaluated, generation=state.generation + 1, seen=seen)

    def selected(
        self, fitness: Fitness
    ) -> tuple[Int[Array, "n"], Float[Array, "n"], Int[Array, "population"]]:
        """Rank and crowding of each candidate, and which of them are members, best first."""
        rank = pareto.rank_within(fitness, self.limits)
        crowding = pareto.crowding(fitness, rank)
        return rank, crowding, pareto.survivors(rank, crowding, self.population)


def _tournaments(
    key: PRNGKey, state: State, limits: tuple[float | None, ...]
) -> Int[Array, "2 pairs"]:
    """Winners of tournaments of two members, in pairs.

    Of those that did not fail (of all if all did) each competes equally often.
    """
    n = len(state.rank)
    valid = jnp.sum(~pareto.failed(state.fitness))  # failed members are the last ones
    valid = jnp.where(valid > 0, valid, n)
    draws = jnp.where(jnp.arange(n) < valid, jax.random.bits(key, (2, n), jnp.uint32) >> 1, WORD)
    orders = jax.vmap(lambda draws: pareto.lexsort((draws, 32)))(draws)
    # Neighbours in a random order are two different members, where there are two; so are the
    # winners of most neighbouring tournaments.
    one, other = orders[:, jnp.arange(n + n % 2) % valid].reshape(-1, 2).T
    violation = pareto.total_violation(state.fitness, limits)
    wins, loses = (
        pareto.dominates(state.fitness[a], state.fitness[b], violation[a], violation[b])
        for a, b in ((other, one), (one, other))
    )
    return (
        jnp.where(wins | (~loses & (state.crowding[other] > state.crowding[one])), other, one)
        .reshape(-1, 2)
        .T
    )
