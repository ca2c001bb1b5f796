"""The tables of measurements that a run has.

How their rows are written, read and told apart by network.
"""

from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np

from jaxnas.hardware.device import Measurement
from jaxnas.hardware.failures import is_equipment
from jaxnas.progress import log
from jaxnas.records.run_directory import RunDirectory
from jaxnas.records.tables import read_measurements
from jaxnas.stages.job import Job
from jaxnas.stages.rounds import confirmed


def measurement_row(measurement: Measurement) -> dict[str, Any]:
    """A measurement as columns; the device's own description is part of every row."""
    return asdict(measurement)


def add_quantiles(run: RunDirectory, name: str) -> None:
    """Give a table of measurements from before `median_ms` and `p99_ms` these columns.

    NaN, so that it can grow.
    """
    rows = run.read_csv(name) if run.exists(name) else []
    missing = [column for column in ("median_ms", "p99_ms") if rows and column not in rows[0]]
    if missing:
        run.write_csv(name, [row | dict.fromkeys(missing, np.nan) for row in rows])


def by_genome(rows: list[dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    """The rows of each network, in the order in which they were measured."""
    networks: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        networks.setdefault(row["genome"], []).append(row)
    return networks


def latency_of(rows: list[dict[str, str]]) -> float:
    """Latency of the network whose rounds these rows are, ms; NaN if all failed."""
    latency_ms = latencies(rows)
    return latency_ms[confirmed(latency_ms)] if latency_ms else np.nan


def latencies(rows: list[dict[str, str]]) -> list[float]:
    """Of the rounds that did not fail, ms."""
    return [float(row["latency_ms"]) for row in rows if not row["failure"]]


def forget_lost(job: Job) -> None:
    """Drop rows in which the device was not there, as long as nothing was learnt from them.

    Those networks are measured again.
    """
    rows = read_measurements(job.run)
    kept = [row for row in rows if not is_equipment(row["failure"])]
    if len(kept) < len(rows) and not job.run.exists("predictor.json"):
        log(
            f"profile: {len(rows) - len(kept)} measurements for which the device was lost are made "
            "again"
        )
        job.run.write_csv("measurements.csv", kept)


def log_failures(job: Job) -> None:
    """Says how many networks failed, and why."""
    networks = by_genome(read_measurements(job.run)).values()
    reasons = Counter(
        some[0]["failure"] for some in networks if all(row["failure"] for row in some)
    )
    if reasons:
        told = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
        log(f"profile: {reasons.total()} of {len(networks)} networks failed: {told}")
