"""The perceptron that predicts latency: gene values to milliseconds, 31-32-16-1 for 31 genes."""

from functools import partial
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxnas.spaces.encodings import Features
from jaxnas.types import PRNGKey

HIDDEN = (32, 16)


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


def shapes(columns: int, members: int) -> dict[str, tuple[int, ...]]:
    """Of the arrays of a predictor that sees so many columns."""
    layers = {}
    for layer, sides in enumerate(pairwise((columns, *HIDDEN, 1))):
        layers |= {f"w{layer}": (members, *sides), f"b{layer}": (members, sides[1])}
    scales = {"input_mean": (columns,), "input_deviation": (columns,)}
    return layers | scales | {"target_mean": (), "target_deviation": ()}


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


@partial(jax.jit, static_argnames="steps")
def trained_members(
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
        weights = trained(key, scales, points, points, steps, learning_rate, weight_decay)
        return LatencyMLP(**jax.tree.map(lambda leaf: leaf[None], weights), **scales._asdict())

    return jax.vmap(one)(keys, weight)


@partial(jax.jit, static_argnames="steps")
def trained(
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
