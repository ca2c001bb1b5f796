"""The figures of a page as files for papers: SVG, PDF and PNG of the same charts, by matplotlib.

Names of networks come from strangers: mathematics in text is off, and in SVG text is drawn as
outlines.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from jaxnas.report.charts import Chart, Mark
from jaxnas.report.plots import CYCLE, STYLE, WITHOUT_METADATA

EMBEDDED: dict[Any, Any] = {**STYLE, "pdf.fonttype": 42}  # fonts, as publishers ask for
FORMATS = ("svg", "pdf", "png")
DPI = 200
LEGEND = ("discs", "rings", "line", "dots")  # what says most of a name
WIDE = 7.0  # inches, of a figure
WITHOUT = {"pdf": {"CreationDate": None, "Creator": None, "Producer": None}} | {
    "svg": WITHOUT_METADATA,
    "png": {"Software": None},
}


def files(charts: Mapping[str, Chart]) -> dict[str, bytes]:
    """Every chart in every format, by file name; equal charts give equal bytes."""
    return {
        f"{name}.{kind}": content
        for name, chart in charts.items()
        for kind, content in formats(figure(chart)).items()
    }


@mpl.rc_context(EMBEDDED)
def formats(drawn: Figure) -> dict[str, bytes]:
    """A figure in every format."""
    found = {}
    drawn.draw_without_rendering()
    drawn.set_layout_engine("none")  # what was laid out once stays
    for kind in FORMATS:
        buffer = io.BytesIO()
        drawn.savefig(buffer, format=kind, dpi=DPI, metadata=WITHOUT[kind])
        found[kind] = buffer.getvalue()
    return found


@mpl.rc_context(STYLE)
def figure(chart: Chart) -> Figure:
    """A chart as matplotlib draws it."""
    size = (WIDE, max(3.0, WIDE * chart.get("share", 0.52)))
    drawn = Figure(figsize=size, layout="constrained")
    axes = drawn.add_subplot(xlabel=chart["x"]["label"], ylabel=chart["y"]["label"])
    named = _named(chart["marks"])
    for i, mark in enumerate(chart["marks"]):
        label = mark["name"] if named.get(mark.get("name")) == i else None
        DRAWN[mark["type"]](axes, mark, _colour(mark), label)
    for axis in ("x", "y"):
        _set_axis(axes, axis, chart[axis])
    if len(named) > 1:
        drawn.legend(loc="outside lower center", ncols=2)
    return drawn


def _named(marks: Sequence[Mark]) -> dict[str | None, int]:
    """Which mark of each name stands in the legend."""
    found: dict[str | None, int] = {}
    for i, mark in enumerate(marks):
        name = mark.get("name")
        if name and (name not in found or marks[found[name]]["type"] not in LEGEND):
            found[name] = i
    return found


def _set_axis(axes: Axes, name: str, settings: Mapping[str, Any]) -> None:
    axis = axes.xaxis if name == "x" else axes.yaxis
    set_limits = axes.set_xlim if name == "x" else axes.set_ylim
    if settings.get("log"):
        (axes.set_xscale if name == "x" else axes.set_yscale)("log", nonpositive="clip")
        axis.set_minor_locator(LogLocator(subs=(2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("{x:g}")
    elif settings.get("integer"):
        axis.set_major_locator(MaxNLocator(integer=True))
    if settings.get("domain"):
        set_limits(*settings["domain"])
    elif settings.get("zero"):
        set_limits(0)
    if settings.get("ticks"):
        axis.set_ticks(*zip(*settings["ticks"], strict=True))


def _colour(mark: Mark) -> str:
    return CYCLE[mark["color"]] if "color" in mark else "#000000"


def _array(values: Any) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], float)


def _dash(mark: Mark) -> Any:
    text = mark.get("dash", "none")
    return "-" if text == "none" else (0, [float(part) for part in text.split()])


def _dots(axes: Axes, mark: Mark, color: str, label: str | None) -> None:
    area = (mark.get("size", 5) * 0.75) ** 2
    marker = "s" if mark.get("square") else "o"
    alpha = mark.get("alpha", 0.55)
    x, y = _array(mark["x"]), _array(mark["y"])
    axes.scatter(x, y, s=area, color=color, marker=marker, alpha=alpha, lw=0, label=label)


def _line(axes: Axes, mark: Mark, color: str, label: str | None) -> None:
    style = {"color": color, "ls": _dash(mark), "lw": 0.8 * mark.get("width", 2), "label": label}
    if mark.get("markers"):
        style |= {"marker": "o", "ms": 4}
    steps = "steps-post" if mark.get("step") else "default"
    axes.plot(_array(mark["x"]), _array(mark["y"]), drawstyle=steps, **style)


def _band(axes: Axes, mark: Mark, color: str, label: str | None) -> None:
    step = "post" if mark.get("step") else None
    x, low, high = (_array(mark[name]) for name in ("x", "low", "high"))
    alpha = mark.get("alpha", 0.16)
    axes.fill_between(x, low, high, step=step, color=color, alpha=alpha, lw=0, label=label)


def _rule(axes: Axes, mark: Mark, color: str, label: str | None) -> None:
    axes.axvline(mark["x"], color=color, ls=":", lw=1.6, label=label)


def _rings(axes: Axes, mark: Mark, color: str, label: str | None) -> None:
    axes.plot(_array(mark["x"]), _array(mark["y"]), "o", mfc="none", mec=color, ms=7, label=label)


def _spans(axes: Axes, mark: Mark, color: str, label: str | None) -> None:
    style = {"color": color, "lw": mark.get("width", 1.4), "alpha": mark.get("alpha", 1)}
    x, y = _array(mark["x"]), _array(mark["y"])
    if "xlow" in mark:
        axes.hlines(y, _array(mark["xlow"]), _array(mark["xhigh"]), **style, label=label or "")
    if "ylow" in mark:
        axes.vlines(x, _array(mark["ylow"]), _array(mark["yhigh"]), **style)
    if "xto" in mark:
        axes.plot(np.stack([x, _array(mark["xto"])]), np.stack([y, _array(mark["yto"])]), **style)


def _discs(axes: Axes, mark: Mark, color: str, label: str | None) -> None:
    shared: dict[tuple[float, float], str] = {}
    for x, y, text in zip(mark["x"], mark["y"], mark["letters"], strict=True):
        if x is not None and y is not None:
            shared[x, y] = shared.get((x, y), "") + text
    for (x, y), text in shared.items():
        shape = "circle" if len(text) == 1 else "round"
        box = {"boxstyle": f"{shape},pad=0.25", "fc": color, "ec": "white"}
        style = {"color": "white", "weight": "bold", "size": 9, "ha": "center", "va": "center"}
        axes.text(x, y, text, **style, bbox=box, zorder=5, clip_on=False)
    if label:
        axes.plot([], [], "o", color=color, label=label)


DRAWN = {
    "dots": _dots,
    "line": _line,
    "band": _band,
    "rule": _rule,
    "rings": _rings,
    "spans": _spans,
    "discs": _discs,
}
