"""Several objectives made one.

Evenly spread directions, a common scale, and what a fitness is worth along a direction.
"""

import itertools
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnas.algorithms import pareto
from jaxnas.types import Fitness

LARGEST = 1e30  # of a scaled objective, so that nothing overflows


def das_dennis(objectives: int, divisions: int) -> Float[np.ndarray, "directions objectives"]:
    """All directions of multiples of 1/divisions that add up to 1.

    In lexicographic order (Das & Dennis 1998).

    >>> das_dennis(2, 2).tolist()
    [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]
    """
    places = divisions + objectives - 1
    bars = np.array(list(itertools.combinations(range(places), objectives - 1)), np.int64).reshape(
        math.comb(places, objectives - 1), -1
    )
    gaps = (
        np.diff(np.pad(bars, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, places))), axis=1) - 1
    )
    return (gaps / divisions).astype(np.float32)


def divisions_within(objectives: int, most: int) -> int:
    """The most divisions that give at most `most` directions.

    0 if one division already gives more.
    """
    if objectives == 1:
        return 1  # one direction however often it is divided
    return next(d for d in itertools.count() if math.comb(d + objectives, objectives - 1) > most)


def two_layers(objectives: int, most: int) -> Float[np.ndarray, "directions objectives"]:
    """Evenly spread directions, at most `most` (but one for each axis).

    Where all lie on the edge, half-way inside a second layer.

    Deb & Jain 2014, section V: with fewer divisions than objectives every direction has a 0.
    """
    divisions = max(divisions_within(objectives, most), 1)
    outer = das_dennis(objectives, divisions)
    inner = (
        divisions_within(objectives, most - len(outer))
        if divisions < objectives and most > len(outer)
        else 0
    )
    if not inner:
        return outer
    return np.concatenate([outer, das_dennis(objectives, inner) / 2 + np.float32(0.5 / objectives)])


def nothing_extreme(objectives: int) -> Float[Array, "2 objectives"]:
    """The extremes before anything was seen."""
    return jnp.stack(
        [jnp.full(objectives, jnp.inf, jnp.float32), jnp.full(objectives, -jnp.inf, jnp.float32)]
    )


def extremes(seen: Float[Array, "2 objectives"], fitness: Fitness) -> Float[Array, "2 objectives"]:
    """The ideal point of everything seen, and the nadir point of `fitness`.

    The worst of its front, or of all where that has no extent.

    Rows of `fitness` that are not finite do not count. (Of three objectives and more the pay-off
    table is no estimate of the nadir point: its rows may all be least in the same one.)
    """
    finite = jnp.isfinite(fitness).all(axis=1, keepdims=True)
    ideal = jnp.minimum(seen[0], jnp.where(finite, fitness, jnp.inf).min(axis=0))
    front = pareto.front(jnp.where(finite, fitness, jnp.nan))[:, None]
    of_front, of_all = (jnp.where(rows, fitness, -jnp.inf).max(axis=0) for rows in (front, finite))
    return jnp.stack([ideal, jnp.where(of_front > ideal, of_front, of_all)])


def unit(fitness: Fitness, extremes: Float[Array, "2 objectives"]) -> Fitness:
    """Objectives scaled such that the ideal point is 0 and the nadir point 1; NaN in, NaN out."""
    ideal = jnp.where(jnp.isfinite(extremes[0]), extremes[0], 0.0)
    room = jnp.minimum(extremes[1] - ideal, LARGEST)
    return jnp.clip((fitness - ideal) / jnp.where(room > 0, room, 1.0), 0.0, LARGEST)


def tchebycheff(
    unit: Float[Array, "*n objectives"], weights: Float[Array, "*k objectives"]
) -> Float[Array, "*nk"]:
    """The largest weighted objective.

    A weight of 0 counts as 1e-6, so that no objective is ignored.
    """
    return (jnp.maximum(weights, 1e-6) * unit).max(axis=-1)


def augmented_tchebycheff(
    unit: Float[Array, "*n objectives"], weights: Float[Array, "*k objectives"]
) -> Float[Array, "*nk"]:
    """The largest weighted objective and 0.05 times their sum (Knowles 2006).

    That tells apart what ties in the largest.
    """
    return tchebycheff(unit, weights) + 0.05 * weighted_sum(unit, weights)


def weighted_sum(
    unit: Float[Array, "*n objectives"], weights: Float[Array, "*k objectives"]
) -> Float[Array, "*nk"]:
    """Finds only the convex parts of a front."""
    return (weights * unit).sum(axis=-1)


SCALARS = {
    "tchebycheff": tchebycheff,
    "augmented_tchebycheff": augmented_tchebycheff,
    "weighted_sum": weighted_sum,
}


def scalars(
    kind: str,
    fitness: Fitness,
    extremes: Float[Array, "2 objectives"],
    weights: Float[Array, "*k objectives"],
) -> Float[Array, "*k n"]:
    """What every row of `fitness` is worth under each weight, from 0, less is better.

    Infinity for failed rows only.
    """
    value = SCALARS[kind](unit(fitness, extremes), weights[..., None, :])
    return jnp.where(pareto.failed(fitness), jnp.inf, value)
