"""Nothing: what stands on an edge of a cell that the network does without."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.networks.op import Op
from jaxnas.networks.operators.operator import Operator, Weights


def _compute(op: Op, arrays: Weights, x: Float[Array, "n h w c"]) -> Float[Array, "..."]:
    return jnp.zeros_like(x[:, :: op.stride, :: op.stride])


ZERO = Operator(_compute, channelwise=True)
"""Zeros, as many as its input has at every `stride`-th pixel."""
