"""The latency predictor.

Perceptrons from gene values to milliseconds (31-32-16-1 for 31 genes), and their mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float

from jaxnas.errors import UserError
from jaxnas.predictors.predictor import Choices, Latencies, Prediction, check_latencies
from jaxnas.spaces.encodings import FeatureFunction, Features, gene_values, standardisation
from jaxnas.spaces.space import Space
from jaxnas.types import PRNGKey

HIDDEN = (32, 16)
# Perceptrons that `fit` trains: the luck of one's initial weights moves Kendall's tau by 0.01.
MEMBERS = 8
# Networks to train on are padded to a multiple of this: growing sets share a few compiled programs.
PAD = 64


class LatencyMLP(NamedTuple):
    """A trained predictor.

    The weights of its members (y = x @ w + b), and what standardises gene values and the logarithm
    of latency.
    """

    w0: Float[Array, "members genes 32"]
    b0: Float[Array, "members 32"]
    w1: Float[Array, "members 32 16"]
    b1: Float[Array, "members 16"]
    w2: Float[Array, "members 16 1"]
    b2: Float[Array, "members 1"]
    input_mean: Float[Array, "genes"]
    input_deviation: Float[Array, "genes"]
    target_mean: Float[Array, ""]
    target_deviation: Float[Array, ""]


WEIGHTS = LatencyMLP._fields[:6]


class Scales(NamedTuple):
    """What a predictor standardises by."""

    input_mean: Float[Array, "genes"]
    input_deviation: Float[Array, "genes"]
    target_mean: Float[Array, ""]
    target_deviation: Float[Array, ""]


def predict(model: LatencyMLP, features: Float[Array, "n genes"]) -> Float[Array, "n"]:
    """Latencies in ms, the geometric mean of the members', always positive.

    Pure, to be used inside a jitted search.
    """
    weights = {name: getattr(model, name) for name in WEIGHTS}
    members = jax.vmap(_perceptron, (0, None))(
        weights, (features - model.input_mean) / model.input_deviation
    )
    return jnp.exp(members.mean(axis=0) * model.target_deviation + model.target_mean)


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
    """Train on all points at once with AdamW and a cosine schedule.

    Several perceptrons side by side.

    Of each the step with the best validation loss is kept.
    The loss is the squared error of log latency, so that relative errors count alike for small and
    large networks. A few hundred points want a weight decay of 1 to 4 (it is multiplied by the
    learning rate; biases are left alone): at 0.01 the perceptron learns the points by heart. Raises
    a `UserError` on a latency that is not finite and above 0.
    """
    check_latencies("training", latency_ms_train)
    check_latencies("validation", latency_ms_validation)
    input_mean, input_deviation = standardisation(features_train)
    target, validation = (
        jnp.log(jnp.asarray(some, jnp.float32))
        for some in (latency_ms_train, latency_ms_validation)
    )
    spread = target.std()
    scales = Scales(input_mean, input_deviation, target.mean(), jnp.where(spread > 0, spread, 1.0))
    points = (
        (features_train, target, jnp.ones_like(target)),
        (features_validation, validation, jnp.ones_like(validation)),
    )
    rates = jnp.float32(learning_rate), jnp.float32(weight_decay)
    return LatencyMLP(
        **jax.vmap(lambda key: _train(key, scales, *points, steps, *rates))(
            jax.random.split(key, MEMBERS)
        ),
        **scales._asdict(),
    )


@dataclass(frozen=True)
class MLP:
    """The perceptron as a method (`predictor.Method`): trained on all networks used, for all steps.

    `fit` says what the numbers mean.

    A member of an ensemble wants fewer steps than a perceptron on its own: the mean is as good, and
    members agree more.
    """

    features: FeatureFunction = gene_values
    steps: int = 500
    learning_rate: float = 0.01
    weight_decay: float = 2.0

    def fit(
        self,
        key: PRNGKey,
        space: Space,
        genomes: Choices,
        latency_ms: Latencies,
        used: Bool[np.ndarray, "k n"],
    ) -> "Perceptrons":
        """All models train side by side in one program."""
        check_latencies("training", latency_ms)
        padding = -len(latency_ms) % PAD
        features = jnp.pad(self.features(space, genomes), ((0, padding), (0, 0)))
        target = jnp.pad(jnp.log(jnp.asarray(latency_ms, jnp.float32)), (0, padding))
        weight = jnp.pad(jnp.asarray(used, jnp.float32), ((0, 0), (0, padding)))
        keys = jax.random.split(key, len(used))
        rates = jnp.float32(self.learning_rate), jnp.float32(self.weight_decay)
        return Perceptrons(
            space, self.features, _train_members(keys, features, target, weight, self.steps, *rates)
        )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Perceptrons:
    """Perceptrons of one shape, side by side.

    A pytree, to be passed to a compiled search as an argument.
    """

    space: Space = field(metadata={"static": True})
    features: FeatureFunction = field(metadata={"static": True})
    stacked: LatencyMLP  # every array with a leading axis, the members

    @jax.jit
    def predict(self, genomes: Choices) -> Float[Array, "k n"]:
        return jax.vmap(predict, (0, None))(self.stacked, self.features(self.space, genomes))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Fitted:
    """The mean of the perceptrons as a function of genomes (`predictor.Model`)."""

    space: Space = field(metadata={"static": True})
    perceptrons: LatencyMLP
    factor: Float[Array, ""]
    """The interval is from the prediction over this factor to the prediction times it."""

    def __call__(self, genomes: Choices) -> Float[Array, "n"]:
        return predict(self.perceptrons, gene_values(self.space, jnp.asarray(genomes)))

    def predict(self, genomes: Choices) -> Prediction:
        mean = self(genomes)
        return Prediction(mean, mean / self.factor, mean * self.factor)


def shapes(genes: int) -> list[tuple[int, ...]]:
    """Of a predictor's arrays, in order."""
    layers = [
        shape
        for sides in pairwise((genes, *HIDDEN, 1))
        for shape in ((MEMBERS, *sides), (MEMBERS, sides[1]))
    ]
    return [*layers, (genes,), (genes,), (), ()]


def to_arrays(model: LatencyMLP) -> dict[str, np.ndarray]:
    """The model as named float32 arrays, for an npz file."""
    return {name: np.asarray(array) for name, array in model._asdict().items()}


def from_arrays(arrays: Mapping[str, np.ndarray]) -> LatencyMLP:
    """The inverse of `to_arrays`."""
    missing = set(LatencyMLP._fields) - set(arrays)
    if missing:
        raise UserError(f"not a latency predictor: {', '.join(sorted(missing))} missing")
    return LatencyMLP(
        **{name: jnp.asarray(arrays[name], jnp.float32) for name in LatencyMLP._fields}
    )


def _initial_weights(key: PRNGKey, genes: int) -> dict[str, Array]:
    weights = {}
    for layer, shape in enumerate(pairwise((genes, *HIDDEN, 1))):
        weights[f"w{layer}"] = jax.nn.initializers.he_normal()(
            jax.random.fold_in(key, layer), shape, jnp.float32
        )
        weights[f"b{layer}"] = jnp.zeros(shape[1], jnp.float32)
    return weights


def _perceptron(weights: dict[str, Array], x: Float[Array, "n genes"]) -> Float[Array, "n"]:
    """Standardised gene values to standardised log latency."""
    x = jax.nn.swish(x @ weights["w0"] + weights["b0"])
    x = jax.nn.swish(x @ weights["w1"] + weights["b1"])
    return (x @ weights["w2"] + weights["b2"])[:, 0]


@partial(jax.jit, static_argnames="steps")
def _train_members(
    keys,
    features: Features,
    target,
    weight: Float[Array, "k n"],
    steps: int,
    learning_rate,
    weight_decay,
) -> LatencyMLP:
    """A perceptron for each row of `weight`."""

    def one(key, weight):
        def mean(values):
            return jnp.tensordot(weight, values, 1) / weight.sum()

        def deviation(values):
            spread = jnp.sqrt(mean((values - mean(values)) ** 2))
            return jnp.where(spread > 0, spread, 1.0)

        scales = Scales(mean(features), deviation(features), mean(target), deviation(target))
        points = (features, target, weight)
        weights = _train(key, scales, points, points, steps, learning_rate, weight_decay)
        return LatencyMLP(**jax.tree.map(lambda leaf: leaf[None], weights), **scales._asdict())

    return jax.vmap(one)(keys, weight)


@partial(jax.jit, static_argnames="steps")
def _train(
    key, scales: Scales, train, validation, steps: int, learning_rate, weight_decay
) -> dict[str, Array]:
    """Weights of one perceptron.

    `train` and `validation` are features, log latency, and the weight of each point.
    """
    weights = _initial_weights(key, train[0].shape[1])
    decayed = {name: name.startswith("w") for name in WEIGHTS}
    optimiser = optax.adamw(
        optax.cosine_decay_schedule(learning_rate, steps), weight_decay=weight_decay, mask=decayed
    )

    def loss(weights, features, log_latency, weight):
        target = (log_latency - scales.target_mean) / scales.target_deviation
        x = (features - scales.input_mean) / scales.input_deviation
        return jnp.sum(weight * (_perceptron(weights, x) - target) ** 2) / weight.sum()

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
    return best
