"""Observations as normal scores of their ranks, and back: what surrogates of a search learn.

A Gaussian copula (Salinas, Shen & Perrone, "A quantile-based approach for hyperparameter transfer
learning", ICML 2020, section 4). One broken network among good ones, or a scale of its own, then
moves nothing; on NAS-Bench-201 the best networks are told apart better than by errors or their
logarithms.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

TAIL = 0.1  # share of the observations whose slope continues beyond the extreme ones


class Scores(NamedTuple):
    """What observations were, in order, to find values of scores."""

    ordered: Float[Array, "n"]  # the known ones first
    score: Float[Array, "n"]  # of each place in the order
    rows: Float[Array, ""]  # of the known ones, at least 1


def scores(values: Float[Array, "n"], known: Bool[Array, "n"]) -> tuple[Float[Array, "n"], Scores]:
    """Normal scores of the known values, ties equal, 0 for the others; and the way back."""
    kept = jnp.where(known, values, jnp.inf)
    ordered = jnp.sort(kept)
    count = jnp.maximum(known.sum(), 1).astype(jnp.float32)
    place = jnp.arange(len(values), dtype=jnp.float32) + 0.5
    score = jax.scipy.special.ndtri(jnp.minimum(place / count, 1 - 0.5 / count))
    first, last = (jnp.searchsorted(ordered, kept, side=side) for side in ("left", "right"))
    found = (score[first] + score[last - 1]) / 2
    return jnp.where(known, found, 0.0), Scores(ordered, score, count)


def values_of(scores: Scores, found: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Values of scores: between observations linear in rank, beyond them in the score."""
    ordered, score, rows = scores
    final = rows.astype(jnp.int32) - 1
    place = jnp.clip(jax.scipy.special.ndtr(found) * rows - 0.5, 0.0, rows - 1)
    low = jnp.floor(place).astype(jnp.int32)
    high = jnp.minimum(low + 1, final)
    inner = ordered[low] + (place - low) * (ordered[high] - ordered[low])
    inward = jnp.minimum(jnp.ceil(TAIL * rows).astype(jnp.int32), final)
    width = jnp.where(inward > 0, score[inward] - score[0], 1.0)
    falls = (ordered[inward] - ordered[0]) / width
    rises = (ordered[final] - ordered[final - inward]) / width
    below = jnp.minimum(found - score[0], 0.0)
    above = jnp.maximum(found - score[final], 0.0)
    return inner + falls * below + rises * above
