"""The figures of a report.

Arrays in, a matplotlib `Figure` out, and how a figure becomes SVG inside a page.

Names of networks come from strangers: mathematics in text is off, and text is drawn as outlines,
never written as text.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Okabe and Ito's palette, told apart by colour-blind readers; yellow is left out, for it is faint
# on white
BLUE = "#0072B2"
VERMILLION = "#D55E00"
GREEN = "#009E73"
PURPLE = "#CC79A7"
ORANGE = "#E69F00"
SKY = "#56B4E9"
BLACK = "#000000"
CYCLE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLE: dict[Any, Any] = {
    "text.parse_math": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "jaxnas",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "axes.axisbelow": True,
    "legend.frameon": False,
}
DOTS = 4000  # of one kind in a figure, at most
WITHOUT_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


class Points(NamedTuple):
    """Networks in a plot of accuracy against a cost."""

    error: Float[np.ndarray, "n"]  # as a fraction
    cost: Float[np.ndarray, "n"]  # latency in ms, or another

    @property
    def accuracy(self) -> Float[np.ndarray, "n"]:
        """In %."""
        return 100 * (1 - self.error)

    def of(self, rows) -> "Points":
        """Those that an index or a mask names."""
        return Points(self.error[rows], self.cost[rows])


def cycled() -> Iterator[tuple[str, str]]:
    """Colours and markers, in an order that stays."""
    return zip(CYCLE, MARKERS, strict=True)


def axes_of(
    xlabel: str, ylabel: str, size: tuple[float, float] = (8.0, 4.5)
) -> tuple[Figure, Axes]:
    """A figure of one plot."""
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel)
    return figure, axes


def _draw_candidates(axes: Axes, points: Points, color: str, alpha: float, who: str) -> None:
    """A dot for each candidate.

    Of more than `DOTS` every n-th, for each dot is an element of the page.
    """
    count = len(points.cost)
    every = max(-(-count // DOTS), 1)
    drawn = points.of(slice(None, None, every))
    label = f"{who}, {count} candidates"
    if every > 1:
        label += f", {len(drawn.cost)} of them drawn"
    axes.scatter(drawn.cost, drawn.accuracy, s=9, color=color, alpha=alpha, lw=0, label=label)


def _draw_front(axes: Axes, front: Points, last: float, color: str, line: str, label: str) -> None:
    """The best accuracy for every budget of the cost: a staircase that goes on to `last`."""
    front = front.of(np.argsort(front.cost, kind="stable"))
    accuracy = np.append(front.accuracy, front.accuracy[-1:])
    cost = np.append(front.cost, [last] * len(front.cost[-1:]))
    axes.step(cost, accuracy, line, where="post", color=color, lw=1.8, label=label)


class Chosen(NamedTuple):
    """The chosen networks in a plot of accuracy against a cost.

    As the search had them, and as they were tested and measured.
    """

    searched: Points
    final: Points
    error_interval: Float[np.ndarray, "k 2"]  # 95 %, of the tested error
    # Of the measured cost; the cost twice where it is exact.
    cost_interval: Float[np.ndarray, "k 2"]
    labels: Sequence[str]


def _mark_chosen(axes: Axes, chosen: Chosen) -> None:
    """Every chosen network as a black disc with its letter where it was measured.

    It is joined to a ring where the search had it.
    """
    searched, final = chosen.searched, chosen.final
    cost = final.cost
    accuracy = final.accuracy
    axes.plot(
        np.stack([searched.cost, cost]),
        np.stack([searched.accuracy, accuracy]),
        "-",
        color="#777777",
        lw=0.8,
        zorder=3,
    )
    axes.plot(
        searched.cost,
        searched.accuracy,
        "o",
        mfc="none",
        mec=BLACK,
        ms=7,
        label="chosen, as the search had them",
    )
    bars = _bars(accuracy, 100 * (1 - chosen.error_interval)), _bars(cost, chosen.cost_interval)
    axes.errorbar(cost, accuracy, *bars, fmt=".", color=BLACK, lw=1, capsize=3, zorder=4)
    shared: dict[tuple[float, float], str] = {}
    for i, place in enumerate(zip(cost.tolist(), accuracy.tolist(), strict=True)):
        if np.isfinite(place).all():
            shared[place] = shared.get(place, "") + letter(i)
    for (x, y), letters in shared.items():
        box = {
            "boxstyle": "circle,pad=0.25" if len(letters) == 1 else "round,pad=0.25",
            "fc": BLACK,
            "ec": "white",
        }
        axes.text(
            x,
            y,
            letters,
            color="white",
            weight="bold",
            size=9,
            ha="center",
            va="center",
            bbox=box,
            zorder=5,
            clip_on=False,
        )
    for i, label in enumerate(chosen.labels):
        axes.plot([], [], " ", label=f"{letter(i)}: {label}")


def _bars(
    value: Float[np.ndarray, "k"], interval: Float[np.ndarray, "k 2"]
) -> Float[np.ndarray, "2 k"]:
    """How far an interval reaches below and above a value.

    Not at all to a side where the value is beyond it.
    """
    return np.maximum(0, np.stack([value - interval.min(axis=1), interval.max(axis=1) - value]))


def letter(i: int) -> str:
    """The letter that stands for the i-th chosen network in every figure and table.

    A, B, ... Z, then numbers.
    """
    return chr(ord("A") + i) if i < 26 else str(i + 1)


@mpl.rc_context(STYLE)
def pareto(
    found: Points,
    found_front: Bool[np.ndarray, "n"],
    sampled: Points,
    sampled_front: Bool[np.ndarray, "m"],
    chosen: Chosen,
    limit_ms: float | None,
    cost: str = "latency (ms)",
) -> Figure:
    """Accuracy against a cost.

    Candidates of the search and of random sampling, their fronts, the chosen networks.
    """
    figure, axes = axes_of(cost, "accuracy (%)", (8.0, 5.8))
    last = float(np.nanmax(np.concatenate([found.cost, sampled.cost])))
    _draw_candidates(axes, sampled, ORANGE, 0.45, "random sampling")
    _draw_candidates(axes, found, SKY, 0.6, "search")
    label = "front of random sampling"
    _draw_front(axes, sampled.of(sampled_front), last, VERMILLION, "--", label)
    _draw_front(axes, found.of(found_front), last, BLUE, "-", "front of the search")
    if limit_ms is not None:
        axes.axvline(
            limit_ms, color=GREEN, ls=":", lw=1.8, label=f"limit: at most {limit_ms:.3g} ms"
        )
    _mark_chosen(axes, chosen)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@mpl.rc_context(STYLE)
def doubt(
    predicted: Points,
    predicted_front: Bool[np.ndarray, "n"],
    interval: Float[np.ndarray, "n 2"],
    measured: Points,
    measured_front: Bool[np.ndarray, "m"],
) -> Figure:
    """The front as the predictor has it, with its intervals (low and high, ms).

    And the front of what was measured.
    """
    figure, axes = axes_of("latency (ms)", "accuracy on the search split (%)", (8.0, 5.6))
    last_ms = float(np.nanmax(np.concatenate([predicted.cost, measured.cost])))
    _draw_candidates(axes, predicted, SKY, 0.5, "predicted")
    front = predicted.of(predicted_front)
    reach = interval[predicted_front]
    reach = np.clip(reach, 0, 2 * last_ms)  # of few measurements it may be infinite
    axes.hlines(
        front.accuracy,
        *reach.T,
        color=BLUE,
        alpha=0.35,
        lw=3,
        label="intervals of the predicted front",
    )
    _draw_front(axes, front, last_ms, BLUE, "--", "front as predicted")
    axes.scatter(
        measured.cost,
        measured.accuracy,
        s=16,
        color=VERMILLION,
        marker="x",
        lw=1,
        label=f"measured, {len(measured.cost)} networks",
    )
    front = measured.of(measured_front)
    _draw_front(axes, front, last_ms, VERMILLION, "-", "front as measured")
    axes.set_xlim(right=1.03 * last_ms)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@mpl.rc_context(STYLE)
def hypervolume(found: Float[np.ndarray, "g"], sampled: Float[np.ndarray, "g"]) -> Figure:
    """Hypervolume, in %, after every generation of the search.

    And of random sampling after as many evaluations.
    """
    figure, axes = axes_of("generation", "hypervolume (% of the box)")
    generation = np.arange(len(found))
    axes.plot(generation, found, color=BLUE, lw=1.8, marker="o", ms=3, label="search")
    axes.plot(
        generation,
        sampled,
        "--",
        color=VERMILLION,
        lw=1.8,
        marker="s",
        ms=3,
        label="random sampling, as many evaluations",
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower right")
    return figure


@mpl.rc_context(STYLE)
def predictor(splits: Mapping[str, Float[np.ndarray, "_ 2"]], said: str = "measured") -> Figure:
    """Predicted against measured (or simulated: `said`) latency.

    Rows of [measured ms, predicted ms]. The band is ±10 %.
    """
    figure, axes = axes_of(f"{said} latency (ms)", "predicted latency (ms)", (6.4, 6.0))
    everything = np.concatenate(list(splits.values()))
    low = 0.95 * np.nanmin(everything)
    high = 1.05 * np.nanmax(everything)
    ends = np.array([low, high])
    axes.fill_between(
        ends, 0.9 * ends, 1.1 * ends, color="#DDDDDD", lw=0, label=f"within 10 % of the {said}"
    )
    axes.plot(ends, ends, color="#555555", lw=1, label=f"predicted = {said}")
    for (split, rows), color, marker in zip(splits.items(), CYCLE, MARKERS, strict=False):
        axes.scatter(
            rows[:, 0],
            rows[:, 1],
            s=18,
            color=color,
            marker=marker,
            alpha=0.75,
            lw=0,
            label=f"{split}, {len(rows)} networks",
        )
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.legend(loc="upper left")
    return figure


@mpl.rc_context(STYLE)
def training(
    step: Int[np.ndarray, "n"], loss: Float[np.ndarray, "n"], loss_largest: Float[np.ndarray, "n"]
) -> Figure:
    """Training loss of the supernet over the steps; the largest's is NaN where none is trained."""
    figure, axes = axes_of("training step", "loss", (8.0, 3.6))
    axes.plot(step, loss, color=BLUE, lw=1.3, label="all subnets of a step")
    if np.isfinite(loss_largest).any():
        axes.plot(step, loss_largest, "--", color=VERMILLION, lw=1.3, label="largest subnet")
    axes.legend(loc="upper right")
    return figure


@mpl.rc_context(STYLE)
def entropies(curves: Mapping[str, Float[np.ndarray, "_ 2"]]) -> Figure:
    """How undecided a search by gradient is over the steps, a curve a gene or an architecture.

    Rows of [step, entropy as a share of the most it can be].
    """
    figure, axes = axes_of("training step", "entropy (% of all undecided)", (8.0, 3.6))
    for i, (label, rows) in enumerate(curves.items()):
        name = label if len(curves) <= len(CYCLE) else None
        axes.plot(*(rows * [1, 100]).T, color=CYCLE[i % len(CYCLE)], lw=1.2, label=name)
    axes.set_ylim(bottom=0)
    if len(curves) <= len(CYCLE):
        figure.legend(loc="outside lower center", ncols=3)
    return figure


@mpl.rc_context(STYLE)
def expected_costs(
    costs: Mapping[str, Float[np.ndarray, "_ 2"]], targets: Mapping[str, Float[np.ndarray, "_ 2"]]
) -> Figure:
    """Each architecture's expected cost over the steps, and its target; rows of [step, cost]."""
    figure, axes = axes_of("training step", "expected cost", (8.0, 3.6))
    for i, (label, rows) in enumerate(costs.items()):
        color = CYCLE[i % len(CYCLE)]
        axes.plot(*rows.T, color=color, lw=1.3, label=label)
        if label in targets:
            axes.plot(*targets[label].T, ":", color=color, lw=1.3)
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


@mpl.rc_context(STYLE)
def finetuning(curves: Mapping[str, Float[np.ndarray, "_ 2"]]) -> Figure:
    """Accuracy on the search split while each chosen network trains on its own.

    A curve is rows of [epoch, accuracy].
    """
    figure, axes = axes_of("epoch of fine-tuning", "accuracy on the search split (%)", (8.0, 3.6))
    for i, (label, rows) in enumerate(curves.items()):
        color = CYCLE[i % len(CYCLE)]
        marker = MARKERS[i % len(MARKERS)]
        axes.plot(
            rows[:, 0], 100 * rows[:, 1], color=color, marker=marker, ms=4, lw=1.3, label=label
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@mpl.rc_context(STYLE)
def contest(
    series: Mapping[str, tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n seeds"]]],
) -> Figure:
    """Accuracy against latency of trained networks, in series that a line joins.

    The mean of their seeds, and a bar over all of them.
    """
    figure, axes = axes_of("latency (ms)", "accuracy on the test images (%)", (8.0, 5.6))
    for (label, (latency_ms, accuracies)), (color, marker) in zip(
        series.items(), cycled(), strict=False
    ):
        order = np.argsort(latency_ms)
        each = 100 * accuracies
        mean = each.mean(1)
        reach = np.stack([mean - each.min(1), each.max(1) - mean])
        axes.errorbar(
            latency_ms[order],
            mean[order],
            reach[:, order],
            color=color,
            marker=marker,
            ms=6,
            lw=1.3,
            capsize=3,
            label=label,
        )
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@mpl.rc_context(STYLE)
def svg(figure: Figure, name: str) -> str:
    """The figure as an `<svg>` element for the inside of a page; equal figures give equal text.

    Its ids start with `name`, so that several figures share a page. Comments (they quote the text)
    are dropped.
    """
    text = re.sub(r"<!--.*?-->\s*", "", svg_file(figure), flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", text[text.index("<svg") :])
    text = re.sub(r'\bid="', f'id="{name}-', text)
    return re.sub(r'(href="|url\()#', rf"\1#{name}-", text)


@mpl.rc_context(STYLE)
def svg_file(figure: Figure) -> str:
    """The figure as the text of an SVG file; equal figures give equal text."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=WITHOUT_METADATA)
    return buffer.getvalue()
