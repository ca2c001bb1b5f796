"""Inequality constraints for every algorithm, by Deb's order of candidates."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.algorithms import pareto
from jaxnas.algorithms.algorithm import Algorithm, AnySpace, Asked, check_limits, figures_of
from jaxnas.algorithms.algorithm import State as Own
from jaxnas.errors import UserError
from jaxnas.types import Fitness, PRNGKey

INFEASIBLE = 2.0**100  # figures from here on say that a candidate breaks a constraint
LEAST, MOST = 2.0**-20, 1e8  # violations are told apart between these


@dataclass(frozen=True)
class Constrained:
    """Another algorithm, told which candidates break constraints, and by how much.

    The fitness has a column for each constraint after the objectives; a candidate is feasible where
    each is at most its bound. The algorithm is told Deb's order (2000): a feasible candidate is
    better than an infeasible one, of two infeasible ones the one that violates less in all is
    better. Violations count as `pareto.total_violation` has them, those of the algorithm's own
    `limits` among them.

    Feasible candidates are told as they are. All objectives of an infeasible one become
    `INFEASIBLE` and more, by its violation, so that any algorithm that goes by dominance or by the
    value knows the order. One that has `limits` is given INFEASIBLE as the limit of each objective:
    it does then as it does under limits, and its scales leave infeasible candidates out. One that
    models constraints itself, which has a field `constraints`, is given their violations as columns
    after the objectives, feasible from 0 down.
    """

    algorithm: Algorithm
    bounds: tuple[float, ...] = (0.0,)
    """The most that each constraint may be."""

    def __post_init__(self):
        check_limits(self.bounds, len(self.bounds))

    @cached_property
    def inner(self) -> Any:
        """The algorithm with what it is given of the constraints."""
        algorithm: Any = self.algorithm
        own = getattr(algorithm, "__dataclass_fields__", {})
        if "constraints" in own:
            return replace(algorithm, constraints=len(self.bounds))
        if "limits" not in own:
            return algorithm
        return replace(algorithm, limits=(INFEASIBLE,) * algorithm.objectives)

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
        """What the algorithm is told of candidates, with and without its own constraints."""
        count = fitness.shape[1] - len(self.bounds)
        if count < 1:
            raise UserError(
                f"fitness must have {len(self.bounds)} columns of constraints after the "
                f"objectives, got {fitness.shape[1]} in all: add them"
            )
        fitness = fitness.astype(jnp.float32)
        objectives, constraints = jnp.split(fitness, [count], axis=1)
        if hasattr(self.inner, "constraints"):
            scale = jnp.asarray([abs(bound) or 1.0 for bound in self.bounds], jnp.float32)
            beyond = (constraints - jnp.asarray(self.bounds, jnp.float32)) / scale
            return jnp.concatenate([objectives, beyond], axis=1)
        limits = getattr(self.algorithm, "limits", ())
        violation = pareto.total_violation(objectives, limits)
        violation += pareto.total_violation(constraints, self.bounds)
        return jnp.where(
            pareto.failed(fitness)[:, None], jnp.nan, infeasible(objectives, violation)
        )


def infeasible(objectives: Fitness, violation: Float[Array, "n"]) -> Fitness:
    """The objectives of the feasible rows, violation 0; `INFEASIBLE` and more of the others."""
    # An algorithm that has limits adds up what all columns are beyond INFEASIBLE.
    each = jnp.clip(violation / objectives.shape[1], LEAST, MOST)
    return jnp.where((violation > 0)[:, None], (INFEASIBLE * (1 + each))[:, None], objectives)
