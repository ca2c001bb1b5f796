"""Accuracy of many subnets in one program, and of one plain network."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxnas.supernets.subnet import Subnet
from jaxnas.supernets.supernet import Params, Supernet
from jaxnas.training.recalibrate import statistics
from jaxnas.types import Genomes

MICRO_BATCH = 64  # images at a time: small enough for a CPU's caches, large enough to keep its cores busy


class Examples(NamedTuple):
    """Normalised images at one resolution, their labels, and the images that statistics are recalibrated on."""

    images: Float[Array, "n h w c"]
    labels: Int[Array, "n"]
    calibration: Float[Array, "m h w c"]


def accuracies(net: Supernet, params: Params, genomes: Genomes, live: Array, examples: Examples) -> Float[Array, "n"]:
    """Top-1 accuracy of each genome with its own recalibrated statistics; NaN where `live` is false.

    Traced over genomes: call it inside one `jit` and every population of the same size is the same program. The rows
    that are not live (genomes of another resolution, padding) cost nothing.
    """

    def one(row):
        genome, live = row
        return jax.lax.cond(live, lambda: _accuracy(net, params, genome, examples), lambda: jnp.float32(jnp.nan))

    return jax.lax.map(one, (genomes, live))


def _accuracy(net: Supernet, params: Params, genome, examples: Examples) -> Float[Array, ""]:
    stats = statistics(net, params, genome, examples.calibration)
    return _share_correct(lambda images: net.apply(params, images, genome, stats)[0], examples.images, examples.labels)


@jax.jit
def accuracy(subnet: Subnet, images: Float[Array, "n h w c"], labels: Int[Array, "n"]) -> Float[Array, ""]:
    """Top-1 accuracy of a plain network with its stored statistics."""
    return _share_correct(subnet, images, labels)


def _share_correct(logits, images, labels) -> Float[Array, ""]:
    """In micro-batches; the last is filled up with images labelled -1, which no network predicts.

    NaN if any logit is not finite: the largest of NaNs would count as class 0.
    """
    n, size = len(labels), min(MICRO_BATCH, len(labels))
    fill = -n % size
    images = jnp.pad(images, ((0, fill), (0, 0), (0, 0), (0, 0))).reshape(-1, size, *images.shape[1:])
    labels = jnp.pad(labels, (0, fill), constant_values=-1).reshape(-1, size)

    def hits(batch):
        images, labels = batch
        scores = logits(images)
        return jnp.where(jnp.isfinite(scores).all(), jnp.sum(jnp.argmax(scores, -1) == labels), jnp.nan)

    return jnp.sum(jax.lax.map(hits, (images, labels))) / n
