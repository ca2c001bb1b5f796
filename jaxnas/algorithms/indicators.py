"""How good a set of points is.

Hypervolume, IGD+, attainment surfaces.

Every function is pure, jits and vmaps. Objectives are minimised. Rows with a NaN failed and count
for nothing.
"""

from collections.abc import Sequence
from math import gamma, pi

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnas.algorithms.pareto import failed
from jaxnas.errors import UserError
from jaxnas.types import Fitness

CELLS = 1 << 24  # of the grid below; 4,096 points of four objectives


def hypervolume(fitness: Fitness, reference: Float[Array, "objectives"]) -> Float[Array, ""]:
    """Volume that one to four objectives dominate below `reference`, exact.

    Points beyond it or failed contribute nothing.

    A sweep along the last objective over a grid of the first ones, whose cells hold how deep the
    points passed so far reach on the axis that is left: O(n log n), O(n^2), O(n^3) time and O(n),
    O(n), O(n^2) memory for two, three, four objectives. Points at minus infinity give infinity, as
    do those below a reference that is infinite.

    Raises:
        UserError: another number of objectives, or too many points of four.

    >>> float(hypervolume(jnp.array([[1.0, 2.0], [2.0, 1.0], [5.0, 0.0]]), jnp.array([3.0, 3.0])))
    3.0
    """
    n, objectives = fitness.shape
    if objectives not in (1, 2, 3, 4):
        raise UserError(
            f"hypervolume takes 1 to 4 objectives, got {objectives}; leave out some, or use "
            "statistics.estimated_curve"
        )
    if objectives == 1:
        return jnp.maximum(
            reference[0] - jnp.where(jnp.isnan(fitness), reference, fitness).min(), 0
        )
    if n ** (objectives - 2) > CELLS:
        raise UserError(
            f"hypervolume of 4 objectives takes at most {int(CELLS**0.5)} points, got {n}; give it "
            "the front alone"
        )
    if not n:
        return jnp.zeros((), jnp.float32)
    inside = (fitness < reference).all(axis=1, keepdims=True)  # False for NaN
    infinite = (inside & ((fitness == -jnp.inf) | (reference == jnp.inf))).any()
    reference = jnp.where(jnp.isinf(reference), 0, reference)
    points = jnp.where(inside & jnp.isfinite(fitness), fitness, reference)
    # The range of the largest floats overflows.
    points = points / 8
    end = reference / 8
    # Of each axis, in powers of two, which round nothing.
    scale = jnp.frexp(end - points.min(axis=0))[1]
    orders = jnp.argsort(points, axis=0)
    ordered = jnp.take_along_axis(points, orders, axis=0)
    # Of the slots between neighbours.
    widths = jnp.ldexp(jnp.append(ordered[1:], end[None], axis=0) - ordered, -scale)
    depths = jnp.ldexp(end[-2] - points[:, -2], -scale[-2])
    places = jnp.argsort(orders, axis=0)[:, :-2]
    passed = orders[:, -1]
    areas = (
        _areas(depths[passed], places[passed], widths[:, :-2])
        if objectives > 2
        else jax.lax.cummax(depths[passed])
    )
    return jnp.where(infinite, jnp.inf, jnp.ldexp((areas * widths[:, -1]).sum(), (scale + 3).sum()))


def _areas(
    depths: Float[Array, "n"], places: Int[Array, "n axes"], widths: Float[Array, "n axes"]
) -> Float[Array, "n"]:
    """Volume below the first 1, 2, ... n points.

    A point reaches over all slots from its own on, on every axis.
    """
    n, axes = places.shape
    slots = jnp.indices((n,) * axes, sparse=True)

    def add(grid, point):
        depth, place = point
        for slot, first in zip(slots, place, strict=True):
            depth = jnp.where(slot >= first, depth, 0)
        grid = area = jnp.maximum(grid, depth)
        for width in widths.T:
            area = jnp.matmul(width, area, precision="highest")
        return grid, area

    return jax.lax.scan(add, jnp.zeros((n,) * axes, depths.dtype), (depths, places))[1]


def sobol_directions(objectives: int, count: int, seed: int) -> Float[np.ndarray, "count m"]:
    """Unit vectors without a negative part: scrambled Sobol points, made normal, of length 1."""
    from scipy import stats  # most of a second of import

    drawn = stats.qmc.Sobol(objectives, rng=np.random.default_rng(seed)).random(count)
    normal = np.maximum(np.abs(stats.norm.ppf(drawn.clip(1e-9, 1 - 1e-9))), 1e-9)
    return (normal / np.linalg.norm(normal, axis=1, keepdims=True)).astype(np.float32)


def volume_by_reach(objectives: int) -> float:
    """What a dominated volume is, divided by the mean of `reach ** objectives`.

    Reaches are how far it extends from the reference along evenly spread directions (Deng & Zhang,
    IEEE Transactions on Evolutionary Computation 23, 2019, equation 12).
    """
    return pi ** (objectives / 2) / (2**objectives * gamma(objectives / 2 + 1))


def igd_plus(fitness: Fitness, front: Float[Array, "m objectives"]) -> Float[Array, ""]:
    """IGD+: how much worse than a point of a known, finite front the nearest row is.

    As a mean over the front; infinity if all failed.

    Ishibuchi et al., Modified distance calculation in generational distance and inverted
    generational distance, 2015.

    >>> float(igd_plus(jnp.array([[1.0, 2.0], [2.0, 0.0]]), jnp.array([[0.0, 2.0], [2.0, 0.0]])))
    0.5
    """
    rows = jnp.where(failed(fitness)[:, None], jnp.inf, fitness)
    worse = jnp.maximum(rows[None] - front[:, None], 0)
    return jnp.sqrt((worse**2).sum(axis=-1).min(axis=1)).mean()


def attainment(
    fitness: Float[Array, "seeds n 2"], levels: Sequence[int]
) -> tuple[Float[Array, "x"], Float[Array, "levels x"]]:
    """Empirical attainment surfaces.

    From each x on, the least y that at least `level` of the seeds attain; infinity where fewer do.

    Step functions over one grid, the x of all points, ascending; values repeat, and failed points
    are at infinity. Grunert da Fonseca et al., Inferential performance assessment of stochastic
    optimisers and the attainment function, 2001.

    Raises:
        UserError: a level outside 1..seeds.

    >>> x, y = attainment(jnp.array([[[0.0, 2.0], [1.0, 0.0]], [[0.0, 3.0], [2.0, 1.0]]]), [1, 2])
    >>> x.tolist(), y.tolist()
    ([0.0, 0.0, 1.0, 2.0], [[2.0, 2.0, 0.0, 0.0], [3.0, 3.0, 3.0, 1.0]])
    """
    seeds = fitness.shape[0]
    if not all(1 <= level <= seeds for level in levels):
        raise UserError(
            f"levels of attainment must be between 1 and {seeds}, the number of seeds, got "
            f"{list(levels)}"
        )
    points = jnp.where(jnp.isnan(fitness).any(axis=-1, keepdims=True), jnp.inf, fitness)
    grid = jnp.sort(points[..., 0].reshape(-1))

    def staircase(points):
        x, y = points[jnp.argsort(points[:, 0])].T
        passed = jnp.searchsorted(x, grid, side="right")
        return jnp.append(jnp.inf, jax.lax.cummin(y)).astype(y.dtype)[passed]

    attained = jnp.sort(jax.vmap(staircase)(points), axis=0)
    return grid, attained[jnp.asarray(levels, jnp.int32) - 1]
