"""What a device is: something that says, by running a network, how long it takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Measurement:
    """One network timed on one device; a failed run has `latency_ms` NaN and says why in `failure`."""

    device: str
    latency_ms: float  # median of the repeats
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


class Device(Protocol):
    """Runs a model and times it. A model that will not run is a `Measurement` with a failure, not an exception."""

    @property
    def name(self) -> str: ...

    def measure(self, model: ExportedModel) -> Measurement: ...
