"""Which candidates are best when objectives conflict.

Ranks, constrained dominance, crowding, the front and its knee.

Every function is pure, jits and vmaps. Objectives are minimised. A row with a NaN is a failed
candidate: it is worse than every other row and equal to the other failed ones.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num, UInt

from jaxnas.algorithms.algorithm import check_limits
from jaxnas.types import Fitness

Points = Num[Array | np.ndarray, "n objectives"]  # fitness, or whole numbers
INFINITY = 0xFF800000  # its key; values that are worse lie above
FAILED = 2**32 - 2
UNUSED = 2**32 - 1


def failed(fitness: Points) -> Bool[Array, "n"]:
    """Which rows failed: a NaN in any objective."""
    return jnp.isnan(fitness).any(axis=1)


def total_violation(fitness: Fitness, limits: tuple[float | None, ...]) -> Float[Array, "n"]:
    """By how much each row exceeds the limits of its objectives.

    As shares of them (of 1 where a limit is 0), added up.

    `limits` has a number or None, no limit, for each objective, or nothing at all. 0 = feasible,
    NaN = failed.

    >>> total_violation(jnp.array([[1.0, 9.0], [3.0, 0.0]]), (2.0, None)).tolist()
    [0.0, 0.5]
    """
    check_limits(limits, fitness.shape[1])
    total = jnp.where(failed(fitness), jnp.nan, jnp.zeros(fitness.shape[0], fitness.dtype))
    for values, limit in zip(fitness.T, limits or (None,) * fitness.shape[1], strict=True):
        if limit is not None:
            total += jnp.maximum(values - limit, 0) / (abs(limit) or 1.0)
    return total


def rank(fitness: Points, violation: Float[Array, "n"] | None = None) -> Int[Array, "n"]:
    """Non-dominated rank from 0, the front.

    Failed rows share the rank after the last, duplicates share theirs.

    Values are compared in the type that they come in: whole numbers and float64, also of NumPy, are
    not rounded to float32.

    `violation` (0 = feasible, NaN = failed) makes it constrained dominance (Deb et al. 2002,
    section VI): infeasible rows come after the feasible ones, by their violation alone; equal ones
    share a rank.

    One or two objectives: sort and scan, O(n log n). Three or more: a sweep of O(n^2) steps and
    O(n) memory, in which each row in lexicographic order pushes down those that it dominates:
    faster on a CPU than peeling bit-packed dominance front by front.

    >>> rank(jnp.array([[1.0, 2.0], [2.0, 1.0], [2.0, 2.0], [jnp.nan, 0.0]])).tolist()
    [0, 0, 1, 2]
    """
    keys = _keys(fitness, violation)
    if not len(fitness):
        return jnp.zeros(0, jnp.int32)
    order = lexsort(*((key, 32) for key in keys))
    keys = [key[order] for key in keys]
    ranks = _rank_two(keys[0], keys[-1]) if len(keys) <= 2 else _rank_many(keys)
    return jnp.zeros_like(ranks).at[order].set(ranks, unique_indices=True, mode="promise_in_bounds")


def rank_within(fitness: Fitness, limits: tuple[float | None, ...]) -> Int[Array, "n"]:
    """The rank under these limits; without any, `rank`."""
    return rank(fitness, total_violation(fitness, limits)) if limits else rank(fitness)


def within(fitness: Fitness, limits: tuple[float | None, ...]) -> Fitness:
    """The fitness of those within the limits, NaN for the others."""
    return (
        jnp.where((total_violation(fitness, limits) == 0)[:, None], fitness, jnp.nan)
        if limits
        else fitness
    )


def _keys(fitness: Points, violation: Float[Array, "n"] | None) -> list[UInt[Array, "n"]]:
    """The objectives as integers of the same order.

    All of an infeasible row are beyond infinity, by its violation.
    """
    keys = [_key(values) for values in fitness.T]
    bad = failed(fitness)
    if violation is not None:
        worse = _place(violation, jnp.uint32) + jnp.uint32(INFINITY + 1)
        keys = [jnp.where(violation > 0, worse, key) for key in keys]
        bad = bad | jnp.isnan(violation)
    return [jnp.where(bad, jnp.uint32(FAILED), key) for key in keys]


def _key(values: Num[Array | np.ndarray, "n"]) -> UInt[Array, "n"]:
    """Integers in the order of the values, ties equal; NaN means nothing.

    XLA's CPU compares floats slowly, and through a call.
    """
    if values.dtype.itemsize > 4 or not jnp.issubdtype(values.dtype, jnp.floating):
        return _place(values, jnp.uint32)
    # -0 is 0.
    bits = jax.lax.bitcast_convert_type(
        jnp.where(values == 0, 0, values).astype(jnp.float32), jnp.uint32
    )
    return jnp.where(bits >> 31 == 1, ~bits, bits | jnp.uint32(1 << 31))


def _place(
    values: Num[Array | np.ndarray, "n"], dtype: jax.typing.DTypeLike
) -> Int[Array, "n"] | UInt[Array, "n"]:
    """How many values are less than each; on the host for NumPy's, which JAX would round."""
    xp: Any = np if isinstance(values, np.ndarray) else jnp
    return jnp.asarray(xp.searchsorted(xp.sort(values), values), dtype)


def lexsort(*keys: tuple[UInt[Array, "n"] | Int[Array, "n"], int]) -> Int[Array, "n"]:
    """The stable order by keys >= 0 of so many bits, the most important first.

    Packed together with the row into words of 64 bits, which XLA's CPU sorts three times as fast as
    keys with a payload.
    """
    n = keys[0][0].shape[0]
    row_bits = n.bit_length()
    with jax.enable_x64(True):
        rows = jax.lax.iota(jnp.uint64, n)

        def sort(packed):
            return (jax.lax.sort(packed, is_stable=False) & np.uint64(2**row_bits - 1)).astype(
                jnp.int32
            )

        order = None
        packed = rows
        used = row_bits
        for key, bits in reversed(keys):
            if used + bits > 64:
                order = sort(packed) if order is None else order[sort(packed)]
                packed = rows
                used = row_bits
            packed |= (key if order is None else key[order]).astype(jnp.uint64) << np.uint64(used)
            used += bits
        return sort(packed) if order is None else order[sort(packed)]


def _rank_two(x: UInt[Array, "n"], y: UInt[Array, "n"]) -> Int[Array, "n"]:
    """Ranks in order of (x, y).

    Front k dominates a later point iff the least y in k is at most the point's y.
    """
    half = 1 << x.shape[0].bit_length() - 1
    duplicate = jnp.append(False, (x[1:] == x[:-1]) & (y[1:] == y[:-1]))

    def place(carry, point):
        least, previous = carry  # least y of each front, ascending
        y, duplicate = point
        front = jnp.int32(0)
        step = half
        while step:  # jnp.searchsorted takes many times as long here
            front = jnp.where(
                least.at[front + (step - 1)].get(mode="promise_in_bounds") <= y, front + step, front
            )
            step //= 2
        front = jnp.where(duplicate, previous, front)
        return (least.at[front].set(y, mode="promise_in_bounds"), front), front

    unused = jnp.full(2 * half, UNUSED, jnp.uint32)
    return jax.lax.scan(place, (unused, jnp.int32(0)), (y, duplicate))[1]


def _rank_many(keys: list[UInt[Array, "n"]]) -> Int[Array, "n"]:
    """Ranks in lexicographic order.

    A row's is final when its turn comes, and then all that it dominates are at least one more.
    """
    n = keys[0].shape[0]
    dtype = jnp.int16 if n < 2**15 else jnp.int32  # half the bytes are half the time
    new = jnp.append(False, jnp.stack([key[1:] != key[:-1] for key in keys]).any(axis=0))
    # The first orders rows, duplicates equal.
    places = [jnp.cumsum(new).astype(dtype), *(_place(key, dtype) for key in keys[1:])]

    def push(i, ranks):
        own, *others = (place.at[i].get(mode="promise_in_bounds") for place in places)
        worse = places[0] > own
        for place, other in zip(places[1:], others, strict=True):
            worse &= place >= other
        return jnp.where(
            worse, jnp.maximum(ranks, ranks.at[i].get(mode="promise_in_bounds") + dtype(1)), ranks
        )

    return jax.lax.fori_loop(0, n, push, jnp.zeros(n, dtype)).astype(jnp.int32)


def dominates(
    one: Float[Array, "*n objectives"],
    other: Float[Array, "*n objectives"],
    one_violation: Float[Array, "*n"],
    other_violation: Float[Array, "*n"],
) -> Bool[Array, "*n"]:
    """Whether each row of `one` dominates its row of `other`.

    Constrained dominance; violation 0 = feasible; a NaN never does.
    """
    better = (one <= other).all(axis=-1) & (one < other).any(axis=-1)
    feasible = (one_violation == 0) & (other_violation == 0)
    return jnp.where(feasible, better, one_violation < other_violation)


def crowding(fitness: Points, rank: Int[Array, "n"]) -> Float[Array, "n"]:
    """Crowding distance of each row within its rank.

    The mean over objectives of the gap between its two neighbours.

    Deb et al., A fast and elitist multiobjective genetic algorithm: NSGA-II, 2002, section III-B.
    Gaps are in units of the rank's range, the ends of each objective count infinity, and ties are
    ordered by row. So of duplicates only the outer ones have a distance above 0; an objective that
    is constant within a rank adds 0; ranks of one or two points get infinity; infinite values lie
    on the ends of the finite range; failed rows get 0. Never NaN.
    """
    n = fitness.shape[0]
    if not n:
        return jnp.zeros(0, jnp.float32)
    group = jnp.where(failed(fitness), n, rank)
    gaps = jax.vmap(partial(_gaps, group=group), in_axes=1)(jnp.asarray(fitness))
    size = jnp.bincount(group, length=n + 1)[group]
    distance = jnp.where(size <= 2, jnp.inf, gaps.mean(axis=0))
    return jnp.where(group == n, 0.0, distance)


def _gaps(values: Num[Array, "n"], group: Int[Array, "n"]) -> Float[Array, "n"]:
    """Distance between the neighbours of each value within its group.

    In units of the group's range.
    """
    n = values.shape[0]
    order = lexsort((group, n.bit_length()), (_key(values), 32))
    values = values[order]
    group = group[order]
    finite = jnp.isfinite(values)
    low = jax.ops.segment_min(jnp.where(finite, values, jnp.inf), group, n + 1)[group]
    high = jax.ops.segment_max(jnp.where(finite, values, -jnp.inf), group, n + 1)[group]
    unit = _unit(values, low, high)
    new = jnp.append(True, group[1:] != group[:-1])
    gap = jnp.append(unit[1:], jnp.inf) - jnp.append(-jnp.inf, unit[:-1])
    gap = jnp.where(new | jnp.append(new[1:], True), jnp.inf, gap)
    return jnp.zeros(n, gap.dtype).at[order].set(jnp.where(high > low, gap, 0.0))


def _unit(
    values: Num[Array, "*n"], low: Float[Array, "*#n"], high: Float[Array, "*#n"]
) -> Float[Array, "*n"]:
    """Values scaled from [low, high] to [0, 1], values beyond clipped.

    0 where the range is empty.
    """
    half = 0.5 * high - 0.5 * low  # halves, because the range of the largest floats overflows
    return jnp.where(
        half > 0,
        (0.5 * jnp.clip(values, low, high) - 0.5 * low) / jnp.where(half > 0, half, 1.0),
        0.0,
    )


def survivors(
    rank: Int[Array, "n"], crowding: Float[Array, "n"], count: int
) -> Int[Array, "count"]:
    """The `count` best rows, best first.

    By rank, then by crowding (larger is better), then by row.
    """
    return lexsort((rank, len(rank).bit_length()), (_key(-crowding), 32))[:count]


def front(fitness: Points) -> Bool[Array, "n"]:
    """Which rows no other row dominates; none if all failed.

    >>> front(jnp.array([[1.0, 2.0], [2.0, 1.0], [2.0, 2.0], [jnp.nan, 0.0]])).tolist()
    [True, True, False, False]
    """
    return (rank(fitness) == 0) & ~failed(fitness)


def front_rows(fitness: Points) -> Int[np.ndarray, "front"]:
    """The rows of the front, of an array on the host.

    It is filled up to a power of two, so that few programs are compiled.

    >>> front_rows(np.array([[1.0, 2.0], [2.0, 2.0], [2.0, 1.0]])).tolist()
    [0, 2]
    """
    fill = (1 << max(len(fitness) - 1, 0).bit_length()) - len(fitness)
    filled = np.pad(np.asarray(fitness, np.float32), ((0, fill), (0, 0)), constant_values=np.nan)
    return np.flatnonzero(_front(jnp.asarray(filled)))


def knee(fitness: Points) -> Int[Array, ""]:
    """The row of the front that lies farthest from the line through the front's extremes.

    Towards the ideal.

    Objectives are scaled to [0, 1] over the front (a constant one is 0, infinities lie on the
    ends), where the line, or the plane of more objectives, is `sum = 1`: the knee has the least
    sum. The first row wins a tie, as of a front of two points, and -1 means that every row failed,
    or there is none. A front that only bulges away from the ideal has an extreme as knee.

    >>> int(knee(jnp.array([[0.0, 10.0], [1.0, 2.0], [5.0, 1.0], [9.0, 0.0]])))
    1
    """
    if not len(fitness):
        return jnp.int32(-1)
    members = front(fitness)
    fitness = jnp.asarray(fitness)
    counted = members[:, None] & jnp.isfinite(fitness)
    low = jnp.where(counted, fitness, jnp.inf).min(axis=0, keepdims=True)
    high = jnp.where(counted, fitness, -jnp.inf).max(axis=0, keepdims=True)
    total = jnp.where(members, _unit(fitness, low, high).sum(axis=1), jnp.inf)
    return jnp.where(members.any(), jnp.argmin(total), -1)


_front = jax.jit(front)
