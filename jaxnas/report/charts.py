"""The figures of a page: arrays in, what `page/chart.js` draws out, as JSON has it.

A chart is two axes and a list of marks. Its colours are the page's, so that it is dark where the
page is. Those for papers are drawn by matplotlib (`plots`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxnas.report.points import DOTS, Chosen, Points
from jaxnas.report.said import Said, figure_names
from jaxnas.studies.statistics import bootstrap_band

Chart = dict[str, Any]
Mark = dict[str, Any]
SEARCH, SAMPLED, DEVICE = range(3)  # colours of the page
COLOURS = 7
DASHES = ("none", "6 3", "2 3", "8 3 2 3")


def listed(values: Any, digits: int = 5) -> list[float | None]:
    """Numbers of so many digits; None where one is not finite."""
    return [float(f"{x:.{digits}g}") if np.isfinite(x) else None for x in np.asarray(values, float)]


def thinned(count: int) -> slice:
    """Every n-th of so many, such that at most `DOTS` are left."""
    return slice(None, None, max(-(-count // DOTS), 1))


def chart(x: str, y: str, marks: Sequence[Mark], /, **more: Any) -> Chart:
    """A chart; `more` may hold `share`, its height over its width."""
    axes = {"x": {"label": x, **more.pop("x", {})}, "y": {"label": y, **more.pop("y", {})}}
    return axes | {"marks": [*marks], **more}


def line(name: str, color: int, x: Any, y: Any, **more: Any) -> Mark:
    """A line through points."""
    return {"type": "line", "name": name, "color": color, "x": listed(x), "y": listed(y), **more}


def dots(name: str, color: int, x: Any, y: Any, **more: Any) -> Mark:
    """A dot for each point."""
    return {"type": "dots", "name": name, "color": color, "x": listed(x), "y": listed(y), **more}


def banded(name: str, place: int, x: Any, values: Float[np.ndarray, "seeds g"]) -> list[Mark]:
    """The median of the seeds, and where it lies with 95 % confidence."""
    color = place % COLOURS
    dash = DASHES[place // COLOURS % len(DASHES)]
    low, high = bootstrap_band(values, 0) if len(values) > 1 else (values[0], values[0])
    ends = {"low": listed(low), "high": listed(high)}
    band = {"type": "band", "name": name, "color": color, "x": listed(x), "mute": True, **ends}
    return [
        *([band] if len(values) > 1 else []),
        line(name, color, x, np.median(values, axis=0), dash=dash),
    ]


def staircase(points: Points, last: float) -> tuple[np.ndarray, np.ndarray]:
    """The best accuracy for every budget of the cost, as far as `last`."""
    points = points.of(np.argsort(points.cost, kind="stable"))
    cost = np.append(points.cost, [last] * len(points.cost[-1:]))
    return cost, np.append(points.accuracy, points.accuracy[-1:])


def pareto(
    found: Points,
    front: Int[np.ndarray, "front"],
    sampled: tuple[Points, Int[np.ndarray, "m"]] | None,
    chosen: Chosen | None,
    label: str,
    limit: float | None = None,
) -> Chart:
    """Accuracy against a cost: candidates, fronts, and the chosen networks with error bars.

    `sampled`: random sampling and the rows of its front.
    """
    costs = [found.cost, *([sampled[0].cost] if sampled else [])]
    last = float(np.nanmax(np.concatenate(costs)))
    marks = []
    if sampled:
        points, rows = sampled
        some = np.arange(len(points.cost))[thinned(len(points.cost))]
        where = points.of(some)
        tips = {"rows": "random", "index": some.tolist(), "square": True}
        marks.append(dots("random sampling", SAMPLED, where.cost, where.accuracy, size=3.5, **tips))
        steps = {"step": True, "dash": "6 4", "mute": True}
        marks.append(
            line("front of random sampling", SAMPLED, *staircase(points.of(rows), last), **steps)
        )
    marks.append(dots("search", SEARCH, found.cost, found.accuracy, size=4.5, rows="found"))
    best = found.of(front)
    marks.append(
        line("front of the search", SEARCH, *staircase(best, last), step=True, width=2.4, mute=True)
    )
    at_front = dots("front of the search", SEARCH, best.cost, best.accuracy, size=7, alpha=1)
    marks.append(at_front | {"rows": "found", "index": front.tolist()})
    if limit is not None:
        marks.append({"type": "rule", "name": f"limit: {limit:g}", "color": DEVICE, "x": limit})
    marks += _chosen(chosen) if chosen else []
    return chart(label, "accuracy (%)", marks, share=0.6, tallest=520)


def _chosen(chosen: Chosen) -> list[Mark]:
    """A disc where a network was tested and measured, its bars, and a ring where it was found."""
    searched, final = chosen.searched, chosen.final
    x, y = listed(final.cost), listed(final.accuracy)
    low, high = (
        (100 * (1 - chosen.error_interval)).min(1),
        (100 * (1 - chosen.error_interval)).max(1),
    )
    name = "chosen: tested and measured, with intervals"
    before = {"x": listed(searched.cost), "y": listed(searched.accuracy)}
    there = {"type": "spans", "name": name, "x": x, "y": y, "mute": True}
    ends = {"ylow": listed(low), "yhigh": listed(high)}
    reach = {
        "xlow": listed(chosen.cost_interval.min(1)),
        "xhigh": listed(chosen.cost_interval.max(1)),
    }
    ring = "chosen: as the search had them"
    return [
        {**there, "name": ring, "xto": before["x"], "yto": before["y"], "alpha": 0.45, "width": 1},
        {"type": "rings", "name": ring, **before, "mute": True},
        {**there, **ends, **reach},
        {
            "type": "discs",
            "name": name,
            "x": x,
            "y": y,
            "rows": "chosen",
            "letters": [label.partition(" ")[0] for label in chosen.labels],
        },
    ]


def hypervolume(found: Float[np.ndarray, "g"], sampled: Float[np.ndarray, "h"]) -> Chart:
    """Hypervolume, in %, after every generation, and of random sampling likewise."""
    marks = [
        line("search", SEARCH, np.arange(1, len(found) + 1), found, width=2.4),
        line(
            "random sampling, as many evaluations",
            SAMPLED,
            np.arange(1, len(sampled) + 1),
            sampled,
            dash="6 4",
        ),
    ]
    marks = [mark for mark in marks if mark["x"]]
    y = {"zero": True, "short": "hypervolume (%)"}
    x = {"integer": True}
    return chart("generation", "hypervolume (% of the box)", marks, x=x, y=y, share=0.42)


def doubt(
    predicted: Points,
    front: Bool[np.ndarray, "n"],
    interval: Float[np.ndarray, "n 2"],
    measured: Points,
    measured_front: Bool[np.ndarray, "m"],
) -> Chart:
    """The front as predicted, with its intervals (ms), and the front of what was measured."""
    last = float(np.nanmax(np.concatenate([predicted.cost, measured.cost])))
    some = predicted.of(thinned(len(predicted.cost)))
    best = predicted.of(front)
    ends = np.clip(interval[front], 0, 2 * last)  # of few measurements they may be infinite
    spans = {"xlow": listed(ends[:, 0]), "xhigh": listed(ends[:, 1]), "mute": True}
    there = {"x": listed(best.cost), "y": listed(best.accuracy)}
    name = "intervals of the predicted front"
    marks = [
        dots("predicted", 5, some.cost, some.accuracy, size=4),
        {"type": "spans", "name": name, "color": SEARCH, "alpha": 0.35, "width": 3, **there}
        | {**spans, "free": True},
        line(
            "front as predicted", SEARCH, *staircase(best, last), step=True, dash="6 4", mute=True
        ),
        dots("measured", SAMPLED, measured.cost, measured.accuracy, size=6, alpha=0.9, square=True),
        line(
            "front as measured",
            SAMPLED,
            *staircase(measured.of(measured_front), last),
            step=True,
            mute=True,
        ),
    ]
    return chart("latency (ms)", "accuracy on the search images (%)", marks, share=0.6)


def predictor(splits: Mapping[str, Float[np.ndarray, "_ 2"]], said: str = "measured") -> Chart:
    """Predicted against measured (or simulated: `said`) latency; the band is 10 % to each side."""
    everything = np.concatenate([*splits.values()])
    ends = np.array([0.95 * np.nanmin(everything), 1.05 * np.nanmax(everything)])
    band = {"type": "band", "name": "within 10 %", "color": 6, "x": listed(ends), "mute": True}
    marks = [
        band | {"low": listed(0.9 * ends), "high": listed(1.1 * ends), "free": True},
        line(f"predicted = {said}", 6, ends, ends, width=1, mute=True),
        *(
            dots(split, i, *rows.T, size=7.5, alpha=0.75, square=i == 1)
            for i, (split, rows) in enumerate(splits.items())
        ),
    ]
    axis = {"domain": ends.tolist()}
    label = f"{said} latency (ms)"
    return chart(label, "predicted latency (ms)", marks, x=axis, y=axis, share=0.9, tallest=560)


def training(
    step: Int[np.ndarray, "n"], loss: Float[np.ndarray, "n"], loss_largest: Float[np.ndarray, "n"]
) -> Chart:
    """Training loss of the supernet; the largest's is NaN where none is trained."""
    some = thinned(2 * len(step))
    marks = [line("all subnets of a step", SEARCH, step[some], loss[some], width=1.6)]
    if np.isfinite(loss_largest).any():
        marks.append(
            line("largest subnet", SAMPLED, step[some], loss_largest[some], width=1.6, dash="6 3")
        )
    return chart("training step", "loss", marks, share=0.36)


def finetuning(curves: Mapping[str, Float[np.ndarray, "_ 2"]]) -> Chart:
    """Accuracy on the search split of each chosen network by epochs: rows of [epoch, accuracy]."""
    marks = [
        line(name, i % COLOURS, rows[:, 0], 100 * rows[:, 1], markers=True)
        for i, (name, rows) in enumerate(curves.items())
        if len(rows)
    ]
    x = {"integer": True}
    label = "accuracy on the search images (%)"
    return chart("epoch of fine-tuning", label, marks, x=x, share=0.36)


def entropies(curves: Mapping[str, Float[np.ndarray, "_ 2"]]) -> Chart:
    """How undecided a search by gradient is: rows of [step, entropy as a share of the most]."""
    marks = [
        line(name, i % COLOURS, rows[:, 0], 100 * rows[:, 1], width=1.4)
        for i, (name, rows) in enumerate(curves.items())
    ]
    y = {"zero": True}
    label = "entropy (% of all undecided)"
    return chart("training step", label, marks, y=y, share=0.4)


def expected_costs(
    costs: Mapping[str, Float[np.ndarray, "_ 2"]], targets: Mapping[str, Float[np.ndarray, "_ 2"]]
) -> Chart:
    """Each architecture's expected cost over the steps, and dotted its target."""
    marks = []
    for i, (name, rows) in enumerate(costs.items()):
        marks.append(line(name, i % COLOURS, *rows.T, width=1.6))
        if name in targets:
            marks.append(line(name, i % COLOURS, *targets[name].T, dash="2 3", mute=True))
    return chart("training step", "expected cost", marks, y={"zero": True}, share=0.4)


def algorithm_curves(said: Mapping[str, Said]) -> dict[str, Chart]:
    """A chart a figure of the algorithms: medians after each generation, and their 95 % bands."""
    charts = {}
    for name, label in figure_names(said).items():
        marks: list[Mark] = []
        for i, (algorithm, one) in enumerate(said.items()):
            if name in one.curves:
                marks += banded(algorithm or name, i, one.evaluations, one.curves[name])
        values = [one.curves[name] for one in said.values() if name in one.curves]
        log = name == "acquisition" and all(np.nanmin(each) > 0 for each in values)
        charts[f"curve-{name}"] = chart("evaluations", label, marks, y={"log": log}, share=0.5)
    return charts


def predictions(said: Mapping[str, Said], labels: Sequence[str]) -> dict[str, Chart]:
    """A chart an objective: predicted against observed, all seeds together."""
    predicting = {name: one for name, one in said.items() if one.predicted is not None}
    charts = {}
    for at, label in enumerate(labels if predicting else ()):
        marks, shown = [], []
        for i, (name, one) in enumerate(said.items()):
            if name in predicting:
                points = np.concatenate(one.pairs(at), axis=1)
                points = points[:, thinned(len(predicting) * points.shape[1])]
                marks.append(dots(name or "candidates", i % COLOURS, points[1], points[0], size=4))
                shown.append(points)
        observed = np.concatenate(shown, axis=1)[1]
        ends = [observed.min(), observed.max()]
        marks.append(line("predicted = observed", 6, ends, ends, width=1, mute=True))
        charts[f"prediction-{at}"] = chart(f"observed: {label}", "predicted", marks, share=0.7)
    return charts
