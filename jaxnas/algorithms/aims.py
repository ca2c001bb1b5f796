"""How the columns of a fitness are meant: objectives, some with limits, and constraints."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxnas.algorithms import pareto
from jaxnas.types import Fitness


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
