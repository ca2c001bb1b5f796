"""A new device from ten measurements.

What is known of other devices says most of what is to be said of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxnas.errors import UserError
from jaxnas.predictors.predictor import (
    Arrays,
    Choices,
    Latencies,
    check_count,
    check_genomes,
    check_latencies,
    checked,
)
from jaxnas.spaces.encodings import FeatureFunction, Features, one_hot
from jaxnas.spaces.space import Space
from jaxnas.types import PRNGKey

REFERENCE = 2000  # networks over which features are brought to one scale


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Basis:
    """What a latency is made of.

    Log latencies on known devices and features of the genome, in standard deviations.
    """

    space: Space = field(metadata={"static": True})
    features: FeatureFunction = field(metadata={"static": True})
    # Pytrees that give ms: fitted predictors, or tables.
    devices: tuple[Callable[[Any], Float[Array, "n"]], ...]
    mean: Float[Array, "columns"]
    deviation: Float[Array, "columns"]

    @jax.jit
    def __call__(self, genomes: Choices) -> Float[Array, "n columns"]:
        """The devices' columns first."""
        return (
            _columns(self.devices, self.features, self.space, genomes) - self.mean
        ) / self.deviation


def learn(
    key: PRNGKey,
    space: Space,
    devices: Sequence[Callable[[Any], Float[Array, "n"]]],
    features: FeatureFunction = one_hot,
) -> Basis:
    """The basis of known devices, each a function of genomes to ms.

    An `ensemble.Ensemble` fitted to it, or its table.
    """
    if not devices:
        raise UserError(
            "transfer needs a known device or more, got none: fit a predictor to one, or learn the "
            "new device from scratch"
        )
    reference = _columns(tuple(devices), features, space, space.sample(key, REFERENCE))
    deviation = reference.std(axis=0)
    return Basis(
        space,
        features,
        tuple(devices),
        reference.mean(axis=0),
        jnp.where(deviation > 0, deviation, 1.0),
    )


def _columns(devices: tuple, features: FeatureFunction, space: Space, genomes: Choices) -> Features:
    known = jnp.stack([jnp.log(device(genomes)) for device in devices], axis=1)
    return jnp.concatenate([known, features(space, genomes)], axis=1)


class Hypothesis(NamedTuple):
    """Prior variances of log latency in standard deviations.

    And how much the hypothesis counts before anything is measured.
    """

    common: float
    each: float
    own: float
    noise: float
    weight: float


@dataclass(frozen=True)
class Transfer:
    """Bayesian linear regression of log latency on a basis (`predictor.Method`).

    All in standard deviations.

    The new device is first taken to be like the mean of the known ones, then like a mix of them,
    then to have something of its own for every feature. The prior variances of these three, and of
    the noise, are not known: predictions are averaged over all combinations, each weighted by its
    marginal likelihood, the probability that it gives the measurements. Before, noise is taken to
    be likely, and a device that is no more than the mean of the known ones more likely than any
    other. So a noisy device is predicted as if it had not been measured, and no worse.
    """

    basis: Basis
    common: float = 1.0
    each: tuple[float, ...] = (0.0, 0.01, 0.1)
    own: tuple[float, ...] = (0.0, 0.001, 0.01, 0.03)
    noise: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0)

    def fit(
        self,
        key: PRNGKey,
        space: Space,
        genomes: Choices,
        latency_ms: Latencies,
        used: Bool[np.ndarray, "k n"],
    ) -> "Adapted":
        check_genomes(space, genomes)
        check_latencies("training", latency_ms)
        check_count(genomes, latency_ms)
        devices = len(self.basis.devices)
        columns = np.asarray(_columns_of_prior(self.basis(genomes), devices), np.float64)
        y = np.log(np.asarray(latency_ms, np.float64))
        averaged = [self._averaged(columns[row], devices, y[row]) for row in used]
        weights, offsets = (
            jnp.asarray(np.stack(part), jnp.float32) for part in zip(*averaged, strict=True)
        )
        return Adapted(self.basis, weights, offsets)

    def from_arrays(self, space: Space, arrays: Arrays, count: int) -> "Adapted":
        """Of the same basis, which is no part of the arrays."""
        columns = len(self.basis.mean) + 1
        found = checked(space, arrays, {"weights": (count, columns), "offsets": (count,)})
        return Adapted(self.basis, found["weights"], found["offsets"])

    def hypotheses(self) -> list[Hypothesis]:
        """All combinations, with weights chosen on devices that were measured to choose them.

        See experiments/few_shot.py.
        """
        return [
            Hypothesis(self.common, each, own, noise, np.sqrt(noise) * _caution(each, own))
            for each, own, noise in product(self.each, self.own, self.noise)
        ]

    def _averaged(
        self, columns: np.ndarray, devices: int, y: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """Weights of the columns and an offset: the mean over hypotheses."""
        found = []
        evidence = []
        for one in self.hypotheses():
            scales = _scales(one, devices, columns.shape[1])
            x = columns * scales
            weights, offset = _regression(x, y, one.noise)
            found.append(np.append(scales * weights, offset))
            evidence.append(np.log(one.weight) + _log_evidence(x, y, one.noise))
        share = np.exp(np.array(evidence) - max(evidence))
        mean = share @ np.array(found) / share.sum()
        return mean[:-1], float(mean[-1])


def _caution(each: float, own: float) -> float:
    """How much more likely than others one hypothesis is.

    By it a device is no more than the known ones' mean, or little more.
    """
    if each == own == 0:
        return 30.0
    return 3.0 if each <= 0.01 and own <= 0.001 else 1.0


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Adapted:
    """Models of a new device, side by side; a pytree."""

    basis: Basis
    weights: Float[Array, "k columns"]
    offsets: Float[Array, "k"]

    def predict(self, genomes: Choices) -> Float[Array, "k n"]:
        check_genomes(self.basis.space, genomes)
        return self._predicted(genomes)

    @jax.jit
    def _predicted(self, genomes: Choices) -> Float[Array, "k n"]:
        columns = _columns_of_prior(self.basis(genomes), len(self.basis.devices))
        return jnp.exp(self.weights @ columns.T + self.offsets[:, None])

    def arrays(self) -> dict[str, Array]:
        return {"weights": self.weights, "offsets": self.offsets}


def _columns_of_prior(basis: Float[Array, "n columns"], devices: int) -> Float[Array, "n more"]:
    """The mean of the known devices, each of them, and the features."""
    return jnp.concatenate([basis[:, :devices].mean(axis=1, keepdims=True), basis], axis=1)


def _scales(one: Hypothesis, devices: int, columns: int) -> Float[np.ndarray, "more"]:
    """The prior deviation of every column's weight."""
    return np.sqrt([one.common] + [one.each] * devices + [one.own] * (columns - devices - 1))


def _regression(x: np.ndarray, y: np.ndarray, noise: float) -> tuple[np.ndarray, float]:
    """Weights and offset of the most probable line.

    Unit prior variances, targets in standard deviations.
    """
    mean = y.mean()
    spread = y.std() or 1.0
    dual = np.linalg.solve(_gram(x, noise), (y - mean) / spread)
    return spread * (x.T @ dual), mean + spread * dual.sum()


def _log_evidence(x: np.ndarray, y: np.ndarray, noise: float) -> float:
    """The log of the probability density of the targets, but for a constant.

    Rasmussen & Williams 2006, equation 2.30.
    """
    target = (y - y.mean()) / (y.std() or 1.0)
    gram = _gram(x, noise)
    return float(-0.5 * np.linalg.slogdet(gram)[1] - 0.5 * target @ np.linalg.solve(gram, target))


def _gram(x: np.ndarray, noise: float) -> np.ndarray:
    """Covariance of the targets; 1 is the offset's own variance."""
    return 1 + x @ x.T + noise * np.eye(len(x))
