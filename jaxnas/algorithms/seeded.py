"""Another algorithm, some of whose first candidates are given."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxnas.algorithms.algorithm import Algorithm, AnySpace, Asked, figures_of
from jaxnas.errors import UserError
from jaxnas.plugins import unread
from jaxnas.types import Fitness, Genomes, PRNGKey

DRAW = 0x5EED  # folded into a search's key for the candidates drawn


class State(NamedTuple):
    """The algorithm's own state, what it begins with, and how many generations it was told."""

    own: Any
    given: Genomes
    generation: Int[Array, ""]


@dataclass(frozen=True)
class Seeded:
    """The given genomes stand in the first rows of the first generation.

    As many more as there are places, up to `drawn`, are uniform over the space by the key alone:
    whatever the algorithm, a search with this key begins with them. For algorithms that go by the
    genomes they are told, not by those that they asked for (`begins_as_told`).
    """

    algorithm: Algorithm
    genomes: tuple[tuple[int, ...], ...] = ()
    drawn: int = 0

    def __post_init__(self):
        if len(self.genomes) > self.population:
            raise UserError(
                f"search.population must be at least the {len(self.genomes)} genomes that the "
                f"search begins with, got {self.population}: choose a larger one"
            )

    @property
    def population(self) -> int:
        return self.algorithm.population

    def init(self, key: PRNGKey, space: AnySpace) -> State:
        given = space.sample(jax.random.fold_in(key, DRAW), self.drawn)
        if self.genomes:
            given = jnp.concatenate([jnp.asarray(self.genomes, given.dtype), given])
        return State(self.algorithm.init(key, space), given[: self.population], jnp.int32(0))

    def ask(self, key: PRNGKey, space: AnySpace, state: State) -> Asked:
        asked = self.algorithm.ask(key, space, state.own)
        first = asked.genomes.at[: len(state.given)].set(state.given)
        return Asked(jnp.where(state.generation == 0, first, asked.genomes), asked.parents)

    def tell(self, space: AnySpace, state: State, asked: Asked, fitness: Fitness) -> State:
        own = self.algorithm.tell(space, state.own, asked, fitness)
        return State(own, state.given, state.generation + 1)

    def figures(self, state: State) -> dict[str, Array]:
        return figures_of(self.algorithm, state.own)


def begins_as_told(algorithm: Any) -> bool:
    """Whether it, or the algorithm that it wraps, may begin with given genomes.

    One that may not says so: `leaves_unread("initial")`.
    """
    inner = getattr(algorithm, "algorithm", None)
    return "initial" not in unread(algorithm) and (inner is None or begins_as_told(inner))
