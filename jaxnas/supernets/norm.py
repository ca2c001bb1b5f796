"""Batch norm and the activation behind it: one multiply-add per element, and a gradient that stores nothing but its input."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnas.supernets.parts import in_parts, joined, row_size

EPSILON = 1e-5  # of every batch norm

Leaf = Array | np.ndarray  # NumPy where a subnet is cut out on the host
Activation = Callable[[Array], Array]


def batch_statistics(x: Float[Array, "n h w c"]) -> dict[str, Leaf]:
    """Per-channel mean and (biased) variance of a batch, float32; of its parts on a CPU, then pooled."""
    of_parts = in_parts(_statistics, x, row_size(x))
    mean = jnp.mean(of_parts["mean"], 0)
    return {"mean": mean, "var": jnp.mean(of_parts["var"], 0) + jnp.mean(jnp.square(of_parts["mean"] - mean), 0)}


def _statistics(x):
    x = x.astype(jnp.float32)
    mean = jnp.mean(x, (0, 1, 2))
    return {"mean": mean, "var": jnp.mean(jnp.square(x - mean), (0, 1, 2))}


def batch_norm(x: Float[Array, "n h w c"], scale: Leaf, shift: Leaf, stats: dict[str, Leaf]) -> Float[Array, "n h w c"]:
    """Batch norm as one multiply-add per element, computed in float32."""
    a = scale * jax.lax.rsqrt(stats["var"] + EPSILON)
    return (x * a + (shift - stats["mean"] * a)).astype(x.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def norm_act_of_batch(x: Float[Array, "n h w c"], scale: Leaf, shift: Leaf, act: Activation) -> tuple[Float[Array, "n h w c"], dict[str, Leaf]]:
    """The batch normalised by its own statistics, `act` applied; and the statistics."""
    stats = batch_statistics(x)
    return act(batch_norm(x, scale, shift, stats)), stats


def _forward(x, scale, shift, act):
    y, stats = norm_act_of_batch(x, scale, shift, act)
    return (y, stats), (x, scale, shift, stats)


def _backward(act, residuals, cotangents):
    x, scale, shift, stats = residuals
    gradient, of_stats = cotangents

    def sums(part):
        x, gradient = part
        _, back = jax.vjp(act, batch_norm(x, scale, shift, stats))
        (gradient,) = back(gradient)
        g = gradient.astype(jnp.float32)
        return gradient, jnp.sum(g, (0, 1, 2)), jnp.sum(g * (x - stats["mean"]), (0, 1, 2))

    g, of_shift, of_scale = in_parts(sums, (x, gradient), row_size(x))
    g = joined(g)
    r, n = jax.lax.rsqrt(stats["var"] + EPSILON), x.size // x.shape[-1]
    of_shift, of_scale = jnp.sum(of_shift, 0), jnp.sum(of_scale, 0) * r
    a = scale * r
    per_deviation = (2 * of_stats["var"] - a * r * of_scale) / n
    constant = (of_stats["mean"] - a * of_shift) / n - per_deviation * stats["mean"]
    return (a * g + per_deviation * x + constant).astype(x.dtype), of_scale, of_shift


norm_act_of_batch.defvjp(_forward, _backward)
