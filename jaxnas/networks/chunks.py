"""Work on a part of a batch at a time.

So what stands between its operators stays in a core's cache (on a CPU).
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree, Shaped

from jaxnas.data.pixels import Pixels

CACHED = 1 << 17  # activations at a time


def in_parts(run: Callable, batch: PyTree, widest: int) -> PyTree:
    """`run` on equal parts of the arrays' rows, of which each has up to `widest` activations.

    What it returns, stacked by part.

    Off the CPU, or where all fits, one part: an accelerator wants all the work at once.
    """
    rows = len(jax.tree.leaves(batch)[0])
    fit = max(CACHED // widest, 1) if jax.default_backend() == "cpu" else rows
    size = max(n for n in range(1, min(fit, rows) + 1) if rows % n == 0)
    if size == rows:
        return jax.tree.map(lambda leaf: leaf[None], run(batch))
    return jax.lax.map(
        run, jax.tree.map(lambda leaf: leaf.reshape(-1, size, *leaf.shape[1:]), batch)
    )


def in_batches_of(size: int, run: Callable, images: Shaped[Array, "n h w c"] | Pixels) -> PyTree:
    """`run` on `size` images at a time.

    The last ones are filled up with zeros, whose results are dropped.
    """
    return in_numbered_batches_of(size, lambda part, _: run(part), images)


def in_numbered_batches_of(
    size: int, run: Callable, images: Shaped[Array, "n h w c"] | Pixels
) -> PyTree:
    """`in_batches_of` of `run(part, numbers)`, which are those of the images."""
    if isinstance(images, Pixels):
        prepared = images.prepared
        inner = images.images
        return in_numbered_batches_of(size, lambda part, i: run(prepared(part), i), inner)
    filled = jnp.pad(images, ((0, -len(images) % size), (0, 0), (0, 0), (0, 0)))
    numbers = jnp.arange(len(filled), dtype=jnp.int32).reshape(-1, size)
    parts = filled.reshape(-1, size, *images.shape[1:]), numbers
    found = joined(jax.lax.map(lambda part: run(*part), parts))
    return jax.tree.map(lambda leaf: leaf[: len(images)], found)


def joined(stacked: PyTree) -> PyTree:
    """The parts of a batch in one piece again."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), stacked)


def row_size(batch: PyTree) -> int:
    """Activations in one row of the largest of the arrays."""
    return max(math.prod(leaf.shape[1:]) for leaf in jax.tree.leaves(batch))


def wide(dtype: Any) -> Any:
    """What sums of numbers of this type are computed in: float32, or float64."""
    return jnp.promote_types(dtype, jnp.float32)
