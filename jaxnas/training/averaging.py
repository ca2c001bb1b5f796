"""The moving average of weights: evaluated and shipped in their place.

An exponential average over the steps of a training (Polyak & Juditsky 1992), which needs no
learning rate near 0 to be good. Statistics of batch norm are none of the weights: they are
recalibrated with the averaged ones.
"""

from typing import TypeVar, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

T = TypeVar("T", bound=PyTree)
Average = PyTree  # of the structure of the weights, or () where none is kept


def begun(decay: float, weights: PyTree) -> Average:
    """The average before the first step: the weights themselves; nothing where `decay` is 0.

    A copy, for a step consumes both.
    """
    return jax.tree.map(jnp.copy, weights) if decay else ()


def decay_at(decay: float, step: Int[Array, ""]) -> Float[Array, ""]:
    """The share of the average that step number `step`, from 0, keeps.

    It rises with the steps, so that the first weights are forgotten: (1 + step) / (10 + step), at
    most `decay`, as TensorFlow's ExponentialMovingAverage has it.
    """
    done = step.astype(jnp.float32)
    return jnp.minimum(jnp.float32(decay), (1 + done) / (10 + done))


def moved(decay: float, average: Average, weights: PyTree, step: Int[Array, ""]) -> Average:
    """The average after a step that led to these weights."""
    if not decay:
        return average
    return optax.incremental_update(weights, average, 1 - decay_at(decay, step))


def evaluated(weights: T, average: Average) -> T:
    """What is evaluated and shipped: the average where one is kept."""
    return cast(T, average) if jax.tree.leaves(average) else weights
