"""This machine through OpenVINO: a second runtime that is really measured.

The package is optional.
"""

import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from jaxnas.errors import UserError, how_to_install
from jaxnas.hardware.device import ExportedModel, Measurement, failed_measurement
from jaxnas.hardware.machine import clock, processor
from jaxnas.hardware.timing import check_effort, measurement_of, time_runs
from jaxnas.records.cache import source_digest


@dataclass(frozen=True)
class OpenVino:
    """The processor of this machine as OpenVINO drives it.

    As `OnnxRuntime`, one image at a time, tuned for latency.

    It computes in float32, also where the processor has bfloat16, which OpenVINO would take by
    itself.
    """

    threads: int = 1
    seconds: float = 0.2

    def __post_init__(self) -> None:
        check_effort(self.threads, self.seconds)
        if find_spec("openvino") is None:
            raise UserError(
                "the device openvino needs the package openvino, which is not installed: "
                f"{how_to_install('openvino')}"
            )

    @property
    def name(self) -> str:
        return "openvino"

    @property
    def runtime(self) -> str:
        return f"openvino {version('openvino')}"

    def identity(self) -> dict[str, str | int | float]:
        """Machine, version, threads, seconds, and the code that measures."""
        code = source_digest("hardware/timing.py", "hardware/openvino.py")
        machine = {"host": platform.node(), "processor": processor()}
        return {
            "device": self.name,
            "runtime": self.runtime,
            **asdict(self),
            **machine,
            "code": code,
        }

    def measure(self, model: ExportedModel) -> Measurement:
        """Load the model, run it on one image for about `seconds`, and say how long a run takes."""
        try:
            run = _prepare(model.model, self.threads)
            measurement = measurement_of(
                self.name, self.threads, self.runtime, lambda: time_runs(run, self.seconds)
            )
        except Exception as error:
            # Whatever the runtime raises on a network is that network's result.
            measurement = failed_measurement(self.name, self.threads, self.runtime, error)
        return replace(measurement, clock=clock(), processor=processor())


def _prepare(model: Path | bytes, threads: int) -> Callable[[], None]:
    """One run of the model as a call without arguments."""
    # By name: it need not be there, and this file is called the same.
    openvino: Any = import_module("openvino")
    core = openvino.Core()
    network = (
        core.read_model(model, b"") if isinstance(model, bytes) else core.read_model(str(model))
    )
    (image,) = network.inputs
    if not image.partial_shape.is_static:
        raise ValueError(
            f"the input {image.any_name} must have a static shape, got {image.partial_shape}"
        )
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = core.compile_model(network, "CPU", settings).create_infer_request()
    pixels = np.random.default_rng(0).standard_normal(tuple(image.shape), np.float32)
    request.set_input_tensor(openvino.Tensor(pixels))

    def run() -> None:
        request.start_async()
        request.wait()

    return run
