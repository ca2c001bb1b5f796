"""Islands: populations that evolve apart and now and then send their best to a neighbour.

Cohoon et al. 1987.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxnas.algorithms import nsga2
from jaxnas.algorithms.algorithm import AnySpace, Asked
from jaxnas.algorithms.nsga2 import NSGA2
from jaxnas.errors import UserError
from jaxnas.types import Fitness, PRNGKey


@dataclass(frozen=True)
class Islands:
    """`count` populations of NSGA-II on a ring.

    A generation evaluates all of them: `count` times the algorithm's population.

    Every `every` generations the best `migrants` members of each island (by rank, then crowding)
    take the places of the worst of the next island, whether they are better or not.
    """

    algorithm: NSGA2
    count: int = 4
    every: int = 10
    migrants: int = 2

    def __post_init__(self):
        if self.count < 2 or self.every < 1 or not 1 <= self.migrants < self.algorithm.population:
            raise UserError(
                "islands need count of at least 2, every of at least 1 and migrants below the "
                f"population {self.algorithm.population}, got {self.count}, {self.every} and "
                f"{self.migrants}"
            )

    @property
    def population(self) -> int:
        return self.count * self.algorithm.population

    def init(self, key: PRNGKey, space: AnySpace) -> nsga2.State:
        return jax.vmap(lambda key: self.algorithm.init(key, space))(
            jax.random.split(key, self.count)
        )

    def ask(self, key: PRNGKey, space: AnySpace, state: nsga2.State) -> Asked:
        asked = jax.vmap(lambda key, state: self.algorithm.ask(key, space, state))(
            jax.random.split(key, self.count), state
        )
        return Asked(*(array.reshape(self.population, -1) for array in asked))

    def tell(
        self, space: AnySpace, state: nsga2.State, asked: Asked, fitness: Fitness
    ) -> nsga2.State:
        def per_island(array):
            return array.reshape(self.count, -1, array.shape[-1])

        # Rows count through all islands: each begins where its candidates stand in the archive.
        first = state.generation[0] * self.population + self._offsets
        told = jax.vmap(
            lambda state, asked, fitness: self.algorithm.tell(space, state, asked, fitness)
        )(state._replace(evaluated=first), Asked(*map(per_island, asked)), per_island(fitness))
        migrates = told.generation[0] % self.every == 0
        return jax.tree.map(
            lambda new, old: jnp.where(migrates, new, old), self._migrated(told), told
        )

    @property
    def _offsets(self) -> Int[Array, "islands"]:
        return jnp.arange(self.count, dtype=jnp.int32) * self.algorithm.population

    def _migrated(self, state: nsga2.State) -> nsga2.State:
        """The best of each island in the places of the worst of the next, everybody ranked anew."""

        def settled(members):
            return jnp.concatenate(
                [members[:, : -self.migrants], jnp.roll(members[:, : self.migrants], 1, axis=0)],
                axis=1,
            )

        genomes, fitness, rows = map(settled, (state.genomes, state.fitness, state.rows))
        rank, crowding, order = jax.vmap(self.algorithm.selected)(fitness)
        arrays = jax.vmap(lambda arrays, order: [array[order] for array in arrays])(
            (genomes, fitness, rows, rank, crowding), order
        )
        return state._replace(
            **dict(zip(("genomes", "fitness", "rows", "rank", "crowding"), arrays, strict=True))
        )
