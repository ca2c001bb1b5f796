"""Batch norm and the activation behind it.

One multiply-add per element, and a gradient that stores nothing but its input.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnas.networks.chunks import in_parts, joined, row_size, wide

EPSILON = 1e-5  # of every batch norm

Leaf = Array | np.ndarray  # NumPy where a subnet is cut out on the host
Stats = dict[str, Leaf]
Activation = Callable[[Array], Array]
AXES = (0, 1, 2)  # all but channels


def batch_statistics(x: Float[Array, "n h w c"]) -> Stats:
    """Per-channel mean and (biased) variance of a batch, float32.

    Pooled from those of its parts.
    """
    return pooled(**in_parts(_statistics, x, row_size(x)))


def pooled(mean: Float[Array, "parts c"], var: Float[Array, "parts c"]) -> Stats:
    """Statistics of a batch from those of its equal parts."""
    return {"mean": jnp.mean(mean, 0), "var": jnp.mean(var, 0) + jnp.var(mean, 0)}


def _statistics(x):
    x = x.astype(wide(x.dtype))
    mean = jnp.mean(x, AXES)
    return {"mean": mean, "var": jnp.mean(jnp.square(x - mean), AXES)}


def batch_norm(
    x: Float[Array, "n h w c"], scale: Leaf, shift: Leaf, stats: Stats
) -> Float[Array, "n h w c"]:
    """Batch norm as one multiply-add per element, computed in float32."""
    a = scale * jax.lax.rsqrt(stats["var"] + EPSILON)
    return (x * a + (shift - stats["mean"] * a)).astype(x.dtype)


def norm_act_of_batch(
    x: Float[Array, "n h w c"], scale: Leaf, shift: Leaf, act: Activation
) -> tuple[Float[Array, "n h w c"], Stats]:
    """The batch normalised by its own statistics, with `act` applied, and those statistics.

    Its gradient (Ioffe & Szegedy 2015) computes the norm's output again instead of storing it, a
    part of the batch at a time: in training most of the time goes to memory, and XLA's own gradient
    stores the centred input and the activation's halves too.
    """
    return _of_batch(x, scale, shift, act)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _of_batch(x, scale, shift, act: Activation):
    stats = batch_statistics(x)
    return act(batch_norm(x, scale, shift, stats)), stats


def _forward(x, scale, shift, act: Activation):
    y, stats = norm_act_of_batch(x, scale, shift, act)
    return (y, stats), (x, scale, shift, stats)


def _backward(act: Activation, residuals, cotangents):
    x, scale, shift, stats = residuals
    gradient, of_stats = cotangents

    def part(arrays):
        x, gradient = arrays
        _, back = jax.vjp(act, batch_norm(x, scale, shift, stats))
        (gradient,) = back(gradient)
        g = gradient.astype(wide(gradient.dtype))
        return gradient, jnp.sum(g, AXES), jnp.sum(g * (x - stats["mean"]), AXES)

    g, sums, products = in_parts(part, (x, gradient), row_size(x))
    r = jax.lax.rsqrt(stats["var"] + EPSILON)
    n = x.size // x.shape[-1]
    of_shift = jnp.sum(sums, 0)
    of_scale = jnp.sum(products, 0) * r
    a = scale * r
    slope = (2 * of_stats["var"] - a * r * of_scale) / n
    constant = (of_stats["mean"] - a * of_shift) / n - slope * stats["mean"]
    return (a * joined(g) + slope * x + constant).astype(x.dtype), of_scale, of_shift


_of_batch.defvjp(_forward, _backward)
