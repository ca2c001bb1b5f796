"""Values of cells and of documents; what they cannot be is a `ValueError` or `TypeError`."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Int32

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


# How a cell is read, by the type of the field that it fills.
CELLS: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: int,
    float: cell,
    bool: lambda text: text == "True",
}


def named(value: Any) -> dict[str, Any]:
    """A document with names."""
    if not isinstance(value, dict):
        raise TypeError(f"expected named values, got {type(value).__name__}")
    return value


def text(record: Mapping[str, Any], name: str) -> str:
    """A text that is not empty."""
    if not string(record, name):
        raise ValueError(f"{name} must not be empty")
    return record[name]


def string(record: Mapping[str, Any], name: str) -> str:
    """A text, which may be empty."""
    if not isinstance(record[name], str):
        raise TypeError(f"{name} must be text, got {record[name]!r}")
    return record[name]


def genome(record: Mapping[str, Any], whose: str) -> Int32[np.ndarray, "genes"]:
    """The choices under `genome`; `whose` it is, for the message."""
    found = record["genome"]
    if not isinstance(found, list) or not found or not all(map(_is_choice, found)):
        raise TypeError(f"the genome of {whose} must be a list of choices")
    return np.array(found, np.int32)


def _is_choice(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**31


def number(record: Mapping[str, Any], name: str) -> int | float:
    """A finite number, as JSON has it."""
    value = record[name]
    if type(value) not in (int, float) or not abs(value) < 2**63:
        raise TypeError(f"{name} must be a number, got {value!r}")
    return value
