"""What every search algorithm is.

A frozen dataclass of settings with init / ask / tell, all pure and jittable.
"""

import math
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxnas.errors import UserError
from jaxnas.spaces.box import Box
from jaxnas.spaces.space import Space
from jaxnas.types import Fitness, Genomes, Parents, PRNGKey

AnySpace = Space | Box
State = Any  # a pytree of fixed shapes, each algorithm's own


class Asked(NamedTuple):
    """Candidates to evaluate, and the archive rows that they descend from, for candidates.npz.

    Rows are in order of evaluation, from 0.
    """

    genomes: Genomes
    parents: Parents


@runtime_checkable
class Algorithm(Protocol):
    """`population` candidates are asked for, evaluated and told, generation after generation.

    The settings are the dataclass itself, so equal settings share one compiled program; a user sets
    its fields after its name (settings.py). Nothing in here sees a network: fitness is an array,
    smaller is better, NaN means that the evaluation failed.

    It may say of itself how it is doing: `figures_of`.
    """

    @property
    def population(self) -> int: ...

    def init(self, key: PRNGKey, space: AnySpace) -> State: ...

    def ask(self, key: PRNGKey, space: AnySpace, state: State) -> Asked: ...

    def tell(self, space: AnySpace, state: State, asked: Asked, fitness: Fitness) -> State: ...


def figures_of(algorithm: Any, state: State) -> dict[str, Array]:
    """What an algorithm says of itself after `tell`, by name; nothing where it says nothing.

    A method `figures(state)` of its own, pure, jittable and of fixed shapes. A single number, such
    as the mean reward of a batch, becomes a curve of the report. `predicted`, (population,
    objectives), are the figures that it expected of the candidates it was told of, NaN where it
    expected none.
    """
    own = getattr(algorithm, "figures", None)
    return {} if own is None else own(state)


def unevaluated(
    key: PRNGKey, space: AnySpace, n: int, objectives: int
) -> tuple[Genomes, Fitness, Int[Array, "n"]]:
    """Members to begin with: uniform over the space, without a fitness or a row of the archive."""
    return (
        space.sample(key, n),
        jnp.full((n, objectives), jnp.nan, jnp.float32),
        jnp.full(n, -1, jnp.int32),
    )


def initial_or_children(state: Any, children: Asked) -> Asked:
    """The members that a state began with, which have no parents; after that the children."""
    initial = Asked(state.genomes, jnp.full_like(children.parents, -1))
    return jax.tree.map(partial(jnp.where, state.generation == 0), initial, children)


def with_members(
    state: Any, asked: Asked, fitness: Float[Array, "candidates objectives"]
) -> tuple[Genomes, Fitness, Int[Array, "n"]]:
    """Candidates and the members that they compete with, and their rows of the archive.

    The newer come first and win ties, so that the initial population takes the place of its
    unevaluated self.
    """
    rows = state.evaluated + jnp.arange(len(fitness), dtype=jnp.int32)
    return (
        jnp.concatenate([asked.genomes, state.genomes]),
        jnp.concatenate([fitness.astype(jnp.float32), state.fitness]),
        jnp.concatenate([rows, state.rows]),
    )


def check_sizes(population: int, objectives: int = 1) -> None:
    """What every algorithm asks of its settings."""
    if population < 2:
        raise UserError(f"population must be at least 2, got {population}; set a larger one")
    if objectives < 1:
        raise UserError(
            f"objectives must be at least 1, got {objectives}; set the number of fitness columns"
        )


def check_limits(limits: tuple[float | None, ...], objectives: int) -> None:
    """Limits are a finite number or None for each objective, or nothing."""
    if limits and not (
        len(limits) == objectives and all(limit is None or math.isfinite(limit) for limit in limits)
    ):
        raise UserError(
            f"limits must be a finite number or None for each of {objectives} objectives, or none "
            f"at all, got {limits}"
        )


def check_fitness(algorithm: Any, fitness: Fitness) -> None:
    """A generation's fitness has a row per candidate.

    It has as many columns as the algorithm has `objectives`.
    """
    expected = algorithm.population, algorithm.objectives
    if fitness.shape != expected:
        name = type(algorithm).__name__
        raise UserError(
            f"fitness must have shape {expected}, got {fitness.shape}; set objectives of {name} to "
            "its columns"
        )
