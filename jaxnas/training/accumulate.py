"""Gradients of a batch that goes through the networks in parts, to save memory."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxnas.supernets.supernet import Params
from jaxnas.types import PRNGKey


def cut(batch: PyTree, parts: int) -> PyTree:
    """Arrays of n rows as (parts, n / parts rows), every `parts`-th row in the same part."""
    return jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), batch)


def accumulated(
    gradients: Callable[[PyTree, PyTree, PRNGKey], tuple[Params, PyTree, PyTree]],
    params: Params,
    extra: PyTree,
    pieces: PyTree,
    key: PRNGKey,
) -> tuple[Params, PyTree, PyTree]:
    """Mean gradients and losses over the pieces that `cut` made, one after the other.

    `gradients` (piece, extra, key) returns gradients, the next piece's `extra`, and losses. Each
    piece has a key of its own.
    """
    parts = len(jax.tree.leaves(pieces)[0])
    if parts == 1:
        return gradients(jax.tree.map(lambda x: x[0], pieces), extra, key)

    def add(carry, inputs):
        total, extra = carry
        piece, key = inputs
        found, extra, losses = gradients(piece, extra, key)
        return (jax.tree.map(lambda a, b: a + b / parts, total, found), extra), losses

    (total, extra), losses = jax.lax.scan(
        add, (jax.tree.map(jnp.zeros_like, params), extra), (pieces, jax.random.split(key, parts))
    )
    return total, extra, jax.tree.map(jnp.mean, losses)
