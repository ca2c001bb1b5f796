"""What a device is: something that says, by running a network, how long it takes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

MIN_RUNS = 20


@dataclass(frozen=True)
class Measurement:
    """One network timed on one device; a failed run has `latency_ms` NaN and says why in `failure`, in one line."""

    device: str
    latency_ms: float  # the fastest run: see `summarise`
    p10_ms: float
    p90_ms: float
    repeats: int
    threads: int
    runtime: str  # "onnxruntime 1.31.1"
    failure: str = ""


@dataclass(frozen=True)
class ExportedModel:
    """A network as a device sees it: an ONNX file (or its bytes), and the genome it was made from."""

    model: Path | bytes
    genome: np.ndarray


@runtime_checkable
class Device(Protocol):
    """Runs a model and times it. A model that will not run is a `Measurement` with a failure, not an exception."""

    @property
    def name(self) -> str: ...

    def measure(self, model: ExportedModel) -> Measurement: ...


def failed(device: str, threads: int, runtime: str, error: Exception) -> Measurement:
    """The measurement of a network that would not load or run."""
    failure = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return Measurement(device, math.nan, math.nan, math.nan, 0, threads, runtime, failure)


def time_runs(run: Callable[[], object], seconds: float) -> Float64[np.ndarray, "runs"]:
    """Milliseconds of single runs, repeated for about `seconds`, at least 20 of them, after a tenth of that to warm up."""
    _repeat(run, seconds / 10, 3)
    return np.array(_repeat(run, seconds, MIN_RUNS), np.float64) / 1e6


def _repeat(run: Callable[[], object], seconds: float, least: int) -> list[int]:
    times: list[int] = []
    end = perf_counter_ns() + round(seconds * 1e9)
    while perf_counter_ns() < end or len(times) < least:
        start = perf_counter_ns()
        run()
        times.append(perf_counter_ns() - start)
    return times


def summarise(times_ms: Float64[np.ndarray, "runs"]) -> tuple[float, float, float]:
    """Latency, 10 % and 90 % quantile of the runs; the latency is the fastest run.

    Neighbours only ever slow a run down, so the fastest run repeats best: of 90 pairs of measurements (30 networks of
    0.04 to 2.8 ms, 0.2 s each, two shared cores with none, one and two busy neighbours) 90 agreed within 5 %, of their
    medians 70. A slow phase that outlasts a whole measurement is only seen by measuring again later. The quantiles
    show what a run took on the machine as it was.

    >>> summarise(np.array([3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0, 9.0]))
    (1.0, 2.0, 3.0)
    """
    p10, p90 = np.quantile(times_ms, [0.1, 0.9])
    return float(times_ms.min()), float(p10), float(p90)
