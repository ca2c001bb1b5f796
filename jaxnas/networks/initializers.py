"""Fresh weights."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def kaiming(key, shape: tuple[int, ...], groups: int = 1) -> Float[Array, "..."]:
    """Normal of variance 2 / fan-out (He et al. 2015), float32.

    Of a kernel (*window, c_in // groups, c_out). A depthwise convolution has as many groups as
    channels, so its fan-out is that of the window alone.
    """
    *window, _, c_out = shape
    fan_out = math.prod(window) * c_out // groups
    return jax.random.normal(key, shape, jnp.float32) * jnp.sqrt(jnp.float32(2) / fan_out)
