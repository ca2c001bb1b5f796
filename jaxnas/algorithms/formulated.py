"""Any algorithm of one objective, minimising a formulation of several."""

from dataclasses import dataclass
from functools import cached_property

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.algorithms import pareto
from jaxnas.algorithms.algorithm import Algorithm, AnySpace, Asked, check_limits, figures_of
from jaxnas.algorithms.algorithm import State as Own
from jaxnas.algorithms.constrained import Constrained, infeasible
from jaxnas.algorithms.formulations import Formulation, tightest
from jaxnas.errors import UserError
from jaxnas.types import Fitness, PRNGKey


@dataclass(frozen=True)
class Formulated:
    """The algorithm is told one column, which the formulation makes of all objectives.

    Limits, those of the formulation among them, and constraints are told as `Constrained` tells
    them. The archive keeps the objectives as they are.
    """

    algorithm: Algorithm
    """Of one objective, without limits."""
    formulation: Formulation
    objectives: int = 2
    """Columns of the fitness."""
    limits: tuple[float | None, ...] = ()
    """The most that each objective may be; None, or nothing at all, sets no limit."""
    bounds: tuple[float, ...] = ()
    """Of constraints, whose columns come after the objectives (constrained.py)."""

    def __post_init__(self):
        check_limits(self.limits, self.objectives)
        count = getattr(self.algorithm, "objectives", 1)
        if count != 1:
            raise UserError(
                f"a formulation gives one column, and {type(self.algorithm).__name__} has "
                f"{count} objectives: set its objectives to 1"
            )
        _ = self.all_limits  # raises what there is to raise

    @cached_property
    def all_limits(self) -> tuple[float | None, ...]:
        """Of the search and of the formulation."""
        return tightest(self.limits, self.formulation.limits(self.objectives))

    @cached_property
    def inner(self) -> Algorithm:
        """What is told the column, and after it those that have bounds."""
        bounds = [limit for limit in self.all_limits if limit is not None]
        bounds += self.bounds
        return Constrained(self.algorithm, tuple(bounds)) if bounds else self.algorithm

    @property
    def population(self) -> int:
        return self.algorithm.population

    def init(self, key: PRNGKey, space: AnySpace) -> Own:
        return self.inner.init(key, space)

    def ask(self, key: PRNGKey, space: AnySpace, state: Own) -> Asked:
        return self.inner.ask(key, space, state)

    def tell(self, space: AnySpace, state: Own, asked: Asked, fitness: Fitness) -> Own:
        return self.inner.tell(space, state, asked, self.told(fitness))

    def figures(self, state: Own) -> dict[str, Array]:
        """The algorithm's own."""
        return figures_of(self.inner, state)

    def told(self, fitness: Fitness) -> Float[Array, "n columns"]:
        """The column, and those that have bounds."""
        expected = self.objectives + len(self.bounds)
        if fitness.shape[1] != expected:
            raise UserError(
                f"fitness must have {expected} columns, got {fitness.shape[1]}; set objectives and "
                "bounds of Formulated to them"
            )
        fitness = fitness.astype(jnp.float32)
        objectives, constraints = jnp.split(fitness, [self.objectives], axis=1)
        limited = [
            column
            for column, limit in zip(objectives.T, self.all_limits or (), strict=False)
            if limit is not None
        ]
        return jnp.stack([self.formulation(objectives), *limited, *constraints.T], axis=1)


def worth(
    formulation: Formulation, fitness: Fitness, limits: tuple[float | None, ...] = ()
) -> Float[Array, "n"]:
    """What each candidate is worth under a formulation and limits, less is better.

    A candidate beyond a limit is worth less than all within; NaN of a failed one.
    """
    every = tightest(limits, formulation.limits(fitness.shape[1]))
    column = formulation(fitness)[:, None]
    return infeasible(column, pareto.total_violation(fitness, every))[:, 0]
