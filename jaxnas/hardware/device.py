"""What a device is: something that says, by running a network, how long it takes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter_ns
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from jaxnas.errors import UserError
from jaxnas.hardware.failures import describe, is_doubtful, is_equipment
from jaxnas.networks.costs import Layers

MIN_RUNS = 20
NOISE_BOUND = 0.1  # a larger share between two halves of a measurement, and it is made again
TRIES = 5  # before a machine that stays too noisy is refused a figure


@dataclass(frozen=True)
class Measurement:
    """One network timed on one device.

    A failed run has `latency_ms` NaN and says why in `failure`, in one line.
    """

    device: str
    latency_ms: float  # the fastest run: see `summarise`
    p10_ms: float
    p90_ms: float
    repeats: int
    threads: int
    runtime: str  # "onnxruntime 1.31.1"
    failure: str = ""
    noise_floor: float = math.nan  # a share of the latency: see `noise_floor`
    # "2445 MHz" at the end of the measurement; empty where the machine does not say.
    clock: str = ""
    processor: str = ""  # the machine that ran it
    reused: bool = False  # made earlier, and stored: see hardware/measured.py
    simulated: bool = False  # no device ran it: a model says so, whose error is in `runtime`
    warning: str = ""  # why its figures may be worth less than others of this device
    median_ms: float = math.nan  # NaN where a device reports no single runs
    p99_ms: float = math.nan  # of fewer than 100 runs it is the slowest: `repeats` says how many

    @property
    def lost(self) -> bool:
        """Whether the device was not there to answer, which says nothing about the network."""
        return is_equipment(self.failure)

    @property
    def doubtful(self) -> bool:
        """Whether the failure may be the device's as well as the network's."""
        return is_doubtful(self.failure)


@dataclass(frozen=True)
class ExportedModel:
    """A network as a device sees it.

    An ONNX file (or its bytes), and the genome it was made from.
    """

    model: Path | bytes
    genome: np.ndarray
    turn: int = 0  # which of several measurements of this network; they are stored apart
    layers: Layers | None = None  # its cost table, which analytic devices read


@runtime_checkable
class Device(Protocol):
    """Runs a model and times it.

    A model that will not run is a `Measurement` with a failure, not an exception.
    """

    @property
    def name(self) -> str: ...

    def measure(self, model: ExportedModel) -> Measurement: ...


@runtime_checkable
class Identified(Device, Protocol):
    """A device that can say what decides its figures, so that they can be stored and used again."""

    def identity(self) -> Mapping[str, str | int | float] | None:
        """All but the model that a figure depends on: machine, versions, settings.

        None where it cannot be told now.
        """
        ...


@runtime_checkable
class Reachable(Device, Protocol):
    """A device that can say without a network whether it is there."""

    def check(self) -> None:
        """Raises `UserError` where the device cannot measure now; takes seconds at most."""
        ...


def check_reachable(device: Device) -> None:
    """Raises `UserError`, in one line, where a device is not there, or lacks what it measures with.

    Asked before the hours are spent.
    """
    if isinstance(device, Reachable):
        device.check()


def check_effort(threads: int, seconds: float) -> None:
    """Refuses numbers that no measurement can be made with."""
    if threads < 1:
        raise UserError(f"threads must be 1 or more, got {threads}: choose a larger number")
    if not 0 < seconds < math.inf:
        raise UserError(
            f"seconds per measurement must be above 0 and finite, got {seconds}: choose another "
            "number"
        )


def failed(device: str, threads: int, runtime: str, error: Exception) -> Measurement:
    """The measurement of a network that would not load or run."""
    return Measurement(device, math.nan, math.nan, math.nan, 0, threads, runtime, describe(error))


def measured(
    device: str, threads: int, runtime: str, runs: Callable[[], Float64[np.ndarray, "runs"]]
) -> Measurement:
    """The measurement that `runs`, a call which times single runs in ms, comes to.

    Where its noise floor is above 10 %, all of it is made again; after five times it has failed: no
    figure is better than one that nobody can rely on. On two shared, busy cores none of 720
    measurements was refused, and one took 1.04 to 1.31 attempts; that the whole of a measurement
    fell into a slow phase is not seen here.
    """
    floors = []
    for _ in range(TRIES):
        times_ms = runs()
        floors.append(noise_floor(times_ms))
        if floors[-1] <= NOISE_BOUND:
            figures = summarise(times_ms)._asdict()
            runs_made = len(times_ms)
            return Measurement(
                device,
                **figures,
                repeats=runs_made,
                threads=threads,
                runtime=runtime,
                noise_floor=floors[-1],
            )
    advice = "stop what else runs there, or measure for longer"
    noise = (
        f"two halves of a measurement differ by {min(floors):.0%} at best of {TRIES}, the bound is "
        f"{NOISE_BOUND:.0%}"
    )
    return replace(
        failed(device, threads, runtime, TooNoisy(f"{noise}: {advice}")), noise_floor=min(floors)
    )


class TooNoisy(Exception):
    """A machine on which a measurement does not agree with itself."""


def time_runs(run: Callable[[], object], seconds: float) -> Float64[np.ndarray, "runs"]:
    """Milliseconds of single runs, repeated for about `seconds`.

    At least 20 of them, after a tenth of that to warm up.
    """
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


class Summary(NamedTuple):
    """What the runs of a measurement come to."""

    latency_ms: float
    p10_ms: float
    median_ms: float
    p90_ms: float
    p99_ms: float


def summarise(times_ms: Float64[np.ndarray, "runs"]) -> Summary:
    """Latency and quantiles of the runs; the latency is the fastest run.

    Neighbours only ever slow a run down, so the fastest run repeats best: of 90 pairs of
    measurements (30 networks of 0.04 to 2.8 ms, 0.2 s each, two shared cores with none, one and two
    busy neighbours) 90 agreed within 5 %, of their medians 70. It rejects every outlier on the slow
    side, however many; a single run that is too fast for the machine is caught by `noise_floor`. A
    slow phase that outlasts a whole measurement is only seen by measuring again later. The
    quantiles show what a run took on the machine as it was. The 99 % quantile is a run's own time,
    nothing in between: of fewer than 100 runs, the slowest.

    >>> summarise(np.array([3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0, 9.0]))
    Summary(latency_ms=1.0, p10_ms=2.0, median_ms=2.0, p90_ms=3.0, p99_ms=9.0)
    """
    p10, median, p90 = np.quantile(times_ms, [0.1, 0.5, 0.9])
    p99 = np.quantile(times_ms, 0.99, method="inverted_cdf")
    return Summary(float(times_ms.min()), float(p10), float(median), float(p90), float(p99))


def noise_floor(times_ms: Float64[np.ndarray, "runs"]) -> float:
    """How far the latencies of the first and of the second half of the runs differ.

    As a share of the faster.

    Differences between networks below it mean nothing.

    >>> noise_floor(np.array([1.0, 3.0, 1.25, 9.0]))
    0.25
    """
    first, second = (half.min() for half in np.array_split(times_ms, 2))
    return float(abs(first - second) / min(first, second))
