"""Regularized evolution (Real et al. 2019): the oldest die, however good they are."""

from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, UInt

from jaxnas.algorithms import pareto
from jaxnas.algorithms.algorithm import (
    AnySpace,
    Asked,
    check_fitness,
    check_limits,
    check_sizes,
    unevaluated,
)
from jaxnas.algorithms.variation import (
    Discrete,
    Variation,
    nothing_seen,
    remember,
    without_duplicates,
)
from jaxnas.errors import UserError
from jaxnas.plugins import leaves_unread
from jaxnas.types import Fitness, Genomes, PRNGKey


class State(NamedTuple):
    """The living, in a ring: the place after the youngest holds the oldest."""

    genomes: Genomes
    fitness: Fitness  # NaN where nobody has lived yet
    rows: Int[Array, "n"]  # where the archive has them
    place: Int[Array, "n"]  # of each among the living: 0 is the best
    evaluated: Int[Array, ""]  # candidates told so far
    seen: UInt[Array, "slots"]  # networks evaluated before (variation.remember)


@leaves_unread("crossover", "mutation")  # every child is mutated for certain, and none is crossed
@dataclass(frozen=True)
class RegularizedEvolution:
    """An aging population.

    Children are mutated winners of tournaments, and take the places of the oldest.

    Candidates are uniform over the space until `members` live. Then each child descends from the
    best of `sample` living members, drawn with replacement, and always differs from it. The
    original has one objective and one child at a time; here `population` children are bred from the
    same living members, and with several objectives the best of a sample is the first by
    non-dominated rank among all living, then by crowding (of one objective: the least). Candidates
    beyond a limit come after those within, by their excess, and failed ones last. A child that
    means the same network as an evaluated candidate or an earlier child is mutated again a few
    times.
    """

    population: int = 28
    """Children per generation, at least 2."""
    variation: Variation = field(default_factory=Discrete)
    """Its mutation: `Discrete` of choices, `Real` of a `Box`; there is no crossover."""
    objectives: int = 2
    """Columns of the fitness."""
    members: int | None = None
    """The living, at least as many as children; None: 100, or as many as children if those are
    more."""
    sample: int = 25
    """Members that compete to be a parent."""
    limits: tuple[float | None, ...] = ()
    """The most that each objective may be; None, or nothing at all, sets no limit."""
    avoid_duplicates: bool = True

    def __post_init__(self):
        check_sizes(self.population, self.objectives)
        check_limits(self.limits, self.objectives)
        if self.living < self.population:
            raise UserError(
                f"members must be at least the {self.population} children of a generation, got "
                f"{self.members}; set more"
            )
        if self.sample < 1:
            raise UserError(f"sample must be at least 1, got {self.sample}; set a larger number")

    @property
    def living(self) -> int:
        """How many members live."""
        return max(100, self.population) if self.members is None else self.members

    def init(self, key: PRNGKey, space: AnySpace) -> State:
        return State(
            *unevaluated(key, space, self.living, self.objectives),
            place=jnp.arange(self.living, dtype=jnp.int32),
            evaluated=jnp.int32(0),
            seen=nothing_seen(self.population),
        )

    def ask(self, key: PRNGKey, space: AnySpace, state: State) -> Asked:
        sample_key, tournament_key, mutation_key, duplicates_key = jax.random.split(key, 4)
        winners = self._tournaments(tournament_key, state)
        bred = self.variation.change(
            mutation_key, space, state.genomes[winners], jnp.ones(self.population, bool)
        )
        parents = jnp.stack([state.rows[winners], jnp.full(self.population, -1, jnp.int32)], axis=1)
        initial = Asked(space.sample(sample_key, self.population), jnp.full_like(parents, -1))
        filling = state.evaluated < self.living
        genomes, parents = jax.tree.map(partial(jnp.where, filling), initial, Asked(bred, parents))
        if self.avoid_duplicates:
            genomes = without_duplicates(duplicates_key, space, self.variation, genomes, state.seen)
        return Asked(genomes, parents)

    def tell(self, space: AnySpace, state: State, asked: Asked, fitness: Fitness) -> State:
        check_fitness(self, fitness)
        rows = state.evaluated + jnp.arange(self.population, dtype=jnp.int32)
        oldest = rows % self.living
        living = state.fitness.at[oldest].set(fitness.astype(jnp.float32))
        rank = pareto.rank_within(living, self.limits)
        order = pareto.survivors(rank, pareto.crowding(living, rank), self.living)
        evaluated = state.evaluated + self.population
        return State(
            genomes=state.genomes.at[oldest].set(asked.genomes),
            fitness=living,
            rows=state.rows.at[oldest].set(rows),
            place=jnp.zeros_like(state.place)
            .at[order]
            .set(jnp.arange(self.living, dtype=jnp.int32)),
            evaluated=evaluated,
            seen=remember(state.seen, space, asked.genomes)
            if self.avoid_duplicates
            else state.seen,
        )

    def _tournaments(self, key: PRNGKey, state: State) -> Int[Array, "n"]:
        """The winner of a tournament for each child."""
        drawn = jax.random.randint(key, (self.population, self.sample), 0, self.living, jnp.int32)
        return drawn[jnp.arange(self.population), state.place[drawn].argmin(axis=1)]
