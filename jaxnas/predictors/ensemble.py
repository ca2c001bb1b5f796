"""Models that check one another: each learns without one part of the networks, and its errors there say what the intervals must be."""

import math
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnas.errors import UserError
from jaxnas.predictors.mlp import MLP
from jaxnas.predictors.predictor import Choices, Latencies, Members, Method, Prediction, check_latencies
from jaxnas.spaces.space import Space
from jaxnas.types import PRNGKey

PAD = 256  # measured networks are padded to more than their number: growing sets share a few compiled programs


@dataclass(frozen=True)
class Ensemble:
    """A predictor with calibrated intervals (`predictor.Predictor`) of any method.

    The prediction is the geometric mean of the members'. The interval is CV+ on log latency (Barber et al., Predictive inference
    with the jackknife+, Annals of Statistics 2021, section 3): for every measured network, what the member that did not see it
    says of the new one, give or take what it was off; of all these the finite-sample quantile. Its guarantee, 1 - 2 alpha, is
    below the nominal coverage that it has in practice, 1 - alpha. It holds for networks drawn as the measured ones are.
    """

    method: Method = field(default_factory=MLP)
    folds: int = 10
    """Members, or as many as there are networks if there are fewer; 2 at least."""
    coverage: float = 0.9
    """Share of fresh measurements that are to fall into their intervals."""

    def __post_init__(self):
        if self.folds < 2 or not 0 < self.coverage < 1:
            raise UserError(f"an ensemble needs 2 folds or more and a coverage between 0 and 1, got {self.folds} and {self.coverage}")

    def fit(self, key: PRNGKey, space: Space, genomes: Choices, latency_ms: Latencies) -> "Calibrated":
        """Raises a `UserError` for fewer than two networks, or latencies that are not finite and above 0."""
        check_latencies("training", latency_ms)
        n = len(latency_ms)
        if n < 2:
            raise UserError(f"an ensemble learns from 2 measured networks or more, got {n}: measure more")
        fold_key, fit_key = jax.random.split(key)
        fold = np.asarray(jax.random.permutation(fold_key, n)) % min(self.folds, n)
        used = fold[None] != np.arange(min(self.folds, n))[:, None]
        members = self.method.fit(fit_key, space, genomes, latency_ms, used)
        padding = PAD - n % PAD  # one at least: the infinite residual that few networks need
        every = np.pad(np.asarray(genomes), ((0, padding), (0, 0)))  # of few shapes, for few compiled programs
        unseen = np.asarray(members.predict(every))[fold, np.arange(n)]
        residual = np.log(unseen) - np.log(np.asarray(latency_ms))
        padded = np.pad(residual, (0, padding), constant_values=np.inf).astype(np.float32)
        place = math.ceil(self.coverage * (n + 1) - 1e-9) - 1
        return Calibrated(members, jnp.asarray(np.pad(fold, (0, padding)), jnp.int32), jnp.asarray(padded), jnp.int32(n), jnp.int32(place))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Calibrated:
    """A fitted ensemble; a pytree where its method's members are one. Shapes change only with every 256th network that it learns from."""

    members: Members
    fold: Int[Array, "p"]  # the member that has not seen each measured network; padded
    residual: Float[Array, "p"]  # log of its prediction over the measurement; infinite where padded
    count: Int[Array, ""]  # measured networks
    place: Int[Array, ""]  # of the quantile among the sorted bounds

    def __call__(self, genomes: Choices) -> Float[Array, "n"]:
        return jnp.exp(jnp.log(self.members.predict(genomes)).mean(axis=0))

    def predict(self, genomes: Choices) -> Prediction:
        each = jnp.log(self.members.predict(genomes))
        mean, unseen, off = each.mean(axis=0), each[self.fold], jnp.abs(self.residual)[:, None]
        high = jnp.sort(unseen + off, axis=0)[self.place]
        low = -jnp.sort(off - unseen, axis=0)[self.place]
        return Prediction(jnp.exp(mean), jnp.exp(jnp.minimum(low, mean)), jnp.exp(jnp.maximum(high, mean)))

    def disagreement(self, genomes: Choices) -> Float[Array, "n"]:
        """Standard deviation of the members' log latencies: where it is large, a measurement tells most."""
        return jnp.log(self.members.predict(genomes)).std(axis=0)

    def errors(self) -> Float[np.ndarray, "n"]:
        """How far off the member that had not seen it was on each measured network, as a share of the measurement."""
        return np.abs(np.expm1(np.asarray(self.residual)[: int(self.count)]))


def interval_factor(measured_ms: Latencies, predicted_ms: Latencies, coverage: float = 0.9) -> float:
    """Split conformal: a fresh measurement is between the prediction over this factor and times it, with probability `coverage`.

    From networks that the predictor has not learnt from; infinite if they are fewer than the coverage needs (9 for 0.9).

    >>> round(interval_factor(np.array([1.0, 2.0, 3.0]), np.array([1.1, 2.0, 3.0]), 0.75), 6)
    1.1
    """
    ratios = np.sort(np.abs(np.log(np.asarray(predicted_ms, np.float64) / np.asarray(measured_ms, np.float64))))
    place = math.ceil(coverage * (len(ratios) + 1) - 1e-9) - 1
    return float(np.exp(ratios[place])) if place < len(ratios) else math.inf
