"""The latency predictor: a perceptron from gene values to milliseconds (31-32-16-1 for 31 genes)."""

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from jaxnas.errors import UserError
from jaxnas.predictors.features import Features, standardisation
from jaxnas.types import PRNGKey

HIDDEN = (32, 16)


class LatencyMLP(NamedTuple):
    """A trained predictor: the weights (y = x @ w + b), and what standardises gene values and the logarithm of latency."""

    w0: Float[Array, "genes 32"]
    b0: Float[Array, "32"]
    w1: Float[Array, "32 16"]
    b1: Float[Array, "16"]
    w2: Float[Array, "16 1"]
    b2: Float[Array, "1"]
    input_mean: Float[Array, "genes"]
    input_deviation: Float[Array, "genes"]
    target_mean: Float[Array, ""]
    target_deviation: Float[Array, ""]


WEIGHTS = LatencyMLP._fields[:6]


def predict(model: LatencyMLP, features: Float[Array, "n genes"]) -> Float[Array, "n"]:
    """Latencies in ms, always positive; pure, to be used inside a jitted search."""
    return jnp.exp(_standardised(model, features) * model.target_deviation + model.target_mean)


def fit(
    key: PRNGKey,
    features_train: Features,
    latency_ms_train: Float[Array | np.ndarray, "n"],
    features_validation: Float[Array, "m genes"],
    latency_ms_validation: Float[Array | np.ndarray, "m"],
    steps: int = 2000,
    learning_rate: float = 0.01,
    weight_decay: float = 2.0,
) -> LatencyMLP:
    """Train on all points at once with AdamW and a cosine schedule; the step with the best validation loss is kept.

    The loss is the squared error of log latency, so that relative errors count alike for small and large networks. A few
    hundred points want a weight decay of 1 to 4 (it is multiplied by the learning rate; biases are left alone): at 0.01
    the perceptron learns the points by heart. Raises a `UserError` on a latency that is not finite and above 0.
    """
    _check("training", latency_ms_train)
    _check("validation", latency_ms_validation)
    input_mean, input_deviation = standardisation(features_train)
    target = jnp.log(jnp.asarray(latency_ms_train, jnp.float32))
    spread = target.std()
    start = LatencyMLP(
        **_initial_weights(key, features_train.shape[1]),
        input_mean=input_mean,
        input_deviation=input_deviation,
        target_mean=target.mean(),
        target_deviation=jnp.where(spread > 0, spread, 1.0),
    )
    validation = (features_validation, jnp.log(jnp.asarray(latency_ms_validation, jnp.float32)))
    return _train(start, (features_train, target), validation, steps, jnp.float32(learning_rate), jnp.float32(weight_decay))


def to_arrays(model: LatencyMLP) -> dict[str, np.ndarray]:
    """The model as named float32 arrays, for an npz file."""
    return {name: np.asarray(array) for name, array in model._asdict().items()}


def from_arrays(arrays: Mapping[str, np.ndarray]) -> LatencyMLP:
    """The inverse of `to_arrays`."""
    missing = set(LatencyMLP._fields) - set(arrays)
    if missing:
        raise UserError(f"not a latency predictor: {', '.join(sorted(missing))} missing")
    return LatencyMLP(**{name: jnp.asarray(arrays[name], jnp.float32) for name in LatencyMLP._fields})


def _check(split: str, latency_ms) -> None:
    latency_ms = np.asarray(latency_ms)
    wrong = ~(np.isfinite(latency_ms) & (latency_ms > 0))
    if wrong.any():
        bad = latency_ms[wrong]
        raise UserError(f"{split} latencies must be finite and above 0 ms, got {bad[0]} ({bad.size} such): leave failed measurements out")
    if latency_ms.size == 0:
        raise UserError(f"the latency predictor needs {split} measurements, got none")


def _initial_weights(key: PRNGKey, genes: int) -> dict[str, Array]:
    weights = {}
    for layer, shape in enumerate(pairwise((genes, *HIDDEN, 1))):
        weights[f"w{layer}"] = jax.nn.initializers.he_normal()(jax.random.fold_in(key, layer), shape, jnp.float32)
        weights[f"b{layer}"] = jnp.zeros(shape[1], jnp.float32)
    return weights


def _standardised(model: LatencyMLP, features: Float[Array, "n genes"]) -> Float[Array, "n"]:
    x = (features - model.input_mean) / model.input_deviation
    x = jax.nn.swish(x @ model.w0 + model.b0)
    x = jax.nn.swish(x @ model.w1 + model.b1)
    return (x @ model.w2 + model.b2)[:, 0]


@partial(jax.jit, static_argnames="steps")
def _train(start: LatencyMLP, train, validation, steps: int, learning_rate, weight_decay) -> LatencyMLP:
    """`train` and `validation` are pairs of features and log latency."""
    weights = {name: getattr(start, name) for name in WEIGHTS}
    decayed = {name: name.startswith("w") for name in WEIGHTS}
    optimiser = optax.adamw(optax.cosine_decay_schedule(learning_rate, steps), weight_decay=weight_decay, mask=decayed)

    def loss(weights, features, log_latency):
        target = (log_latency - start.target_mean) / start.target_deviation
        return jnp.mean((_standardised(start._replace(**weights), features) - target) ** 2)

    def step(carry, _):
        weights, state, best, best_loss = carry
        updates, state = optimiser.update(jax.grad(loss)(weights, *train), state, weights)
        weights = optax.apply_updates(weights, updates)
        validation_loss = loss(weights, *validation)
        better = validation_loss < best_loss
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), weights, best)
        return (weights, state, best, jnp.where(better, validation_loss, best_loss)), None

    carry = (weights, optimiser.init(weights), weights, loss(weights, *validation))
    (_, _, best, _), _ = jax.lax.scan(step, carry, length=steps)
    return start._replace(**best)
