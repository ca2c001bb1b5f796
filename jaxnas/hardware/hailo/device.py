"""The Hailo-8L accelerator as a measured device.

The Dataflow Compiler and HailoRT each run in an interpreter of their own, perhaps on another
machine.
"""

import json
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from jaxtyping import UInt8

from jaxnas.errors import UserError
from jaxnas.hardware.device import ExportedModel, Measurement
from jaxnas.hardware.failures import DeviceError, describe, failure_line
from jaxnas.hardware.hailo.compiler import (
    GET_IT,
    Compilation,
    Compiler,
    model_script,
    read_compilation,
)
from jaxnas.hardware.hailo.runtime import Runs, Runtime
from jaxnas.hardware.timing import check_effort
from jaxnas.records.cache import digest, held_folder

# Compiler and HailoRT that were released together (public documentation of the model zoo, 2.12 to
# 2.18).
PAIRS = {
    "3.28": "4.18",
    "3.29": "4.19",
    "3.30": "4.20",
    "3.31": "4.21",
    "3.32": "4.22",
    "3.33": "4.23",
}
GREY = 127.5  # mean and deviation of a model that does not say how its images are normalised
BOARD_PYTHON = (
    "set HAILO_RT_PYTHON to a python on the machine with the Hailo-8L and HailoRT 4.x: a path, or "
    "HOST:PATH through SSH, such as pi@raspberrypi:/usr/bin/python3"
)


@dataclass(frozen=True)
class HailoMeasurement(Measurement):
    """A network on a Hailo chip; `latency_ms` is the chip's own at batch 1.

    What was not measured is NaN or None. hailortcli reports averages, so there are no quantiles and
    no median; `repeats` is the number of frames.
    """

    fps: float = math.nan  # streaming, batch 1
    overall_ms: float = math.nan  # host's sending to host's receiving, batch 1
    fps_batch8: float = math.nan
    latency_batch8_ms: float = math.nan
    contexts: int | None = None  # 1: the whole network fits the chip
    control: float = math.nan  # shares of the chip in use, 0 to 1, in the fullest context
    compute: float = math.nan
    memory: float = math.nan
    compiler: str = ""  # "3.33.0"
    hailort: str = ""
    compile_seconds: float = math.nan
    simulated: bool = False  # by stand-ins for compiler and chip: no figure of this row is Hailo's
    folder: str = ""  # where HEF, HAR, model script and logs are kept


@dataclass(frozen=True, eq=False)
class Hailo:
    """The Hailo-8L.

    A network that the compiler or the chip refuses is a measurement with a failure.

    `images` (raw, 0 to 255) calibrate the quantisation. Without them it is calibrated with noise,
    which is good for latency and useless for accuracy. Pixels are normalised on chip, with `mean`
    and `deviation` (of 0 to 255), or those of the model's own metadata. Compilations are kept in
    the cache; a network that was compiled before, by the same compiler with the same settings, is
    not compiled again.
    """

    compiler: Compiler
    runtime: Runtime
    compiler_version: str = ""
    images: UInt8[np.ndarray, "n h w c"] | None = None
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    optimization_level: int = 0
    performance: str = "1"
    seed: int = 0

    @property
    def name(self) -> str:
        return "hailo8l"

    def measure(self, model: ExportedModel) -> HailoMeasurement:
        """Compile the network, unless that was done before, and run it on the chip."""
        compilation = None
        try:
            compilation = self.compilation(model)
            if compilation.failure:
                return _compiled(compilation, compilation.failure)
            return _measured(compilation, self.runtime.measure(compilation.hef.read_bytes()))
        except ValueError as error:
            return _compiled(compilation, failure_line(str(error)))
        except (DeviceError, OSError) as error:
            return _compiled(compilation, describe(error))

    def check(self) -> None:
        """Raises `UserError` where there is no board.

        The compiler was checked when the device was made.
        """
        try:
            found = self.runtime.board().architecture
            if found != self.runtime.architecture:
                raise DeviceError(
                    f"architecture: the device must be of {self.runtime.architecture}, got {found}"
                )
        except (DeviceError, OSError) as error:
            raise UserError(
                f"the device {self.name} cannot measure ({describe(error)}): mend it, or "
                f"{BOARD_PYTHON}"
            ) from error

    def compilation(self, model: ExportedModel) -> Compilation:
        """The network compiled, now or before.

        Raises `ValueError` for what is no network of one image, `OSError` for the rest.
        """
        data = model.read()
        (height, width, channels), mean, deviation = _image(data, self.mean, self.deviation)
        calibration = self.images
        if calibration is None:
            calibration = np.random.default_rng(self.seed).integers(
                0, 256, (64, height, width, channels), np.uint8
            )
        script = model_script(
            mean, deviation, self.optimization_level, self.performance, len(calibration), self.seed
        )
        key = {"model": np.frombuffer(data, np.uint8), "script": script, "calibration": calibration}
        settings = {"compiler": self.compiler_version, "architecture": self.compiler.hw_arch}
        with held_folder("hailo", digest({**key, **settings})) as folder:
            return _known(folder) or self.compiler.compile(
                data, script, calibration.astype(np.float32), folder
            )


def _known(folder: Path) -> Compilation | None:
    """An earlier compilation, unless it failed in a way that another attempt may not."""
    try:
        compilation = read_compilation(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return (
        compilation
        if compilation.final and (compilation.failure or compilation.hef.exists())
        else None
    )


def _image(
    data: bytes, mean: tuple[float, ...], deviation: tuple[float, ...]
) -> tuple[tuple[int, int, int], list[float], list[float]]:
    """Height, width and channels of a model's image, and its normalisation, of 0 to 255."""
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's own
        raise ValueError(f"parser: no ONNX file: {error}") from error
    shapes = [
        [axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in model.graph.input
    ]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][0] != 1 or 0 in shapes[0]:
        raise ValueError(
            "parser: one input (1, channels, height, width) of a static shape is needed, got "
            f"{shapes}"
        )
    _, channels, height, width = shapes[0]
    about = {entry.key: entry.value for entry in model.metadata_props}
    # As jaxnas exports them, on the scale of 0 to 1.
    if not mean and {"mean", "deviation"} <= about.keys():
        mean, deviation = (
            tuple(255 * np.atleast_1d(json.loads(about[name]))) for name in ("mean", "deviation")
        )
    if not mean:
        mean = (GREY,) * channels
        deviation = (GREY,) * channels
    return (height, width, channels), [float(m) for m in mean], [float(d) for d in deviation]


def _compiled(compilation: Compilation | None, failure: str = "") -> HailoMeasurement:
    """The row of a network that was not run: what its compilation says, if there is one."""
    nothing = HailoMeasurement("hailo8l", math.nan, math.nan, math.nan, 0, 1, "HailoRT", failure)
    if compilation is None:
        return nothing
    simulated = compilation.simulated
    log = compilation.log
    highest = compilation.log.highest()
    return replace(
        nothing,
        runtime=f"{'simulated ' * simulated}compiler {compilation.version or '?'}",
        contexts=log.contexts,
        control=highest.control,
        compute=highest.compute,
        memory=highest.memory,
        compiler=compilation.version,
        compile_seconds=compilation.seconds,
        simulated=simulated,
        warning="; ".join(log.warnings),
        folder=str(compilation.folder),
    )


def _measured(compilation: Compilation, runs: Runs) -> HailoMeasurement:
    """The row of a network that was run.

    Of four runs, only the one for latency at batch 1 must have a figure.
    """
    compiled = _compiled(compilation)
    board = runs.board
    latency = runs.runs["latency", 1]
    failure = latency.failure
    if not failure and not latency.latency_ms > 0:
        failure = (
            "no latency: hailortcli has measured none (it needs one input, and outputs without NMS "
            "on chip)"
        )
    others = [
        f"{mode} at batch {batch}: {run.failure}"
        for (mode, batch), run in runs.runs.items()
        if run.failure and run is not latency
    ]
    warnings = [compiled.warning, mismatch(compilation.version, board.version), *others]
    return replace(
        compiled,
        runtime=f"{compiled.runtime}, HailoRT {board.version or '?'}",
        latency_ms=math.nan if failure else latency.latency_ms,
        repeats=latency.frames,
        failure=failure,
        clock=board.clock,
        processor=board.product,
        fps=runs.runs["streaming", 1].fps,
        overall_ms=latency.overall_ms,
        fps_batch8=runs.runs["streaming", 8].fps,
        latency_batch8_ms=runs.runs["latency", 8].latency_ms,
        contexts=runs.contexts or compiled.contexts,
        hailort=board.version,
        warning="; ".join(warning for warning in warnings if warning),
    )


def mismatch(compiler: str, hailort: str) -> str:
    """A warning where a compiler and a HailoRT were not released together; they often work.

    >>> mismatch("3.33.0", "4.20.0"), mismatch("3.30.0", "4.20.0")
    ('compiler 3.33.0 goes with HailoRT 4.23, the device has 4.20.0', '')
    """
    pair = PAIRS.get(".".join(compiler.split(".")[:2]), "")
    if not pair or not hailort or hailort.split(".")[:2] == pair.split("."):
        return ""
    return f"compiler {compiler} goes with HailoRT {pair}, the device has {hailort}"


def from_environment(seconds: float) -> Hailo:
    """The Hailo-8L behind HAILO_DFC_PYTHON (the compiler) and HAILO_RT_PYTHON (the chip).

    Each run takes `seconds` or more.

    Raises `UserError` where a variable is not set or the compiler is missing.
    """
    check_effort(1, seconds)
    for name, advice in (("HAILO_DFC_PYTHON", GET_IT), ("HAILO_RT_PYTHON", BOARD_PYTHON)):
        if not os.environ.get(name):
            raise UserError(f"the device hailo8l needs {name}, which is not set: {advice}")
    compiler = Compiler(os.environ["HAILO_DFC_PYTHON"])
    runtime = Runtime(os.environ["HAILO_RT_PYTHON"], seconds=max(1, math.ceil(seconds)))
    return Hailo(compiler, runtime, compiler.version())
