"""Random search: the algorithm that every other one has to beat."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxnas.algorithms.algorithm import AnySpace, Asked, check_sizes
from jaxnas.types import Fitness, PRNGKey


@dataclass(frozen=True)
class RandomSearch:
    """Draws every candidate uniformly, each gene over its choices and independently.

    Learns nothing from the fitness.

    Candidates have no parents and may repeat. The state is the number of evaluations so far.
    """

    population: int = 28
    """Candidates per generation, at least 2."""

    def __post_init__(self):
        check_sizes(self.population)

    def init(self, key: PRNGKey, space: AnySpace) -> Int[Array, ""]:
        return jnp.int32(0)

    def ask(self, key: PRNGKey, space: AnySpace, state: Int[Array, ""]) -> Asked:
        return Asked(
            space.sample(key, self.population), jnp.full((self.population, 2), -1, jnp.int32)
        )

    def tell(
        self, space: AnySpace, state: Int[Array, ""], asked: Asked, fitness: Fitness
    ) -> Int[Array, ""]:
        return state + self.population
