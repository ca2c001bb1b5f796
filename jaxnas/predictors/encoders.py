"""What reads an encoding of a genome and makes a vector of it, the first half of a `Network`."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnas.predictors.predictor import Choices
from jaxnas.spaces.box import Box
from jaxnas.spaces.encodings import FeatureFunction, gene_features, over_the_space
from jaxnas.spaces.space import Space
from jaxnas.types import Genomes, PRNGKey

Weights = dict[str, Array]


@runtime_checkable
class Encoder(Protocol):
    """A frozen dataclass, its own settings: `Flat`, `GraphConvolution`, `LSTM`, `Joined`."""

    def features(self, space: Space, genomes: Choices) -> Any:
        """A pytree of float32 arrays (n, ...), each column standardised over the space; pure."""
        ...

    def fresh(self, key: PRNGKey, features: Any) -> Weights:
        """Weights for features of these shapes."""
        ...

    def encode(self, weights: Weights, features: Any) -> Float[Array, "n width"]: ...


@dataclass(frozen=True)
class Flat:
    """Features as they are, without weights: what follows is a perceptron of them."""

    encoding: FeatureFunction = gene_features

    def features(self, space: Space, genomes: Choices) -> Float[Array, "n features"]:
        return standardised(self.encoding, space, genomes)

    def fresh(self, key: PRNGKey, features: Any) -> Weights:
        return {}

    def encode(self, weights: Weights, features: Any) -> Float[Array, "n width"]:
        return features


@dataclass(frozen=True)
class Joined:
    """Several encoders side by side; LSTM + GCN + AF is HW-PR-NAS's."""

    encoders: tuple[Encoder, ...]

    def features(self, space: Space, genomes: Choices) -> tuple[Any, ...]:
        return tuple(one.features(space, genomes) for one in self.encoders)

    def fresh(self, key: PRNGKey, features: Any) -> Weights:
        keys = jax.random.split(key, len(self.encoders))
        parts = zip(self.encoders, keys, features, strict=True)
        return joined(tuple(one.fresh(key, own) for one, key, own in parts))

    def encode(self, weights: Weights, features: Any) -> Float[Array, "n width"]:
        found = [
            one.encode(part_of(weights, i), own)
            for i, (one, own) in enumerate(zip(self.encoders, features, strict=True))
        ]
        return jnp.concatenate(found, axis=-1)


def joined(parts: tuple[Weights, ...]) -> Weights:
    """Weights of several under one roof: those of number i begin with "i."."""
    return {f"{i}.{name}": array for i, part in enumerate(parts) for name, array in part.items()}


def part_of(weights: Weights, i: int) -> Weights:
    """Those of number i."""
    start = f"{i}."
    return {name[len(start) :]: x for name, x in weights.items() if name.startswith(start)}


def dense(key: PRNGKey, inputs: int, outputs: int) -> Float[Array, "inputs outputs"]:
    """Fresh weights of a linear layer (Glorot & Bengio 2010)."""
    return jax.nn.initializers.glorot_normal()(key, (inputs, outputs), jnp.float32)


def standardised(
    encoding: Callable[[Any, Any], Array], space: Space | Box, genomes: Genomes | np.ndarray
) -> Float[Array, "n *columns"]:
    """An encoding with mean 0 and deviation 1 of each column over the networks of the space.

    Columns are along the last axis. One that never changes is 0.
    """
    mean, deviation = _scales(encoding, space)
    return (encoding(space, jnp.asarray(genomes)) - mean) / deviation


@cache
def _scales(
    encoding: Callable[[Any, Any], Array], space: Space | Box
) -> tuple[Float[np.ndarray, "columns"], Float[np.ndarray, "columns"]]:
    found = over_the_space(encoding, space)
    rows = np.asarray(found, np.float64).reshape(-1, found.shape[-1])
    deviation = rows.std(axis=0)
    varies = deviation > 1e-6 * np.abs(rows).max(axis=0)
    scale = np.where(varies, deviation, 1.0)
    return rows.mean(axis=0).astype(np.float32), scale.astype(np.float32)
