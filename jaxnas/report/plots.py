"""What figures of matplotlib share: colours, markers, a style; and those that it alone draws.

Arrays in, a matplotlib `Figure` out. Names of networks come from strangers: mathematics in text is
off, and text is drawn as outlines, never written as text.
"""

import io
from collections.abc import Iterator, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by colour-blind readers; yellow is left out, for it is faint
# on white
BLUE = "#0072B2"
VERMILLION = "#D55E00"
GREEN = "#009E73"
PURPLE = "#CC79A7"
ORANGE = "#E69F00"
SKY = "#56B4E9"
BLACK = "#000000"
GREY = "#B5B5B5"  # of what is left out
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
WITHOUT_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


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
def svg_file(figure: Figure) -> str:
    """The figure as the text of an SVG file; equal figures give equal text."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=WITHOUT_METADATA)
    return buffer.getvalue()
