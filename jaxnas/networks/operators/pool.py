"""Pooling: the global average, and halving by the average or the maximum of 2 x 2 pixels."""

import jax.numpy as jnp

from jaxnas.networks import convolution
from jaxnas.networks.operators.operator import Operator, one_pixel
from jaxnas.networks.sizes import strided

POOL = Operator(
    lambda op, arrays, x: jnp.mean(x, (1, 2), keepdims=True), side=one_pixel, channelwise=True
)
"""N, H, W, C -> N, 1, 1, C."""
AVGPOOL2 = Operator(
    lambda op, arrays, x: convolution.average_pool2(x),
    side=lambda size, op: strided(size, 2),
    channelwise=True,
)
"""An odd size is padded by zeros on every side, and rounds up."""
MAXPOOL2 = Operator(
    lambda op, arrays, x: convolution.max_pool2(x),
    side=lambda size, op: size // 2,
    channelwise=True,
)
"""The last row of an odd size is dropped."""
