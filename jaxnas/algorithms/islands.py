"""Islands: populations that evolve apart and now and then send their best to a neighbour.

Cohoon et al. 1987.
"""

from dataclasses import dataclass, field
from functools import cached_property

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxnas.algorithms import nsga2
from jaxnas.algorithms.algorithm import AnySpace, Asked, check_fitness, check_limits, check_sizes
from jaxnas.algorithms.nsga2 import NSGA2
from jaxnas.algorithms.variation import Discrete, Variation
from jaxnas.errors import UserError
from jaxnas.types import Fitness, PRNGKey


@dataclass(frozen=True)
class Islands:
    """`count` populations of NSGA-II on a ring; a generation evaluates all of them.

    Every `every` generations the best `migrants` members of each island (by rank, then crowding)
    take the places of the worst of the next island, whether they are better or not.
    """

    population: int = 28
    """Members of all islands, and candidates per generation: as many on each, and more than
    migrate."""
    variation: Variation = field(default_factory=Discrete)
    """Crossover and mutation: `Discrete` of choices, `Real` of a `Box`."""
    objectives: int = 2
    """Columns of the fitness."""
    limits: tuple[float | None, ...] = ()
    """The most that each objective may be; None, or nothing at all, sets no limit."""
    avoid_duplicates: bool = True
    """Of those that the same island has evaluated."""
    count: int = 4
    """Islands, at least 2."""
    every: int = 10
    """Generations from one migration to the next."""
    migrants: int = 2
    """Members of each island that migrate."""

    def __post_init__(self):
        check_sizes(self.population, self.objectives)
        check_limits(self.limits, self.objectives)
        if self.count < 2 or self.every < 1 or self.migrants < 1:
            raise UserError(
                "islands need count of at least 2, every of at least 1 and migrants of at least 1, "
                f"got {self.count}, {self.every} and {self.migrants}"
            )
        least = self.count * (self.migrants + 1)
        below = max(self.population // self.count * self.count, least)
        if self.population != below:
            nearest = f"{below} and {below + self.count}" if below < self.population else f"{below}"
            raise UserError(
                f"population must be a multiple of {self.count} from {least} on for the islands, "
                f"got {self.population}: the nearest are {nearest}"
            )

    @cached_property
    def island(self) -> NSGA2:
        """The search on each of them."""
        return NSGA2(
            self.population // self.count,
            self.variation,
            self.objectives,
            self.limits,
            self.avoid_duplicates,
        )

    def init(self, key: PRNGKey, space: AnySpace) -> nsga2.State:
        return jax.vmap(lambda key: self.island.init(key, space))(jax.random.split(key, self.count))

    def ask(self, key: PRNGKey, space: AnySpace, state: nsga2.State) -> Asked:
        asked = jax.vmap(lambda key, state: self.island.ask(key, space, state))(
            jax.random.split(key, self.count), state
        )
        return Asked(*(array.reshape(self.population, -1) for array in asked))

    def tell(
        self, space: AnySpace, state: nsga2.State, asked: Asked, fitness: Fitness
    ) -> nsga2.State:
        check_fitness(self, fitness)

        def per_island(array):
            return array.reshape(self.count, -1, array.shape[-1])

        # Rows count through all islands: each begins where its candidates stand in the archive.
        first = state.generation[0] * self.population + self._offsets
        told = jax.vmap(
            lambda state, asked, fitness: self.island.tell(space, state, asked, fitness)
        )(state._replace(evaluated=first), Asked(*map(per_island, asked)), per_island(fitness))
        migrates = told.generation[0] % self.every == 0
        return jax.tree.map(
            lambda new, old: jnp.where(migrates, new, old), self._migrated(told), told
        )

    @property
    def _offsets(self) -> Int[Array, "islands"]:
        return jnp.arange(self.count, dtype=jnp.int32) * self.island.population

    def _migrated(self, state: nsga2.State) -> nsga2.State:
        """The best of each island in the places of the worst of the next, everybody ranked anew."""

        def settled(members):
            return jnp.concatenate(
                [members[:, : -self.migrants], jnp.roll(members[:, : self.migrants], 1, axis=0)],
                axis=1,
            )

        genomes, fitness, rows = map(settled, (state.genomes, state.fitness, state.rows))
        rank, crowding, order = jax.vmap(self.island.selected)(fitness)
        arrays = jax.vmap(lambda arrays, order: [array[order] for array in arrays])(
            (genomes, fitness, rows, rank, crowding), order
        )
        return state._replace(
            **dict(zip(("genomes", "fitness", "rows", "rank", "crowding"), arrays, strict=True))
        )
