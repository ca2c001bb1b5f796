"""Accuracy of many subnets in analog memory, over programmings and times, in one program."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float

from jaxnas.numerics.analog import InMemory
from jaxnas.supernets.analog import build_analog
from jaxnas.supernets.supernet import Params, Supernet
from jaxnas.training.device_memory import crowd, image_bytes, largest_ops
from jaxnas.training.evaluate import Examples, hits, of_each
from jaxnas.training.recalibrate import TOGETHER
from jaxnas.types import Genomes, PRNGKey


class Trials(NamedTuple):
    """How often a network is programmed, and the seconds after that at which it is asked."""

    key: PRNGKey
    programmings: int
    times_s: tuple[float, ...]


def analog_accuracies(
    net: Supernet,
    params: Params,
    genomes: Genomes,
    live: Bool[Array, "n"],
    examples: Examples,
    memory: InMemory,
    trials: Trials,
    *,
    memory_gib: float | None = None,
    mesh: Mesh | None = None,
) -> Float[Array, "n programmings times"]:
    """Top-1 accuracy of each genome, as `memory` computes it, with its own statistics and limits.

    NaN where `live` is false. A genome is calibrated once, on up to 256 of the calibration images.
    Programming p of all genomes draws from the same numbers, whatever else is evaluated with it.
    """
    pixels = examples.calibration.shape[1]
    each = image_bytes(largest_ops(net, pixels), pixels)
    together = crowd(each * min(len(examples.calibration), TOGETHER), memory_gib)
    one = partial(_accuracies, net, memory, trials)
    shape = trials.programmings, len(trials.times_s)
    return of_each(one, params, genomes, live, examples, together, mesh, shape)


def _accuracies(
    net: Supernet, memory: InMemory, trials: Trials, params: Params, genome, examples: Examples
) -> Float[Array, "programmings times"]:
    form = build_analog(net.space, memory, examples.calibration.shape[1])
    weights = form.calibrate(params, genome, examples.calibration[:TOGETHER])
    times = jnp.array(trials.times_s, jnp.float32)

    def accuracy(layers):
        scores = form.logits(weights, layers, genome, examples.images)
        return hits(scores, examples.labels) / len(examples.labels)

    def programming(number):
        key = jax.random.fold_in(trials.key, number)
        return jax.lax.map(accuracy, form.read(weights, genome, key, times))

    return jax.lax.map(programming, jnp.arange(trials.programmings, dtype=jnp.int32))
