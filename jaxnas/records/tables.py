"""The tables of a run: rows of strings, of which it is known that they can be read."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from jaxnas.records.line_files import corrupt
from jaxnas.records.reading import reading
from jaxnas.records.run_directory import RunDirectory
from jaxnas.records.values import above_0, cell, filled, split

SETUP = ("name", "role", "device", "runtime", "threads", "model")

Rows = list[dict[str, str]]


def read_predictions(run: RunDirectory) -> Rows:
    """predictions.csv: measured and predicted latency of networks of each split."""
    rows = _table(
        run, "predictions.csv", {"split": split, "measured_ms": above_0, "predicted_ms": above_0}
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
            "name": filled,
            "model": filled,
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
        dict.fromkeys(SETUP, filled) | {"measured_ms": cell, "test_accuracy": cell},
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


def _table(run: RunDirectory, file: str, columns: Mapping[str, Callable[[str], Any]]) -> Rows:
    rows = run.read_csv(file)
    with reading(run, file):
        for row in rows:
            for column, kind in columns.items():
                kind(row[column])
    return rows
