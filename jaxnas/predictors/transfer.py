"""A new device from ten measurements: what is known of other devices says most of what is to be said of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxnas.errors import UserError
from jaxnas.predictors.features import FeatureFunction, Features, one_hot
from jaxnas.predictors.predictor import Choices, Latencies, check_latencies
from jaxnas.spaces.space import Space
from jaxnas.types import PRNGKey

REFERENCE = 2000  # networks over which features are brought to one scale


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Basis:
    """What a latency is made of: log latencies on known devices and features of the genome, in standard deviations."""

    space: Space = field(metadata={"static": True})
    features: FeatureFunction = field(metadata={"static": True})
    devices: tuple[Callable[[Any], Float[Array, "n"]], ...]  # pytrees that give ms: fitted predictors, or tables
    mean: Float[Array, "columns"]
    deviation: Float[Array, "columns"]

    @jax.jit
    def __call__(self, genomes: Choices) -> Float[Array, "n columns"]:
        """The devices' columns first."""
        return (_columns(self.devices, self.features, self.space, genomes) - self.mean) / self.deviation


def learn(key: PRNGKey, space: Space, devices: Sequence[Callable[[Any], Float[Array, "n"]]], features: FeatureFunction = one_hot) -> Basis:
    """The basis of known devices, each a function of genomes to ms: an `ensemble.Ensemble` fitted to it, or its table."""
    if not devices:
        raise UserError("transfer needs a known device or more, got none: fit a predictor to one, or learn the new device from scratch")
    reference = _columns(tuple(devices), features, space, space.sample(key, REFERENCE))
    deviation = reference.std(axis=0)
    return Basis(space, features, tuple(devices), reference.mean(axis=0), jnp.where(deviation > 0, deviation, 1.0))


def _columns(devices: tuple, features: FeatureFunction, space: Space, genomes: Choices) -> Features:
    known = jnp.stack([jnp.log(device(genomes)) for device in devices], axis=1)
    return jnp.concatenate([known, features(space, genomes)], axis=1)


@dataclass(frozen=True)
class Transfer:
    """Bayesian linear regression of log latency on a basis (`predictor.Method`), all in standard deviations.

    The new device is first taken to be like the mean of the known ones, then like a mix of them, then to have something of its
    own for every feature: the prior variances of these three and of the noise. Ten measurements say how far to go.
    """

    basis: Basis
    common: float = 1.0
    each: float = 0.1
    own: float = 0.01
    noise: float = 0.1

    def fit(self, key: PRNGKey, space: Space, genomes: Choices, latency_ms: Latencies, used: Bool[np.ndarray, "k n"]) -> "Adapted":
        check_latencies("training", latency_ms)
        x = np.asarray(_weighted(self.basis(genomes), len(self.basis.devices), self._scales()), np.float64)
        y = np.log(np.asarray(latency_ms, np.float64))
        solved = [_regression(x[row], y[row], self.noise) for row in used]
        weights, offsets = (jnp.asarray(np.stack(part), jnp.float32) for part in zip(*solved, strict=True))
        return Adapted(self.basis, jnp.asarray(self._scales()), weights, offsets)

    def _scales(self) -> Float[np.ndarray, "3"]:
        return np.sqrt([self.common, self.each, self.own]).astype(np.float32)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Adapted:
    """Models of a new device, side by side; a pytree."""

    basis: Basis
    scales: Float[Array, "3"]
    weights: Float[Array, "k columns"]
    offsets: Float[Array, "k"]

    @jax.jit
    def predict(self, genomes: Choices) -> Float[Array, "k n"]:
        columns = _weighted(self.basis(genomes), len(self.basis.devices), self.scales)
        return jnp.exp(self.weights @ columns.T + self.offsets[:, None])


def _weighted(basis: Float[Array, "n columns"], devices: int, scales) -> Float[Array, "n more"]:
    """The mean of the known devices, each of them, and the features, each times its prior deviation."""
    known, own = basis[:, :devices], basis[:, devices:]
    return jnp.concatenate([scales[0] * known.mean(axis=1, keepdims=True), scales[1] * known, scales[2] * own], axis=1)


def _regression(x: np.ndarray, y: np.ndarray, noise: float) -> tuple[np.ndarray, float]:
    """Weights and offset of the most probable line; unit prior variances, targets in standard deviations."""
    mean, spread = y.mean(), y.std() or 1.0
    gram = 1 + x @ x.T + noise * np.eye(len(y))  # 1: the offset's own variance
    dual = np.linalg.solve(gram, (y - mean) / spread)
    return spread * (x.T @ dual), mean + spread * dual.sum()
