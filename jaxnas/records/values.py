"""Values of cells: the text of a table's cell as what it stands for, else a `ValueError`."""

import math

from jaxnas.records.reading import SPLITS


def cell(text: str) -> float:
    """The number in a cell; NaN where it is empty."""
    value = float(text or "nan")
    if math.isinf(value):
        raise ValueError(f"expected a number, got {text}")
    return value


def above_0(text: str) -> float:
    """A latency."""
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError(f"a latency must be above 0, got {text}")
    return value


def split(text: str) -> str:
    """A split of the networks that are measured."""
    if text not in SPLITS:
        raise ValueError(f"a split must be one of {', '.join(SPLITS)}, got {text!r}")
    return text


def filled(text: str) -> str:
    """Text that is not empty."""
    if not text:
        raise ValueError("an empty cell")
    return text
