"""Networks in figures: their points, and the letters of those chosen."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

DOTS = 4000  # of one kind in a figure, at most


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


def letter(i: int) -> str:
    """The letter that stands for the i-th chosen network in every figure and table.

    A, B, ... Z, then numbers.
    """
    return chr(ord("A") + i) if i < 26 else str(i + 1)
