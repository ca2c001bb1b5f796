"""Another algorithm, some of whose first candidates are given."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxnas.algorithms.algorithm import Algorithm, AnySpace, Asked
from jaxnas.errors import UserError
from jaxnas.types import Fitness, PRNGKey


class State(NamedTuple):
    """The algorithm's own state, and how many generations it was told."""

    own: Any
    generation: Int[Array, ""]


@dataclass(frozen=True)
class Seeded:
    """The given genomes stand in the first rows of the first generation.

    For algorithms that go by the genomes they are told, not by those that they asked for.
    """

    algorithm: Algorithm
    genomes: tuple[tuple[int, ...], ...]

    def __post_init__(self):
        if len(self.genomes) > self.population:
            raise UserError(
                f"search.population must be at least the {len(self.genomes)} networks that the "
                f"training has derived, got {self.population}: choose a larger one"
            )

    @property
    def population(self) -> int:
        return self.algorithm.population

    def init(self, key: PRNGKey, space: AnySpace) -> State:
        return State(self.algorithm.init(key, space), jnp.int32(0))

    def ask(self, key: PRNGKey, space: AnySpace, state: State) -> Asked:
        asked = self.algorithm.ask(key, space, state.own)
        given = jnp.asarray(self.genomes, asked.genomes.dtype)
        first = asked.genomes.at[: len(given)].set(given)
        return Asked(jnp.where(state.generation == 0, first, asked.genomes), asked.parents)

    def tell(self, space: AnySpace, state: State, asked: Asked, fitness: Fitness) -> State:
        own = self.algorithm.tell(space, state.own, asked, fitness)
        return State(own, state.generation + 1)
