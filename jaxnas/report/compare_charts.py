"""The charts of a comparison of algorithms.

Hypervolume or regret on the way, and attainment surfaces.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxnas.algorithms.indicators import attainment
from jaxnas.report.charts import COLOURS, DASHES, Chart, Mark, banded, chart, listed

CROWDED = 4  # algorithms whose bands are told apart where they overlap


class Curves(NamedTuple):
    """One algorithm: hypervolume in percent, generation by generation.

    Of the true front's or of a box.
    """

    evaluations: Int[np.ndarray, "g"]
    hypervolume: Float[np.ndarray, "seeds g"]
    # The largest standard error of an estimated one, in percent points; 0 where it is exact.
    error: float


def attained(
    fitness: Float[np.ndarray, "seeds n 2"],
) -> tuple[Float[np.ndarray, "points"], Float[np.ndarray, "3 points"]]:
    """Attainment surfaces.

    Values of objective 1, and the least of objective 0 that the best seed, half of the seeds and
    every seed reach with at most that, infinite where they do not. Only where a surface takes a
    step, and its first point.
    """
    seeds = len(fitness)
    grid, surfaces = attainment(jnp.asarray(fitness[..., ::-1]), [1, (seeds + 1) // 2, seeds])
    places = np.asarray(grid)
    reached = np.asarray(surfaces)
    # Of points with one value of objective 1.
    last = np.isfinite(places) & np.append(places[1:] > places[:-1], True)
    places = places[last]
    reached = reached[:, last]
    steps = np.append(True, (reached[:, 1:] != reached[:, :-1]).any(axis=0))
    return places[steps], reached[:, steps]


def _last_gain(places: np.ndarray, reached: np.ndarray) -> float:
    """Where the last of the surfaces comes to rest."""
    return float(places[[np.argmin(row) for row in reached]].max())


def _extended(places: np.ndarray, reached: np.ndarray, end: float) -> tuple[np.ndarray, np.ndarray]:
    """The surfaces as far as `end`, and not drawn where nothing is attained."""
    inside = places <= end
    reached = np.where(np.isfinite(reached), reached, np.nan)[:, inside]
    return np.append(places[inside], end), np.concatenate([reached, reached[:, -1:]], axis=1)


def _heights(surfaces: Sequence[tuple[np.ndarray, np.ndarray]], end: float) -> tuple[float, float]:
    """From the best value on to what every seed attains within the first twentieth of the way.

    Beyond it a surface is a wall.
    """
    start = min(places[0] for places, _ in surfaces)
    there = [
        reached[:, max(np.searchsorted(places, start + (end - start) / 20, side="right") - 1, 0)]
        for places, reached in surfaces
    ]
    low = min(float(reached[0].min()) for _, reached in surfaces)
    high = max(float(column[np.isfinite(column)].max(initial=low)) for column in there)
    margin = 0.05 * (high - low or 1)
    return low - margin, high + margin


def hypervolume(curves: Mapping[str, Curves], front_known: bool) -> Chart:
    """Median hypervolume against evaluations; of a known front the regret, on a log axis."""
    label = "regret (% of the front's hypervolume)" if front_known else "hypervolume (% of the box)"
    marks: list[Mark] = []
    for i, (name, one) in enumerate(curves.items()):
        grown = 100 - one.hypervolume if front_known else one.hypervolume
        marks += banded(name, i, one.evaluations, grown)
    y = {"log": front_known, "short": "regret (%)" if front_known else "hypervolume (%)"}
    x = {"integer": True, "zero": True}
    return chart("evaluations", label, marks, x=x, y=y, share=0.55)


def attainments(fitness: Mapping[str, Float[np.ndarray, "seeds n 2"]], labels: list[str]) -> Chart:
    """What half of the seeds of each algorithm attain, and a band from the best to every seed."""
    surfaces = {name: attained(one) for name, one in fitness.items()}
    end = max(_last_gain(*surface) for surface in surfaces.values())
    marks: list[Mark] = []
    for i, (name, surface) in enumerate(surfaces.items()):
        places, (best, half, every) = _extended(*surface, end)
        common = {"name": name, "color": i % COLOURS, "x": listed(places), "step": True}
        dash = DASHES[i // COLOURS % len(DASHES)]
        both = np.isfinite(best) & np.isfinite(every)
        there = {"x": listed(places[both])}
        alpha = 0.16 if len(surfaces) <= CROWDED else 0.08
        band = {"type": "band", **common, **there, "mute": True, "alpha": alpha}
        marks.append(band | {"low": listed(best[both]), "high": listed(every[both])})
        marks.append({"type": "line", **common, "y": listed(half), "dash": dash})
    low, high = _heights([*surfaces.values()], end)
    return chart(labels[1], labels[0], marks, y={"domain": [low, high]}, share=0.6, tallest=560)
