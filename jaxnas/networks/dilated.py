"""Dilated convolutions as ordinary ones: of every `dilation`-th pixel, for each place to begin.

The taps of such a convolution lie on one of dilation x dilation interleaved maps, so that whatever
computes the ordinary convolution fast, forward and backward, computes the dilated one.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.networks.sizes import strided


def dilated(
    convolve: Callable[[Array, Array, int], Array],
    x: Float[Array, "n h w c_in"],
    kernel: Array,
    stride: int,
    dilation: int,
) -> Float[Array, "n ho wo c_out"]:
    """`convolve(x, kernel, stride)` with taps that lie `dilation` pixels apart."""
    if stride % dilation == 0:  # the results lie on the first of the maps
        return convolve(x[:, ::dilation, ::dilation], kernel, stride // dilation)
    n, h, w, _ = x.shape
    rows, columns = (strided(side, dilation) for side in (h, w))
    edges = ((0, 0), (0, rows * dilation - h), (0, columns * dilation - w), (0, 0))
    maps = jnp.pad(x, edges).reshape(n, rows, dilation, columns, dilation, -1)
    maps = maps.transpose(2, 4, 0, 1, 3, 5).reshape(-1, rows, columns, x.shape[-1])
    y = convolve(maps, kernel, 1).reshape(dilation, dilation, n, rows, columns, -1)
    y = y.transpose(2, 3, 0, 4, 1, 5).reshape(n, rows * dilation, columns * dilation, -1)
    return y[:, :h:stride, :w:stride]
