"""Batch norm statistics of subnets, which share weights but not activations, so each needs its own."""

import jax
from jaxtyping import Array, Float, PyTree

from jaxnas.supernets.subnet import Subnet, forward
from jaxnas.supernets.supernet import Params, Supernet
from jaxnas.types import Genome


def statistics(net: Supernet, params: Params, genome: Genome, calibration: Float[Array, "n h w c"]) -> PyTree:
    """Statistics of one genome over one joint batch; statistics pooled from small batches would be far off."""
    return net.apply(params, calibration, genome)[1]


@jax.jit
def recalibrated(subnet: Subnet, calibration: Float[Array, "n h w c"]) -> Subnet:
    """The subnet with its statistics taken anew over one joint batch."""
    return Subnet(subnet.ops, subnet.weights, forward(subnet.ops, subnet.weights, calibration)[1])
