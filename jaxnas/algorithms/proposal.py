"""What a search on models proposes: a pool that an inner search finds, and a batch from it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt

from jaxnas.algorithms import pareto
from jaxnas.algorithms.belief import Belief
from jaxnas.algorithms.nsga2 import NSGA2
from jaxnas.algorithms.variation import Variation, repeated
from jaxnas.types import Fitness, Genomes, PRNGKey


class Aims(NamedTuple):
    """How the columns of the fitness are meant."""

    objectives: int  # columns; those after them are constraints, feasible where <= 0
    limits: tuple[float | None, ...]  # of the objectives, or nothing at all

    def violation(self, fitness: Float[Array, "*n columns"]) -> Float[Array, "*n"]:
        """By how much rows exceed limits and constraints; 0 = feasible, NaN = failed."""
        rows = fitness.reshape(-1, fitness.shape[-1])
        total = pareto.total_violation(rows[:, : self.objectives], self.limits)
        total += jnp.maximum(rows[:, self.objectives :], 0.0).sum(axis=1)
        return total.reshape(fitness.shape[:-1])

    def with_violation(
        self, fitness: Float[Array, "n columns"]
    ) -> Float[Array, "n objectives_and_violation"]:
        """Objectives, and as one more column the violation: 0 of all that are feasible."""
        return jnp.concatenate(
            [fitness[:, : self.objectives], self.violation(fitness)[:, None]], axis=1
        )

    def best(self, fitness: Fitness, count: int) -> Int[Array, "count"]:
        """The best rows by rank and crowding, feasible ones first, failed ones last."""
        objectives = fitness[:, : self.objectives]
        rank = pareto.rank(objectives, self.violation(fitness))
        return pareto.survivors(rank, pareto.crowding(objectives, rank), count)


class Pool(NamedTuple):
    """Candidates, best first, what is hoped of them, and which are new and there once."""

    genomes: Genomes
    hoped: Fitness
    free: Bool[Array, "n"]


def pool(
    key: PRNGKey,
    belief: Belief,
    aims: Aims,
    variation: Variation,
    population: int,
    generations: int,
    optimism: float,
    observed: Genomes,
    seen: UInt[Array, "slots"],
    size: int,
) -> Pool:
    """The best new networks that NSGA-II visits on what the surrogates believe.

    Its population is the best observed, `observed` being in that order, as one half; mutants of the
    best as a quarter; and random ones. Limits and constraints are one column, the violation.
    """
    space = belief.space
    init_key, search_key, random_key, mutation_key = jax.random.split(key, 4)
    inner = NSGA2(population, variation, aims.objectives + 1, (*(None,) * aims.objectives, 0.0))
    best = observed[: population // 2]
    mutants = best[: population // 4]
    mutants = variation.change(mutation_key, space, mutants, jnp.ones(len(mutants), bool))
    others = space.sample(random_key, population - len(best) - len(mutants))
    start = inner.init(init_key, space)._replace(
        genomes=jnp.concatenate([best, mutants, others]), seen=seen
    )

    columns = len(belief.scores.rows)
    deviations = jnp.full((1, columns), -optimism, jnp.float32)

    def generation(state, step):
        asked = inner.ask(jax.random.fold_in(search_key, step), space, state)
        hoped = belief.at(asked.genomes, deviations)[0]
        state = inner.tell(space, state, asked, aims.with_violation(hoped))
        return state, (asked.genomes, hoped)

    _, visited = jax.lax.scan(generation, start, jnp.arange(generations, dtype=jnp.int32))
    genomes, hoped = (array.reshape(-1, array.shape[-1]) for array in visited)
    known = repeated(space, genomes, seen)
    kept = aims.best(jnp.where(known[:, None], jnp.nan, hoped), size)
    return Pool(genomes[kept], hoped[kept], ~known[kept])
