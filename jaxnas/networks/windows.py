"""Pooling over windows of any odd size, of which the padding is no part."""

from collections.abc import Callable
from functools import reduce

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.networks.sizes import strided


def average_pool(x: Float[Array, "n h w c"], size: int, stride: int) -> Float[Array, "n ho wo c"]:
    """The mean of the pixels that a window of `size` x `size` has within the map."""
    counts = _combined(jnp.ones((1, *x.shape[1:3], 1), x.dtype), size, stride, 0.0, jnp.add)
    return _combined(x, size, stride, 0.0, jnp.add) / counts


def max_pool(x: Float[Array, "n h w c"], size: int, stride: int) -> Float[Array, "n ho wo c"]:
    """The largest of the pixels that a window of `size` x `size` has within the map."""
    return _combined(x, size, stride, -jnp.inf, jnp.maximum)


def _combined(x: Array, size: int, stride: int, fill: float, combine: Callable) -> Array:
    """`combine` over rows, then over columns, which is fewer operations than over the window."""
    for axis in (1, 2):
        x = reduce(combine, _neighbours(x, axis, size, stride, fill))
    return x


def _neighbours(x: Array, axis: int, size: int, stride: int, fill: float) -> list[Array]:
    """The `size` shifted views along an axis, of every `stride`-th place."""
    pad = [(size // 2,) * 2 if i == axis else (0, 0) for i in range(x.ndim)]
    padded = jnp.pad(x, pad, constant_values=fill)
    reach = stride * (strided(x.shape[axis], stride) - 1) + 1
    before = (slice(None),) * axis
    return [padded[(*before, slice(i, i + reach, stride))] for i in range(size)]
