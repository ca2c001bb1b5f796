"""The figures of a comparison of algorithms.

Hypervolume or regret on the way, and attainment surfaces.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from jaxnas.algorithms.indicators import attainment
from jaxnas.report import plots
from jaxnas.studies.statistics import bootstrap_band

COLUMNS = 2  # of the attainment figure
LINES = ("-", "--", "-.", ":")
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


def _colour(i: int) -> str:
    return plots.CYCLE[i % len(plots.CYCLE)]


@mpl.rc_context(plots.STYLE)
def hypervolume(curves: Mapping[str, Curves], front_known: bool) -> Figure:
    """Median hypervolume against evaluations.

    With a band that holds the median with 95 % confidence.

    Where the true front is known: the regret, what is missing of the front's, on a logarithmic
    axis.
    """
    figure = Figure(figsize=(8.0, 4.5), layout="constrained")
    label = "regret (% of the front's hypervolume)" if front_known else "hypervolume (% of the box)"
    axes = figure.add_subplot(xlabel="evaluations", ylabel=label)
    for i, (name, one) in enumerate(curves.items()):
        grown = 100 - one.hypervolume if front_known else one.hypervolume
        low, high = bootstrap_band(grown, 0)
        alpha = 0.2 if len(curves) <= CROWDED else 0.1
        axes.fill_between(one.evaluations, low, high, color=_colour(i), alpha=alpha, lw=0)
        line = LINES[i // len(plots.CYCLE) % len(LINES)]
        axes.plot(
            one.evaluations, np.median(grown, axis=0), line, color=_colour(i), lw=1.8, label=name
        )
    if front_known:
        axes.set_yscale("log", nonpositive="clip")
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
    axes.legend(loc="upper right" if front_known else "lower right")
    return figure


@mpl.rc_context(plots.STYLE)
def attainment_panels(
    fitness: Mapping[str, Float[np.ndarray, "seeds n 2"]], labels: list[str]
) -> Figure:
    """A panel per algorithm.

    What the best seed, half of the seeds and every seed attain, beside the median of random search.
    """
    surfaces = {name: attained(one) for name, one in fitness.items()}
    columns = min(len(surfaces), COLUMNS)
    lines = -(-len(surfaces) // columns)
    figure = Figure(figsize=(4.4 * columns, 0.4 + 3.4 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    end = max(_last_gain(*surface) for surface in surfaces.values())
    for i, (axes, (name, surface)) in enumerate(zip(panels, surfaces.items(), strict=False)):
        places, reached = _extended(*surface, end)
        axes.fill_between(
            places, reached[0], reached[2], step="post", color=_colour(i), alpha=0.2, lw=0
        )
        for row, line, label in zip(
            reached, ("--", "-", ":"), ("best seed", "half of the seeds", "every seed"), strict=True
        ):
            axes.step(places, row, line, where="post", color=_colour(i), lw=1.5, label=label)
        if name != "random" and "random" in surfaces:
            places, reached = _extended(*surfaces["random"], end)
            axes.step(
                places,
                reached[1],
                where="post",
                color="#777777",
                lw=1,
                label="random, half of the seeds",
            )
        axes.set(title=name, xlabel=labels[1], ylabel=labels[0])
        axes.label_outer()
        if i + columns >= len(surfaces):  # the lowest of its column
            axes.set_xlabel(labels[1])
            axes.tick_params(labelbottom=True)
        axes.legend(loc="upper right", fontsize=8)
    panels[0].set_ylim(*_heights(list(surfaces.values()), end))
    for axes in panels[len(surfaces) :]:
        axes.remove()
    return figure
