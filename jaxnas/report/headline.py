"""The head of the page: which network to take, and what speaks against believing it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from jaxnas.records.candidates import CANDIDATES, read_searched
from jaxnas.records.data import read_data
from jaxnas.records.measurements import read_measurements
from jaxnas.records.metrics import read_metrics
from jaxnas.records.run_directory import RunDirectory
from jaxnas.records.selection import read_selection
from jaxnas.records.verified import VERIFIED
from jaxnas.report import cautions
from jaxnas.report.answer import advice, labels
from jaxnas.report.networks import measured, read_networks


class Head(NamedTuple):
    """What a page on a run begins with."""

    config: dict[str, Any]
    data: dict[str, Any]  # data.json
    networks: list[dict[str, Any]]  # the chosen ones
    said: str  # what their latencies are


def read_head(run: RunDirectory, costs: Sequence[str]) -> Head:
    """Of a run; `costs` are its objectives beside the error.

    It has no networks before they are verified.
    """
    config = run.read_json("config.json")
    data = asdict(read_data(run))
    # Older runs have neither.
    data |= {"selection": data["selection"] or 0, "class_sizes": data["class_sizes"] or {}}
    int8 = config.get("export", {}).get("precision") == "int8"
    networks = read_networks(run, int8, costs) if run.exists(VERIFIED) else []
    said = "simulated" if any(one["simulated"] for one in networks) else "measured"
    return Head(config, data, networks, said)


def answer(
    run: RunDirectory,
    config: Mapping[str, Any],
    data: Mapping[str, Any],
    networks: list[dict[str, Any]],
    said: str,
) -> dict[str, Any]:
    """The recommendation, each network's labels by letter, and cautions.

    And how optimistic the search was.
    """
    known = measured(run, networks)
    text = "No network could be measured: verified.csv says why."
    if known:
        text = advice(
            known, within_points(config), config["latency_limit_ms"], least_accuracy(data)
        )
    return {
        "text": text,
        "labels": {one["letter"]: [] for one in networks}
        | {one.letter: labels(known, i, said) for i, one in enumerate(known)},
        "cautions": [
            *_limit(run, config, networks, said),
            *_errors(run, config, data),
            *filter(None, [cautions.about_int8(networks)]),
        ],
        "optimism": cautions.about_optimism(
            read_selection(run),
            data["selection"],
        ),
        "by_median": any(math.isfinite(one["median_ms"]) for one in networks),
    }


def within_points(config: Mapping[str, Any]) -> float:
    """By how much an accuracy may be lower and still be as good, as a share."""
    return config.get("finetune", {}).get("within_points", 5.0) / 100


def least_accuracy(data: Mapping[str, Any]) -> float:
    """What always answering the commonest class gets right of the test images."""
    return cautions.commonest(data["class_sizes"].get("test"))


def _limit(
    run: RunDirectory, config: Mapping[str, Any], networks: list[dict[str, Any]], said: str
) -> list[str]:
    """What the limit is worth."""
    limit_ms = config["latency_limit_ms"]
    if limit_ms is None:
        return []
    measurements = [row.measurement for row in read_measurements(run)]
    latencies = [one.latency_ms for one in measurements if not one.failure]
    larger = [line["larger"] for line in read_metrics(run) if line.get("event") == "limit"]
    wide = cautions.about_wide_limit(
        limit_ms, max(latencies, default=math.inf), config["space"], larger[-1] if larger else []
    )
    return list(filter(None, [cautions.about_limit(limit_ms, networks, said), wide]))


def _errors(run: RunDirectory, config: Mapping[str, Any], data: Mapping[str, Any]) -> list[str]:
    """Where the search had little to go by."""
    images = min(data["search"], config.get("search", {}).get("images", data["search"]))
    least = 1 - cautions.commonest(data["class_sizes"].get("search"))
    return cautions.about_errors(read_searched(run, CANDIDATES)["error"], images, least)
