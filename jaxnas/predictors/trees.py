"""Gradient-boosted regression trees: fitted by scikit-learn, then arrays that JAX computes with."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxnas.predictors.predictor import (
    Arrays,
    Choices,
    Latencies,
    check_genomes,
    check_training,
    checked,
)
from jaxnas.spaces.encodings import FeatureFunction, Features, columns, gene_features
from jaxnas.spaces.space import Space
from jaxnas.types import PRNGKey


class Splits(NamedTuple):
    """Complete binary trees of one depth; a branch that ends early is repeated to that depth.

    Nodes are in order of depth, from left to right. On the host the arrays are NumPy's.
    """

    feature: Int[Array | np.ndarray, "k trees nodes"]  # that a node asks for
    threshold: Float[Array | np.ndarray, "k trees nodes"]  # a feature above it leads to the right
    value: Float[Array | np.ndarray, "k trees leaves"]  # added to the target
    offset: Float[Array | np.ndarray, "k"]  # the target before the first tree


@dataclass(frozen=True)
class Trees:
    """Boosted trees on log latency (`predictor.Method`)."""

    features: FeatureFunction = gene_features
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
        # Takes a second, which who wants no trees is spared.
        from sklearn.ensemble import GradientBoostingRegressor

        check_training(space, genomes, latency_ms, used)
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
        parts = zip(*map(_splits, forests), strict=True)
        return Forests(space, self.features, Splits(*map(jnp.stack, parts)))

    def from_arrays(self, space: Space, arrays: Arrays, count: int) -> "Forests":
        sides = (count, self.trees)
        nodes = 2**self.depth - 1
        shapes = {"feature": (*sides, nodes), "threshold": (*sides, nodes)}
        shapes |= {"value": (*sides, nodes + 1), "offset": (count,)}
        found = checked(space, arrays, shapes)
        feature = found.pop("feature").astype(jnp.int32)
        if feature.min() < 0 or feature.max() >= columns(space, self.features):
            raise ValueError(f"feature names columns that no genome of {space.name} has")
        return Forests(space, self.features, Splits(feature, **found))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Forests:
    """Fitted trees of several models.

    A pytree, to be passed to a compiled search as an argument.
    """

    space: Space = field(metadata={"static": True})
    features: FeatureFunction = field(metadata={"static": True})
    splits: Splits

    def predict(self, genomes: Choices) -> Float[Array, "k n"]:
        check_genomes(self.space, genomes)
        return self._predicted(genomes)

    @jax.jit
    def _predicted(self, genomes: Choices) -> Float[Array, "k n"]:
        return jnp.exp(sums(self.splits, self.features(self.space, genomes)))

    def arrays(self) -> dict[str, Array]:
        return self.splits._asdict()


def sums(splits: Splits, features: Features) -> Float[Array, "k n"]:
    """What the trees of each model add up to for each row; traceable."""
    trees = jax.vmap(jax.vmap(_tree, (None, 0, 0, 0)), (None, 0, 0, 0))
    *nodes, offset = map(jnp.asarray, splits)
    return trees(features, *nodes).sum(axis=1) + offset[:, None]


def boosted(
    seed: int,
    features: Float[np.ndarray, "n features"],
    target: Float[np.ndarray, "n"],
    weight: Float[np.ndarray, "k n"],
    trees: int,
    depth: int,
) -> Splits:
    """A forest for each row of `weight`, as arrays of NumPy's: called back from traced programs."""
    from sklearn.ensemble import GradientBoostingRegressor

    forests = [
        GradientBoostingRegressor(
            n_estimators=trees, max_depth=depth, subsample=0.5, random_state=(seed + i) % 2**31
        ).fit(features[row > 0], target[row > 0], row[row > 0])
        for i, row in enumerate(weight)
    ]
    return Splits(*map(np.stack, zip(*map(_splits, forests), strict=True)))


def _tree(
    features: Features,
    feature: Int[Array | np.ndarray, "nodes"],
    threshold: Float[Array | np.ndarray, "nodes"],
    value: Float[Array | np.ndarray, "leaves"],
) -> Float[Array, "n"]:
    """The leaf that each genome comes to."""
    place = jnp.zeros(len(features), jnp.int32)
    for level in range((len(value) - 1).bit_length()):
        node = 2**level - 1 + place
        asked = jnp.take_along_axis(features, feature[node][:, None], axis=1)[:, 0]
        place = 2 * place + (asked > threshold[node])
    return value[place]


def _splits(forest: Any) -> Splits:
    """Of one forest of scikit-learn's, without the first axis."""
    trees = [_complete(tree.tree_, forest.max_depth) for tree in forest.estimators_[:, 0]]
    feature, threshold, value = map(np.stack, zip(*trees, strict=True))
    return Splits(
        feature.astype(np.int32),
        _below(threshold),
        (forest.learning_rate * value).astype(np.float32),
        np.array(forest.init_.constant_.item(), np.float32),
    )


def _complete(tree: Any, depth: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The features and thresholds of the nodes of one tree, and the values of its leaves."""
    nodes = np.zeros(1, int)
    features = []
    thresholds = []
    for _ in range(depth):
        inner = tree.children_left[nodes] >= 0  # a leaf has -1
        features.append(np.where(inner, tree.feature[nodes], 0))
        thresholds.append(np.where(inner, tree.threshold[nodes], 0.0))
        sides = (tree.children_left, tree.children_right)
        nodes = np.stack([np.where(inner, side[nodes], nodes) for side in sides], axis=1).ravel()
    return np.concatenate(features), np.concatenate(thresholds), tree.value[nodes, 0, 0]


def _below(threshold: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """The float32 next below: it parts float32 features exactly as the float64 does."""
    rounded = threshold.astype(np.float32)
    return np.where(rounded > threshold, np.nextafter(rounded, np.float32(-np.inf)), rounded)
