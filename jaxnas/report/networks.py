"""The chosen networks of a run, each with what its verification says.

Older runs have fewer figures.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

import numpy as np

from jaxnas.errors import UserError
from jaxnas.records.archives import read_answers
from jaxnas.records.run_directory import RunDirectory
from jaxnas.report import plots, words
from jaxnas.report.answer import MEDIAN_NOISE, Measured

ACCURACIES = (
    "search_accuracy",
    "selection_accuracy",
    "finetuned_search_accuracy",
    "finetuned_selection_accuracy",
    "top1_agreement",
)
TESTED = (
    "test_accuracy",
    "test_balanced_accuracy",
    "int8_test_accuracy",
    "int8_test_balanced_accuracy",
)
LATENCIES = ("measured_ms", "median_ms", "p10_ms", "p90_ms", "p99_ms", "noise_floor")
PRECISIONS = tuple(
    f"{precision}_{figure}" for precision in ("float32", "int8") for figure in ("ms", "median_ms")
)
NUMBERS = (
    "macs",
    "params",
    "max_logit_difference",
    "predicted_ms",
    *ACCURACIES,
    *TESTED,
    *LATENCIES,
    *PRECISIONS,
)


def read_networks(run: RunDirectory, int8: bool, costs: Sequence[str]) -> list[dict[str, Any]]:
    """The chosen networks in order, NaN for figures that the run lacks.

    `int8`: whether it searched int8 ones. `costs`: its objectives beside the error.
    """
    verified = {row["name"]: row for row in run.read_csv("verified.csv")}
    images = run.read_json("data.json")["test"]
    networks = []
    for i, chosen in enumerate(run.read_json("chosen.json")):
        if chosen["name"] not in verified:
            raise UserError(
                f"verified.csv in {run.root} lacks {chosen['name']!r}: run `jaxnas verify` first"
            )
        row = verified[chosen["name"]]
        networks.append(_network(plots.letter(i), chosen, row, images, int8, costs))
    return networks


def _network(
    letter: str,
    chosen: Mapping[str, Any],
    row: Mapping[str, str],
    images: int,
    int8: bool,
    costs: Sequence[str],
) -> dict[str, Any]:
    numbers = {column: _number(row.get(column, chosen.get(column))) for column in NUMBERS}
    # Of the file that was measured.
    precision = "int8" if int8 and math.isfinite(numbers["int8_test_accuracy"]) else "float32"
    tested = ("int8_" if precision == "int8" else "") + "test"
    accuracy = numbers[f"{tested}_accuracy"]
    balanced = numbers[f"{tested}_balanced_accuracy"]
    return {
        **{column: row[column] for column in ("name", "role", "device")},
        **numbers,
        "letter": letter,
        "precision": precision,
        "accuracy": accuracy,
        "balanced": balanced,
        "interval": words.interval(accuracy, images),
        "ms": _first(numbers["median_ms"], numbers["measured_ms"]),
        "int8_slowdown": _ratio(numbers, "int8", "float32"),
        "costs": {
            name: numbers["predicted_ms"] if name == "latency_ms" else _number(chosen.get(name))
            for name in costs
        },
        "setup": setup(row),
        "simulated": simulated(row),
        "warning": row.get("warning", ""),
        "words": words.genome_in_words(chosen["network"]),
        "model": "models/" + quote(PurePosixPath(row["model"]).name),
    }


def measured(run: RunDirectory, networks: list[dict[str, Any]]) -> list[Measured]:
    """The networks whose accuracy and latency are known, for the comparison."""
    answers = read_answers(run)
    return [
        Measured(
            one["letter"],
            one["accuracy"],
            one["interval"],
            one["ms"],
            0.0 if one["simulated"] else max(MEDIAN_NOISE, _first(one["noise_floor"], 0.0)),
            _right(answers, one),
        )
        for one in networks
        if math.isfinite(one["accuracy"]) and math.isfinite(one["ms"])
    ]


def _right(answers: Mapping[str, np.ndarray], network: Mapping[str, Any]) -> np.ndarray | None:
    if "labels" not in answers or network["name"] not in answers["names"].tolist():
        return None
    row = answers["names"].tolist().index(network["name"])
    return answers[network["precision"]][row] == answers["labels"]


def _number(value: Any) -> float:
    return float("nan" if value in (None, "") else value)


def _first(*values: float) -> float:
    """The first that is a number, NaN if none is."""
    return next((value for value in values if math.isfinite(value)), math.nan)


def _ratio(numbers: Mapping[str, float], one: str, other: str) -> float:
    """Latency of one precision as a share of that of another, medians where both have one."""
    figure = (
        "median_ms"
        if math.isfinite(numbers[f"{one}_median_ms"] / numbers[f"{other}_median_ms"])
        else "ms"
    )
    return numbers[f"{one}_{figure}"] / numbers[f"{other}_{figure}"]


def simulated(row: Mapping[str, str]) -> bool:
    """Whether a model gave this latency."""
    return row.get("simulated") == "True"  # older runs do not say


def setup(row: Mapping[str, str]) -> str:
    """What a latency was measured on, or which model gave it."""
    if simulated(row):
        return f"{row['device']} ({row['runtime']})"
    return (
        f"{row['device']}, {row['threads']} {'thread' if row['threads'] == '1' else 'threads'}, "
        f"{row['runtime']}"
    )
