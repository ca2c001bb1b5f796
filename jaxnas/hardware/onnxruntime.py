"""This machine through ONNX Runtime: a device that is really measured."""

import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime

from jaxnas.hardware.device import ExportedModel, Measurement, failed_measurement
from jaxnas.hardware.machine import clock, processor
from jaxnas.hardware.timing import check_effort, measurement_of, time_runs
from jaxnas.records.cache import source_digest

SILENT = 4  # failures are part of the measurement, not of the terminal
RUNTIME = f"onnxruntime {onnxruntime.__version__}"


@dataclass(frozen=True)
class OnnxRuntime:
    """The processor of this machine.

    One image at a time, `threads` threads, about `seconds` per network.

    Sessions are the default ones, as users make them; tools/export/measure_onnxruntime.py has the
    same for another machine. The image is random, float32, of the model's input shape, which must
    be static. A model that does not load or run is a measurement with a failure, and so is one on a
    machine that is too noisy.
    """

    threads: int = 1
    seconds: float = 0.2

    def __post_init__(self) -> None:
        check_effort(self.threads, self.seconds)

    @property
    def name(self) -> str:
        return "onnxruntime"

    def identity(self) -> dict[str, str | int | float]:
        """Machine, version, threads, seconds, and the code that measures."""
        code = source_digest("hardware/timing.py", "hardware/onnxruntime.py")
        machine = {"host": platform.node(), "processor": processor()}
        return {"device": self.name, "runtime": RUNTIME, **asdict(self), **machine, "code": code}

    def measure(self, model: ExportedModel) -> Measurement:
        """Load the model, run it on one image for about `seconds`, and say how long a run takes."""
        try:
            run = _prepare(model.model, self.threads)
            measurement = measurement_of(
                self.name, self.threads, RUNTIME, lambda: time_runs(run, self.seconds)
            )
        except Exception as error:
            # Whatever the runtime raises on a network is that network's result.
            measurement = failed_measurement(self.name, self.threads, RUNTIME, error)
        return replace(measurement, clock=clock(), processor=processor())


def _prepare(model: Path | bytes, threads: int) -> Callable[[], None]:
    """One run of the model as a call without arguments.

    Inputs and outputs are bound, which saves 3 us a run.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = SILENT
    source = model if isinstance(model, bytes) else str(model)
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    (image,) = session.get_inputs()
    if not all(isinstance(size, int) for size in image.shape):
        raise ValueError(f"the input {image.name} must have a static shape, got {image.shape}")
    binding.bind_cpu_input(
        image.name, np.random.default_rng(0).standard_normal(image.shape, np.float32)
    )
    for output in session.get_outputs():
        binding.bind_output(output.name, "cpu")
    return lambda: session.run_with_iobinding(binding)
