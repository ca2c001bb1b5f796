"""Which candidates are best when objectives conflict: ranks, crowding, hypervolume, the front and its knee.

Every function is pure, jits and vmaps. Objectives are minimised. A row with a NaN is a failed candidate: it is worse
than every other row and equal to the other failed ones.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxnas.types import Fitness


def failed(fitness: Fitness) -> Bool[Array, "n"]:
    """Which rows failed: a NaN in any objective."""
    return jnp.isnan(fitness).any(axis=1)


def rank(fitness: Fitness) -> Int[Array, "n"]:
    """Non-dominated rank from 0, the front; failed rows share the rank after the last, duplicates share theirs.

    One or two objectives: sort and scan, O(n log n). Three or more: peel the n x n dominance matrix front by front.

    >>> rank(jnp.array([[1.0, 2.0], [2.0, 1.0], [2.0, 2.0], [jnp.nan, 0.0]])).tolist()
    [0, 0, 1, 2]
    """
    ordinals = _ordinals(fitness)
    if fitness.shape[1] <= 2:
        return _rank_by_scan(ordinals[:, 0], ordinals[:, -1])
    return _rank_by_peeling(ordinals)


def _ordinals(fitness: Fitness) -> Int[Array, "n objectives"]:
    """Each value's place in its column, ties equal; n in failed rows. Infinities and NaN need no care after this."""
    n = fitness.shape[0]
    places = jax.vmap(lambda column: jnp.searchsorted(jnp.sort(column), column), in_axes=1, out_axes=1)(fitness)
    return jnp.where(failed(fitness)[:, None], n, places).astype(jnp.int32)


def _rank_by_scan(x: Int[Array, "n"], y: Int[Array, "n"]) -> Int[Array, "n"]:
    """Ranks in order of (x, y): front k dominates a later point iff the least y in k is at most the point's y."""
    n = x.shape[0]
    order = jnp.lexsort((y, x))
    x, y = x[order], y[order]
    duplicate = (x == jnp.roll(x, 1)) & (y == jnp.roll(y, 1)) & (jnp.arange(n) > 0)

    def place(carry, point):
        least, previous = carry  # least y of each front, ascending
        y, duplicate = point
        front = jnp.searchsorted(least, y, side="right", method="scan_unrolled").astype(jnp.int32)
        front = jnp.where(duplicate, previous, front)
        return (least.at[front].set(y), front), front

    unused = jnp.full(n, n + 1, jnp.int32)
    _, ranks = jax.lax.scan(place, (unused, jnp.int32(0)), (y, duplicate))
    return jnp.zeros(n, jnp.int32).at[order].set(ranks)


def _rank_by_peeling(ordinals: Int[Array, "n objectives"]) -> Int[Array, "n"]:
    """Take away the points that nothing left dominates, again and again."""
    n = ordinals.shape[0]
    one, other = ordinals[:, None], ordinals[None]
    dominates = (one <= other).all(-1) & (one < other).any(-1)

    def peel(carry):
        ranks, left, k = carry
        front = left & ~(dominates & left[:, None]).any(axis=0)
        return jnp.where(front, k, ranks), left & ~front, k + 1

    start = jnp.zeros(n, jnp.int32), jnp.ones(n, bool), jnp.int32(0)
    return jax.lax.while_loop(lambda carry: carry[1].any(), peel, start)[0]


def crowding(fitness: Fitness, rank: Int[Array, "n"]) -> Float[Array, "n"]:
    """Crowding distance of each row within its rank: the mean over objectives of the gap between its two neighbours.

    Deb et al., A fast and elitist multiobjective genetic algorithm: NSGA-II, 2002, section III-B. Gaps are in units of
    the rank's range, the ends of each objective count infinity, and ties are ordered by row. So of duplicates only the
    outer ones have a distance above 0; an objective that is constant within a rank adds 0; ranks of one or two points
    get infinity; infinite values lie on the ends of the finite range; failed rows get 0. Never NaN.
    """
    n = fitness.shape[0]
    group = jnp.where(failed(fitness), n, rank)
    gaps = jax.vmap(partial(_gaps, group=group), in_axes=1)(fitness)
    size = jnp.bincount(group, length=n + 1)[group]
    distance = jnp.where(size <= 2, jnp.inf, gaps.mean(axis=0))
    return jnp.where(group == n, 0.0, distance)


def _gaps(values: Float[Array, "n"], group: Int[Array, "n"]) -> Float[Array, "n"]:
    """Distance between the neighbours of each value within its group, in units of the group's range."""
    n = values.shape[0]
    order = jnp.lexsort((values, group))
    values, group = values[order], group[order]
    finite = jnp.isfinite(values)
    low = jax.ops.segment_min(jnp.where(finite, values, jnp.inf), group, n + 1)[group]
    high = jax.ops.segment_max(jnp.where(finite, values, -jnp.inf), group, n + 1)[group]
    unit = _unit(values, low, high)
    new = jnp.append(True, group[1:] != group[:-1])
    gap = jnp.append(unit[1:], jnp.inf) - jnp.append(-jnp.inf, unit[:-1])
    gap = jnp.where(new | jnp.append(new[1:], True), jnp.inf, gap)
    return jnp.zeros(n, values.dtype).at[order].set(jnp.where(high > low, gap, 0.0))


def _unit(values: Float[Array, "*n"], low: Float[Array, "*#n"], high: Float[Array, "*#n"]) -> Float[Array, "*n"]:
    """Values scaled from [low, high] to [0, 1], values beyond clipped; 0 where the range is empty."""
    half = 0.5 * high - 0.5 * low  # halves, because the range of the largest floats overflows
    return jnp.where(half > 0, (0.5 * jnp.clip(values, low, high) - 0.5 * low) / jnp.where(half > 0, half, 1.0), 0.0)


def survivors(rank: Int[Array, "n"], crowding: Float[Array, "n"], count: int) -> Int[Array, "count"]:
    """The `count` best rows, best first: by rank, then by crowding (larger is better), then by row."""
    return jnp.lexsort((-crowding, rank))[:count]


def front(fitness: Fitness) -> Bool[Array, "n"]:
    """Which rows no other row dominates; none if all failed.

    >>> front(jnp.array([[1.0, 2.0], [2.0, 1.0], [2.0, 2.0], [jnp.nan, 0.0]])).tolist()
    [True, True, False, False]
    """
    return (rank(fitness) == 0) & ~failed(fitness)


def knee(fitness: Fitness) -> Int[Array, ""]:
    """The row of the front that lies farthest from the line through the front's extremes, towards the ideal.

    Objectives are scaled to [0, 1] over the front (a constant one is 0, infinities lie on the ends), where the line,
    or the plane of more objectives, is `sum = 1`: the knee has the least sum. The first row wins a tie, as of a front of
    two points, and -1 means that every row failed. A front that only bulges away from the ideal has an extreme as knee.

    >>> int(knee(jnp.array([[0.0, 10.0], [1.0, 2.0], [5.0, 1.0], [9.0, 0.0]])))
    1
    """
    members = front(fitness)
    counted = members[:, None] & jnp.isfinite(fitness)
    low = jnp.where(counted, fitness, jnp.inf).min(axis=0, keepdims=True)
    high = jnp.where(counted, fitness, -jnp.inf).max(axis=0, keepdims=True)
    total = jnp.where(members, _unit(fitness, low, high).sum(axis=1), jnp.inf)
    return jnp.where(members.any(), jnp.argmin(total), -1)


def hypervolume(fitness: Float[Array, "n 2"], reference: Float[Array, "2"]) -> Float[Array, ""]:
    """Area that two objectives dominate below `reference`, exact; points beyond it or failed contribute nothing.

    >>> float(hypervolume(jnp.array([[1.0, 2.0], [2.0, 1.0], [5.0, 0.0]]), jnp.array([3.0, 3.0])))
    3.0
    """
    inside = (fitness < reference).all(axis=1, keepdims=True)  # False for NaN
    x, y = jnp.where(inside, fitness, reference).T
    order = jnp.argsort(x)
    x, y = x[order], y[order]
    width = jnp.append(x[1:], reference[0]) - x
    height = reference[1] - jax.lax.cummin(y)
    return jnp.where((width > 0) & (height > 0), width * height, 0.0).sum()  # the test keeps 0 * inf out
