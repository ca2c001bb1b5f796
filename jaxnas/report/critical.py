"""The critical-difference diagram: mean ranks, and bars over what is not shown to differ.

After Demsar, Statistical comparisons of classifiers over multiple data sets, 2006, with the tests
of `statistics.compare_all` in place of a critical distance: seeds of two algorithms are not paired.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from jaxnas.report.plots import STYLE
from jaxnas.studies.statistics import Comparison, mean_ranks, not_shown_to_differ

WIDE = 760
AXIS = (210, 550)  # from the first rank to the last
TOP = 34
ROW = 22
BAR = 9  # between two of the bars


class Diagram(NamedTuple):
    """Algorithms by mean rank, the best first, and groups as (first, last) of them."""

    names: list[str]
    ranks: list[float]
    groups: list[tuple[int, int]]

    def at(self, rank: float) -> float:
        """Where a rank lies on the axis."""
        return AXIS[0] + (rank - 1) / max(1, len(self.names) - 1) * (AXIS[1] - AXIS[0])

    def row(self, i: int) -> tuple[float, bool]:
        """How far down the name of the i-th stands, and whether on the left."""
        left = (len(self.names) + 1) // 2
        down = i if i < left else len(self.names) - 1 - i
        return TOP + 18 + BAR * len(self.groups) + ROW * down, i < left

    @property
    def height(self) -> float:
        return self.row((len(self.names) + 1) // 2 - 1)[0] + 14


def diagram(pairs: Mapping[tuple[str, str], Comparison]) -> Diagram:
    """The diagram of all pairs of algorithms."""
    ranks = mean_ranks(pairs)
    names = sorted(ranks, key=lambda name: ranks[name])
    return Diagram(names, [ranks[name] for name in names], not_shown_to_differ(names, pairs))


def _lines(found: Diagram) -> list[tuple[Sequence[tuple[float, float]], float]]:
    """Polylines, and how thick each is."""
    ticks = [found.at(rank) for rank in range(1, len(found.names) + 1)]
    lines: list[tuple[Sequence[tuple[float, float]], float]] = [
        ([(AXIS[0], TOP), (AXIS[1], TOP)], 1.2),
        *(([(x, TOP - 5), (x, TOP)], 1.2) for x in ticks),
    ]
    for i, rank in enumerate(found.ranks):
        y, left = found.row(i)
        x = found.at(rank)
        lines.append(([(x, TOP), (x, y), (AXIS[0] - 30 if left else AXIS[1] + 30, y)], 1.0))
    for i, (first, last) in enumerate(found.groups):
        y = TOP + 10 + BAR * i
        lines.append(
            ([(found.at(found.ranks[first]) - 4, y), (found.at(found.ranks[last]) + 4, y)], 4.0)
        )
    return lines


def _texts(found: Diagram) -> list[tuple[float, float, str, str]]:
    """Where each text stands, and where it is anchored."""
    texts = [
        (found.at(rank), TOP - 10.0, f"{rank}", "middle") for rank in range(1, len(found.names) + 1)
    ]
    for i, (name, rank) in enumerate(zip(found.names, found.ranks, strict=True)):
        y, left = found.row(i)
        said = f"{name}  {rank:.2f}" if left else f"{rank:.2f}  {name}"
        x = AXIS[0] - 36 if left else AXIS[1] + 36
        texts.append((x, y + 4, said, "end" if left else "start"))
    return texts


def drawn(found: Diagram) -> Markup:
    """The diagram as an `<svg>` element, whose colours are the page's."""
    parts = []
    for points, width in _lines(found):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="var(--ink)" stroke-width="{width}"/>'
        )
    for x, y, text, anchor in _texts(found):
        parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>')
    said = ", ".join(
        f"{name} {rank:.2f}" for name, rank in zip(found.names, found.ranks, strict=True)
    )
    box = f'viewBox="0 0 {WIDE} {found.height:g}"'
    return Markup(
        f'<svg {box} role="img" aria-label="Mean ranks: {escape(said)}">{"".join(parts)}</svg>'
    )


@mpl.rc_context(STYLE)
def figure(found: Diagram) -> Figure:
    """The same, as matplotlib draws it."""
    size = (WIDE / 100, found.height / 100)
    made = Figure(figsize=size)
    axes = made.add_axes((0, 0, 1, 1), xlim=(0, WIDE), ylim=(found.height, 0))
    axes.axis("off")
    for points, width in _lines(found):
        axes.plot(*np.array(points).T, color="black", lw=0.8 * width, solid_capstyle="butt")
    sides = {"start": "left", "end": "right", "middle": "center"}
    for x, y, text, anchor in _texts(found):
        axes.text(x, y, text, ha=sides[anchor], va="baseline", fontsize=9)
    return made
