"""What a search believes of candidates: a surrogate of each objective and constraint."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.algorithms.algorithm import AnySpace
from jaxnas.algorithms.pareto import failed
from jaxnas.predictors.copula import Scores, scores, values_of
from jaxnas.predictors.surrogates import Observed, Surrogate
from jaxnas.spaces.encodings import group_scales, grouped
from jaxnas.types import Fitness, Genomes, PRNGKey


@dataclass(frozen=True)
class Belief:
    """Surrogates of the columns of the fitness, which have seen their observations."""

    surrogate: Surrogate
    space: AnySpace
    given: Any  # what `surrogate.given` is, of each column
    scores: Scores  # of each column

    def at(
        self, genomes: Genomes, deviations: Float[Array, "k columns"]
    ) -> Float[Array, "k n columns"]:
        """The figures at so many standard deviations of their scores above the mean; 0: median."""
        group = group_scales(self.space).group
        x = grouped(self.space, genomes)
        mean, deviation = jax.vmap(lambda given: self.surrogate.predicted(group, given, x))(
            self.given
        )
        found = mean + deviations[..., None] * deviation
        return jnp.moveaxis(jax.vmap(values_of, (0, 1), 1)(self.scores, found), 1, -1)

    def samples(
        self, key: PRNGKey, genomes: Genomes, count: int
    ) -> Float[Array, "count n columns"]:
        """What the candidates might be: joint draws of each figure."""
        group = group_scales(self.space).group
        x = grouped(self.space, genomes)
        keys = jax.random.split(key, len(self.scores.rows))
        drawn = jax.vmap(lambda key, given: self.surrogate.sampled(key, group, given, x, count))(
            keys, self.given
        )
        return jnp.moveaxis(jax.vmap(values_of)(self.scores, drawn), 0, -1)


def unfitted(surrogate: Surrogate, space: AnySpace, columns: int) -> Any:
    """The surrogates of all columns before anything is known."""
    one = surrogate.initial(group_scales(space).group)
    return jax.tree.map(lambda leaf: jnp.repeat(leaf[None], columns, axis=0), one)


def fitted(
    key: PRNGKey,
    surrogate: Surrogate,
    space: AnySpace,
    before: Any,
    genomes: Genomes,
    fitness: Fitness,
) -> Any:
    """The surrogates of all columns, fitted to the rows that did not fail."""
    group = group_scales(space).group
    observed, _ = _observed(space, genomes, fitness)
    keys = jax.random.split(key, fitness.shape[1])
    return jax.vmap(
        lambda key, before, y: surrogate.fit(key, group, before, observed._replace(y=y))
    )(keys, before, observed.y)


def believed(
    surrogate: Surrogate, space: AnySpace, fitted: Any, genomes: Genomes, fitness: Fitness
) -> Belief:
    """What the fitted surrogates say, given the rows that did not fail."""
    group = group_scales(space).group
    observed, back = _observed(space, genomes, fitness)
    given = jax.vmap(lambda own, y: surrogate.given(group, own, observed._replace(y=y)))(
        fitted, observed.y
    )
    return Belief(surrogate, space, given, back)


def _observed(space: AnySpace, genomes: Genomes, fitness: Fitness) -> tuple[Observed, Scores]:
    """With the scores of all columns as `y`, (columns, n)."""
    y, back = scored(fitness)
    return Observed(grouped(space, genomes), y, ~failed(fitness)), back


def scored(fitness: Fitness) -> tuple[Float[Array, "columns n"], Scores]:
    """Scores of each column among the rows that did not fail, and the way back."""
    return jax.vmap(scores, (1, None))(fitness, ~failed(fitness))
