"""Batch norm statistics of subnets, which share weights but not activations.

So each needs its own.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxnas.networks.subnet import Subnet, forward
from jaxnas.supernets.supernet import Params, Supernet
from jaxnas.types import Genome, SoftGenome

TOGETHER = 256  # images that are normalised by their joint statistics, at most

T = TypeVar("T")


def statistics(
    net: Supernet,
    params: Params,
    genome: Genome | SoftGenome,
    calibration: Float[Array, "n h w c"],
) -> PyTree:
    """Statistics of one genome, `by_batches`: small ones would be far off."""
    return by_batches(lambda batch: net.apply(params, batch, genome)[1], calibration)


def by_batches(
    calibrate: Callable[[Float[Array, "m h w c"]], T], calibration: Float[Array, "n h w c"]
) -> T:
    """What `calibrate` makes of the images.

    At once of `TOGETHER` or fewer, else the mean over equal batches of no more.

    So memory does not grow with the images. A rest that fills no batch is dropped.
    """
    count = -(-len(calibration) // TOGETHER)
    if count == 1:
        return calibrate(calibration)
    size = len(calibration) // count
    batches = calibration[: count * size].reshape(count, size, *calibration.shape[1:])
    return jax.tree.map(partial(jnp.mean, axis=0), jax.lax.map(calibrate, batches))


@jax.jit
def recalibrated(subnet: Subnet, calibration: Float[Array, "n h w c"]) -> Subnet:
    """The subnet with its statistics taken anew, `by_batches`."""
    return Subnet(
        subnet.ops,
        subnet.weights,
        by_batches(lambda batch: forward(subnet.ops, subnet.weights, batch)[1], calibration),
    )
