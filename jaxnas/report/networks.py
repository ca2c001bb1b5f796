"""The chosen networks of a run, each with what its verification says.

Older runs have fewer figures.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from jaxnas.records.chosen import Chosen, read_chosen
from jaxnas.records.data import read_data
from jaxnas.records.run_directory import RunDirectory
from jaxnas.records.verified import Verified, read_answers, read_verified
from jaxnas.report import words
from jaxnas.report.answer import MEDIAN_NOISE, Measured
from jaxnas.report.points import letter

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
    verified = read_verified(run)
    images = read_data(run).test
    return [
        _network(letter(i), chosen, verified[chosen.name], images, int8, costs)
        for i, chosen in enumerate(read_chosen(run))
    ]


def _network(
    letter: str,
    chosen: Chosen,
    row: Verified,
    images: int,
    int8: bool,
    costs: Sequence[str],
) -> dict[str, Any]:
    numbers = {name: _known(row, chosen, name) for name in NUMBERS}
    # Of the file that was measured.
    precision = "int8" if int8 and math.isfinite(numbers["int8_test_accuracy"]) else "float32"
    tested = ("int8_" if precision == "int8" else "") + "test"
    accuracy = numbers[f"{tested}_accuracy"]
    balanced = numbers[f"{tested}_balanced_accuracy"]
    return {
        "name": row.name,
        "role": row.role,
        "genome": chosen.genome,
        "device": row.device,
        **numbers,
        "letter": letter,
        "precision": precision,
        "accuracy": accuracy,
        "balanced": balanced,
        "interval": words.interval(accuracy, images),
        "ms": _first(numbers["median_ms"], numbers["measured_ms"]),
        "int8_slowdown": _ratio(numbers, "int8", "float32"),
        "costs": {
            name: chosen.predicted_ms if name == "latency_ms" else chosen.costs.get(name, math.nan)
            for name in costs
        },
        "setup": setup(row.device, row.threads, row.runtime, row.simulated),
        "simulated": row.simulated,
        "warning": row.warning,
        "words": words.genome_in_words(chosen.network) + words.chip_in_words(chosen.chip),
        "model": "models/" + quote(PurePosixPath(row.model).name),
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
            None if answers is None else answers.right(one["name"], one["precision"]),
        )
        for one in networks
        if math.isfinite(one["accuracy"]) and math.isfinite(one["ms"])
    ]


def _known(row: Verified, chosen: Chosen, name: str) -> float:
    """A figure of the verification, else of the choice; NaN where neither has it."""
    figures = (getattr(one, name, math.nan) for one in (row, chosen))
    return _first(*map(float, figures))


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


def setup(device: str, threads: int, runtime: str, simulated: bool) -> str:
    """What a latency was measured on, or which model gave it."""
    if simulated:
        return f"{device} ({runtime})"
    return f"{device}, {threads} {'thread' if threads == 1 else 'threads'}, {runtime}"
