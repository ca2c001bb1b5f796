"""Pooling over windows of any size, of which the padding is no part."""

from collections.abc import Callable
from functools import reduce

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.networks.sizes import windowed


def average_pool(
    x: Float[Array, "n h w c"], size: int, stride: int, padding: str
) -> Float[Array, "n ho wo c"]:
    """The mean of the pixels that a window of `size` x `size` has within the map."""
    pixels = jnp.ones((1, *x.shape[1:3], 1), x.dtype)
    sums, counts = (_combined(each, size, stride, padding, 0.0, jnp.add) for each in (x, pixels))
    return sums / counts


def max_pool(
    x: Float[Array, "n h w c"], size: int, stride: int, padding: str
) -> Float[Array, "n ho wo c"]:
    """The largest of the pixels that a window of `size` x `size` has within the map."""
    return _combined(x, size, stride, padding, -jnp.inf, jnp.maximum)


def _combined(
    x: Array, size: int, stride: int, padding: str, fill: float, combine: Callable
) -> Array:
    """`combine` over rows, then over columns, which is fewer operations than over the window."""
    for axis in (1, 2):
        x = reduce(combine, _neighbours(x, axis, size, stride, padding, fill))
    return x


def _neighbours(
    x: Array, axis: int, size: int, stride: int, padding: str, fill: float
) -> list[Array]:
    """The `size` shifted views along an axis, of every `stride`-th place."""
    side = x.shape[axis]
    reach = stride * (windowed(side, size, stride, padding) - 1) + 1
    before = size // 2 if padding == "same" else 0
    behind = max(reach + size - 1 - before - side, 0)
    pad = [(before, behind) if i == axis else (0, 0) for i in range(x.ndim)]
    padded = jnp.pad(x, pad, constant_values=fill)
    rows = (slice(None),) * axis
    return [padded[(*rows, slice(i, i + reach, stride))] for i in range(size)]
