"""Gradient-boosted regression trees (scikit-learn's): strong on tables, but no JAX.

They cannot be traced, so they serve the search loop, not `search.compiled`.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from sklearn.ensemble import GradientBoostingRegressor

from jaxnas.predictors.predictor import Choices, Latencies, check_latencies
from jaxnas.spaces.encodings import FeatureFunction, gene_values
from jaxnas.spaces.space import Space
from jaxnas.types import PRNGKey


@dataclass(frozen=True)
class Trees:
    """Boosted trees on log latency (`predictor.Method`)."""

    features: FeatureFunction = gene_values
    trees: int = 300
    depth: int = 4
    learning_rate: float = 0.05
    subsample: float = 0.5
    """Share of the networks that each tree sees."""

    def fit(
        self,
        key: PRNGKey,
        space: Space,
        genomes: Choices,
        latency_ms: Latencies,
        used: Bool[np.ndarray, "k n"],
    ) -> "Forests":
        check_latencies("training", latency_ms)
        features = np.asarray(self.features(space, genomes))
        target = np.log(np.asarray(latency_ms, np.float64))
        seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
        settings = {
            "n_estimators": self.trees,
            "max_depth": self.depth,
            "learning_rate": self.learning_rate,
            "subsample": self.subsample,
        }
        forests = [
            GradientBoostingRegressor(**settings, random_state=seed).fit(features[row], target[row])
            for row in used
        ]
        return Forests(space, self.features, tuple(forests))


@dataclass(frozen=True)
class Forests:
    """Fitted trees of several models; host side."""

    space: Space
    features: FeatureFunction
    forests: tuple[GradientBoostingRegressor, ...]

    def predict(self, genomes: Choices) -> Float[Array, "k n"]:
        features = np.asarray(self.features(self.space, genomes))
        return jnp.asarray(
            np.exp([forest.predict(features) for forest in self.forests]), jnp.float32
        )
