"""What a device is: it runs a network and says how long that takes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from jaxnas.hardware.failures import describe, is_ambiguous, is_equipment
from jaxnas.networks.costs import Layers


@dataclass(frozen=True)
class Measurement:
    """One network timed on one device.

    A failed run has `latency_ms` NaN and says why in `failure`, in one line.
    """

    device: str
    latency_ms: float  # the fastest run: see timing.py
    p10_ms: float
    p90_ms: float
    repeats: int
    threads: int
    runtime: str  # "onnxruntime 1.31.1"
    failure: str = ""
    noise_floor: float = math.nan  # a share of the latency: see timing.py
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
    def ambiguous(self) -> bool:
        """Whether the failure may be the device's as well as the network's."""
        return is_ambiguous(self.failure)


@dataclass(frozen=True)
class ExportedModel:
    """A network as a device sees it: an ONNX file or its bytes, and the genome it was made from."""

    model: Path | bytes
    genome: np.ndarray
    turn: int = 0  # which of several measurements of this network; they are stored apart
    layers: Layers | None = None  # its cost table, which cost models read
    # Settings of the chip that its genome chooses, of a device that leaves some to be chosen.
    chip: Mapping[str, int] = field(default_factory=dict)

    def read(self) -> bytes:
        """The ONNX file's content; an `OSError` where it cannot be read."""
        return self.model if isinstance(self.model, bytes) else self.model.read_bytes()


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
    """A device that says what decides its figures, so that they can be stored and used again."""

    def identity(self) -> Mapping[str, str | int | float] | None:
        """What a figure depends on beside the model: machine, versions, settings.

        None where the device cannot tell now.
        """
        ...


@runtime_checkable
class Reachable(Device, Protocol):
    """A device that says, without running a network, whether it is there."""

    def check(self) -> None:
        """Raises `UserError` where the device cannot measure now; takes seconds at most."""
        ...


def check_reachable(device: Device) -> None:
    """Raises `UserError` where a device is not there, or lacks what it measures with.

    Called before hours are spent.
    """
    if isinstance(device, Reachable):
        device.check()


def failed_measurement(device: str, threads: int, runtime: str, error: Exception) -> Measurement:
    """The measurement of a network that would not load or run."""
    return Measurement(device, math.nan, math.nan, math.nan, 0, threads, runtime, describe(error))
