"""What algorithms say of themselves (`figures_of`): curves, and predicted against observed."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxnas.predictors.metrics import kendall
from jaxnas.report import plots
from jaxnas.studies.statistics import bootstrap_band

PREDICTED = "predicted"  # the figure that is drawn against the fitness
COLUMNS = 2
LABELS = {  # in the order of the panels; others come after these
    "reward": "mean reward of a generation",
    "entropy": "entropy (share of the most)",
    "acquisition": "best acquisition value",
}


class Said(NamedTuple):
    """The figures of one algorithm, and its evaluations after each generation."""

    evaluations: Int[np.ndarray, "g"]
    figures: Mapping[str, Float[np.ndarray, "seeds g *each"]]
    fitness: Float[np.ndarray, "seeds n objectives"]

    @property
    def curves(self) -> dict[str, Float[np.ndarray, "seeds g"]]:
        """Those of a number each generation, if any is known."""
        return {
            name: array
            for name, array in self.figures.items()
            if array.ndim == 2 and np.isfinite(array).any()
        }

    @property
    def predicted(self) -> Float[np.ndarray, "seeds n objectives"] | None:
        """What was expected of each candidate, NaN where nothing was; None: of no candidate."""
        array = self.figures.get(PREDICTED)
        seeds, n, objectives = self.fitness.shape
        # Of a formulation one column is predicted, which nobody has observed.
        if array is None or array.shape[-1] < objectives or not np.isfinite(array).any():
            return None
        return array.reshape(seeds, n, -1)[..., :objectives]

    def pairs(self, objective: int) -> list[Float[np.ndarray, "2 k"]]:
        """Of each seed, what was predicted and observed where both are known."""
        assert self.predicted is not None
        both = np.stack([self.predicted[..., objective], self.fitness[..., objective]], axis=1)
        return [each[:, np.isfinite(each).all(axis=0)] for each in both]

    def correlation(self, objective: int) -> float:
        """Kendall's tau of predicted and observed, the median of the seeds."""
        return float(np.median([kendall(*pair) for pair in self.pairs(objective)]))


def drawn(said: Mapping[str, Said], labels: Sequence[str]) -> dict[str, Figure]:
    """The figures that there is anything to draw in: `curves`, `predictions`.

    The colour of an algorithm is that of its place among all.
    """
    found = dict.fromkeys(name for one in said.values() for name in one.curves)
    names = [
        *(name for name in LABELS if name in found),
        *(name for name in found if name not in LABELS),
    ]
    figures = {"curves": curves(said, names)} if names else {}
    if any(one.predicted is not None for one in said.values()):
        figures["predictions"] = predictions(said, labels)
    return figures


@mpl.rc_context(plots.STYLE)
def curves(said: Mapping[str, Said], names: Sequence[str]) -> Figure:
    """A panel a figure: the median of the seeds after each generation, and its 95 % band."""
    figure, panels = _panels(len(names), 3.2)
    for axes, name in zip(panels, names, strict=True):
        axes.set(xlabel="evaluations", ylabel=LABELS.get(name, name))
        for i, (algorithm, one) in enumerate(said.items()):
            if name in one.curves:
                _curve(axes, one.evaluations, one.curves[name], i, algorithm)
        values = [one.curves[name] for one in said.values() if name in one.curves]
        if name == "acquisition" and all(np.nanmin(each) > 0 for each in values):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
        if len(said) > 1:
            axes.legend(loc="best", fontsize=8)
    return figure


def _curve(
    axes: Axes,
    evaluations: Int[np.ndarray, "g"],
    values: Float[np.ndarray, "seeds g"],
    place: int,
    label: str,
) -> None:
    color = plots.CYCLE[place % len(plots.CYCLE)]
    if len(values) > 1:
        low, high = bootstrap_band(values, 0)
        axes.fill_between(evaluations, low, high, color=color, alpha=0.2, lw=0)
    axes.plot(evaluations, np.median(values, axis=0), color=color, lw=1.6, label=label)


@mpl.rc_context(plots.STYLE)
def predictions(said: Mapping[str, Said], labels: Sequence[str]) -> Figure:
    """A panel an objective: predicted against observed, all seeds together."""
    figure, panels = _panels(len(labels), 4.2)
    predicting = {name: one for name, one in said.items() if one.predicted is not None}
    for objective, (axes, label) in enumerate(zip(panels, labels, strict=True)):
        axes.set(title=label, xlabel="observed", ylabel="predicted")
        shown = []
        for i, (algorithm, one) in enumerate(said.items()):
            if algorithm not in predicting:
                continue
            points = np.concatenate(one.pairs(objective), axis=1)
            points = points[:, :: -(-points.shape[1] // (plots.DOTS // len(predicting))) or 1]
            color = plots.CYCLE[i % len(plots.CYCLE)]
            axes.scatter(*points[::-1], s=10, color=color, alpha=0.5, lw=0, label=algorithm)
            shown.append(points)
        ends = _ends(np.concatenate(shown, axis=1))
        axes.plot(ends, ends, color="#555555", lw=1, label="predicted = observed")
        axes.legend(loc="upper left", fontsize=8)
    return figure


def _ends(points: Float[np.ndarray, "2 k"]) -> Float[np.ndarray, "2"]:
    """Of the line on which both agree: the range of what was observed."""
    return np.array([points[1].min(), points[1].max()])


def _panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    size = (4.4 * columns if columns > 1 else 6.4, height * rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in panels[count:]:
        axes.remove()
    return figure, panels[:count]
