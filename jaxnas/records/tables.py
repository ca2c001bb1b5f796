"""The tables of a run: rows of strings, of which it is known that they can be read."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxnas.records.line_files import corrupt
from jaxnas.records.reading import SPLITS, reading
from jaxnas.records.run_directory import RunDirectory

SETUP = ("name", "role", "device", "runtime", "threads", "model")

Rows = list[dict[str, str]]


def read_measurements(run: RunDirectory) -> Rows:
    """measurements.csv, none where there is no such file."""
    if not run.exists("measurements.csv"):
        return []
    rows = _table(
        run, "measurements.csv", {"round": int, "split": _split, "genome": genome, "failure": str}
    )
    with reading(run, "measurements.csv"):
        for row in rows:
            _measured(row)
    return rows


def read_asked(run: RunDirectory) -> Rows:
    """asked.csv, none where there is no such file."""
    if not run.exists("asked.csv"):
        return []
    rows = _table(run, "asked.csv", {"genome": genome, "failure": str})
    with reading(run, "asked.csv"):
        for row in rows:
            _measured(row)
    return rows


def read_predictions(run: RunDirectory) -> Rows:
    """predictions.csv: measured and predicted latency of networks of each split."""
    rows = _table(
        run, "predictions.csv", {"split": _split, "measured_ms": _above_0, "predicted_ms": _above_0}
    )
    if not rows:
        raise corrupt(run.path("predictions.csv"), "no row in ")
    return rows


def read_exported(run: RunDirectory) -> dict[str, dict[str, str]]:
    """exported.csv by name, which is no column then: the files of the chosen networks."""
    rows = _table(
        run,
        "exported.csv",
        {
            "name": _some,
            "model": _some,
            "int8_model": str,
            "max_logit_difference": cell,
            "top1_agreement": cell,
        },
    )
    return {row.pop("name"): row for row in rows}


def read_verified(run: RunDirectory) -> dict[str, dict[str, str]]:
    """verified.csv by name: what the chosen networks came to; older runs have fewer columns."""
    rows = _table(
        run,
        "verified.csv",
        dict.fromkeys(SETUP, _some) | {"measured_ms": cell, "test_accuracy": cell},
    )
    with reading(run, "verified.csv"):
        for row in rows:
            for column, text in row.items():
                if column.endswith(("_accuracy", "_agreement")) and not (
                    math.isnan(cell(text)) or 0 <= cell(text) <= 1
                ):
                    raise ValueError(f"{column} must be a share, got {text}")
                if column.endswith("_ms") or column in (
                    "macs",
                    "params",
                    "max_logit_difference",
                    "noise_floor",
                ):
                    cell(text)
    return {row["name"]: row for row in rows}


def genome(text: str) -> np.ndarray:
    """The choices that a cell spells."""
    choices = np.array([int(choice) for choice in text.split()], np.int32)
    if not len(choices) or choices.min() < 0:
        raise ValueError(f"expected choices, got {text!r}")
    return choices


def cell(text: str) -> float:
    """The number in a cell; NaN where it is empty."""
    value = float(text or "nan")
    if math.isinf(value):
        raise ValueError(f"expected a number, got {text}")
    return value


def _table(run: RunDirectory, file: str, columns: Mapping[str, Callable[[str], Any]]) -> Rows:
    rows = run.read_csv(file)
    with reading(run, file):
        for row in rows:
            for column, kind in columns.items():
                kind(row[column])
    return rows


def _measured(row: Mapping[str, str]) -> None:
    """Refuses a measurement that is neither a failure nor a latency."""
    if not row["failure"]:
        for column in ("latency_ms", "p10_ms", "p90_ms"):
            _above_0(row[column])
        _ = row["device"], row["runtime"], row["threads"]
    elif math.isfinite(cell(row["latency_ms"])):
        raise ValueError(f"a failure with the latency {row['latency_ms']}")


def _above_0(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError(f"a latency must be above 0, got {text}")
    return value


def _split(text: str) -> str:
    if text not in SPLITS:
        raise ValueError(f"a split must be one of {', '.join(SPLITS)}, got {text!r}")
    return text


def _some(text: str) -> str:
    if not text:
        raise ValueError("an empty cell")
    return text
