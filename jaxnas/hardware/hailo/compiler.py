"""Compile ONNX to a program for a Hailo chip (HEF), by Hailo's Dataflow Compiler.

The compiler pins Python packages that no current JAX can share, so it runs in an interpreter of its
own and is driven through scripts of tools/export and files. A compilation that fails is a result
with its reason: networks that do not fit the chip are an ordinary outcome of a search.
"""

import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Num

from jaxnas.errors import UserError
from jaxnas.hardware.export_scripts import export_script
from jaxnas.hardware.failures import describe, failure_line, is_ambiguous, is_equipment
from jaxnas.hardware.hailo.log import CompilerLog, parse_log
from jaxnas.hardware.hailo.process import RESULTS, Ended, run
from jaxnas.hardware.ssh_connection import last_line
from jaxnas.records.whole import write_whole

GET_IT = (
    "the Dataflow Compiler 3.x is a wheel from Hailo's developer zone (free, after registration) "
    "for x86-64 Linux: install it into an environment of its own (tools/export/README.md) and set "
    "HAILO_DFC_PYTHON to that environment's python"
)
SCRIPTS = ("hailo_compile.py", "hailo_emulate.py", "hailo_failures.py")
CHECK_SECONDS = 300.0  # the compiler loads TensorFlow
# The files of a compilation.
KEPT = (*RESULTS, "model.onnx", "model.alls", "log.txt", "compilation.json")
SIMULATED = b"simulated"  # what a HEF begins with that no compiler made


def model_script(
    mean: Sequence[float],
    deviation: Sequence[float],
    optimization_level: int = 0,
    performance: str = "1",
    images: int = 64,
    seed: int = 0,
) -> str:
    """The compiler's model script.

    (x - mean) / deviation on chip (of pixels 0 to 255), no 4-bit weights, effort, calibration,
    seed.

    `optimization_level` is that of quantisation, -100 or 0 to 4; from 2 it wants 1024 images and a
    GPU, or is lowered to 0. `performance` is the search for a fast mapping: "0", "1" or "max",
    which takes minutes to hours.

    >>> print(model_script([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]))
    normalization1 = normalization([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    model_optimization_flavor(optimization_level=0, compression_level=0)
    model_optimization_config(calibration, batch_size=8, calibset_size=64)
    performance_param(compiler_optimization_level=1)
    set_seed(seed=0)
    """
    if optimization_level not in (-100, 0, 1, 2, 3, 4):
        raise UserError(
            f"the optimisation level must be -100 or 0 to 4, got {optimization_level}: choose one "
            "of them"
        )
    if performance not in ("0", "1", "max"):
        raise UserError(
            f"the performance level must be '0', '1' or 'max', got {performance!r}: choose one of "
            "them"
        )
    if (
        len(mean) != len(deviation)
        or not all(map(math.isfinite, [*mean, *deviation]))
        or not all(value > 0 for value in deviation)
    ):
        raise UserError(
            f"a mean and a deviation above 0 are needed for each channel, got {list(mean)} and "
            f"{list(deviation)}"
        )
    return "\n".join(
        [
            (
                f"normalization1 = normalization({[round(float(m), 6) for m in mean]}, "
                f"{[round(float(d), 6) for d in deviation]})"
            ),
            (
                f"model_optimization_flavor(optimization_level={optimization_level}, "
                "compression_level=0)"
            ),
            f"model_optimization_config(calibration, batch_size=8, calibset_size={images})",
            f"performance_param(compiler_optimization_level={performance})",
            f"set_seed(seed={seed})",
        ]
    )


@dataclass(frozen=True)
class Compilation:
    """The outcome of compiling one network; all its files are in `folder`."""

    folder: Path  # model.onnx, model.alls, parsed.har, quantised.har, model.hef, log.txt
    # "allocator: BackendAllocatorException: ...", one line; empty where there is a HEF.
    failure: str
    version: str  # of the compiler, "3.33.0"; empty where it did not get as far as to say
    seconds: float
    log: CompilerLog

    @property
    def hef(self) -> Path:
        return self.folder / "model.hef"

    @property
    def final(self) -> bool:
        """Whether compiling again would give the same."""
        return not (is_equipment(self.failure) or is_ambiguous(self.failure))

    @property
    def simulated(self) -> bool:
        """Whether the HEF says that it comes from no real compiler."""
        if not self.hef.exists():
            return False
        with open(self.hef, "rb") as file:
            return file.read(len(SIMULATED)) == SIMULATED


@dataclass(frozen=True)
class Compiler:
    """The Dataflow Compiler behind `python`, a path or HOST:PATH.

    A compile that takes longer than `seconds` is stopped.
    """

    python: str
    hw_arch: str = "hailo8l"
    seconds: float = 3600.0

    def version(self) -> str:
        """Of the compiler; a `UserError` that says how to get it where there is none."""
        program = "import hailo_sdk_client as sdk; print(); print(sdk.__version__)"
        try:
            ended = run(self.python, ["-c", program], {}, CHECK_SECONDS)
        except OSError as error:
            raise UserError(
                f"HAILO_DFC_PYTHON={self.python} cannot be run ({error}); {GET_IT}"
            ) from error
        found = last_line(ended.output)
        if ended.code != 0 or not re.fullmatch(r"[\w.+-]{1,40}", found, re.ASCII):
            raise UserError(
                f"HAILO_DFC_PYTHON={self.python} has no Dataflow Compiler "
                f"({found or _how(ended)}); {GET_IT}"
            )
        return found

    def compile(
        self, model: bytes, script: str, calibration: Num[np.ndarray, "n h w c"], folder: Path
    ) -> Compilation:
        """Compile an ONNX file, with raw calibration images; `folder` gets the files.

        Raises `OSError` where files cannot be written or the interpreter cannot be started.
        """
        files = {
            "model.onnx": model,
            "calibration.npy": _npy(calibration),
            "model.alls": script.encode(),
        }
        command = ["hailo_compile.py", *files, "out", "--name", "subnet", "--hw-arch", self.hw_arch]
        ended = run(self.python, command, files | _scripts(), self.seconds)
        result = _result(ended)
        del files["calibration.npy"]
        outcome = json.dumps({**result, "failure": _failure(result, ended)}).encode()
        _write(
            folder,
            {**files, **ended.files, "log.txt": ended.output.encode(), "compilation.json": outcome},
        )
        return read_compilation(folder)

    def emulate(
        self, compilation: Compilation, images: Num[np.ndarray, "n h w c"], seconds: float = 600.0
    ) -> "Emulation":
        """The logits that the compiler's emulator computes from raw images.

        A compiler that has no emulator, or fails, gives an `Emulation` with a failure.
        """
        try:
            files = {
                "quantised.har": (compilation.folder / "quantised.har").read_bytes(),
                "images.npy": _npy(images),
            }
            ended = run(
                self.python, ["hailo_emulate.py", *files, "out"], files | _scripts(), seconds
            )
            failure = _failure(_result(ended), ended)
            logits = (
                None
                if failure
                else np.load(io.BytesIO(ended.files["logits.npy"]), allow_pickle=False)
            )
        except Exception as error:  # NumPy has several for files that are none
            return Emulation(None, describe(error))
        if logits is not None and (
            logits.ndim != 2 or len(logits) != len(images) or logits.dtype.kind != "f"
        ):
            return Emulation(
                None,
                (
                    f"emulator: logits must be floats ({len(images)}, classes), got {logits.dtype} "
                    f"{logits.shape}"
                ),
            )
        return Emulation(logits, failure)


@dataclass(frozen=True)
class Emulation:
    """Logits of a quantised network; None where they could not be computed, as `failure` says."""

    logits: Float32[np.ndarray, "n classes"] | None
    failure: str = ""

    def accuracy(self, labels: Num[np.ndarray, "n"]) -> float:
        """Share of images whose largest logit is that of their label; NaN without logits."""
        return math.nan if self.logits is None else float(np.mean(self.logits.argmax(-1) == labels))


def read_compilation(folder: Path) -> Compilation:
    """A compilation from its folder.

    Raises `OSError` or `ValueError` where there is none or it is damaged.
    """
    result = _parsed((folder / "compilation.json").read_bytes())
    log = parse_log((folder / "log.txt").read_text(encoding="utf-8", errors="replace"))
    failure = result.get("failure")
    version = result.get("version", "")
    seconds = result.get("seconds")
    if (
        not isinstance(failure, str)
        or not isinstance(version, str)
        or not (seconds is None or _is_duration(seconds))
    ):
        raise ValueError(f"{folder}/compilation.json is damaged: delete the folder")
    return Compilation(
        folder,
        failure_line(failure),
        failure_line(version),
        math.nan if seconds is None else float(seconds),
        log,
    )


def _parsed(data: bytes) -> dict:
    """A JSON object; ValueError where it is none."""
    try:
        result = json.loads(data)
    except RecursionError:
        result = None
    if not isinstance(result, dict):
        raise ValueError("a JSON object is needed")
    return result


def _scripts() -> dict[str, bytes]:
    return {name: export_script(name).read_bytes() for name in SCRIPTS}


def _npy(array: Num[np.ndarray, "..."]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Files in order, each whole or not at all; the last says that the folder is complete."""
    if not files.keys() <= set(KEPT):
        raise OSError(f"a compilation has the files {', '.join(KEPT)}, got {', '.join(files)}")
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_whole(folder / name, content)


def _result(ended: Ended) -> dict:
    """What a script recorded; nothing where it ended before that."""
    try:
        result = _parsed(ended.files["result.json"])
    except (KeyError, ValueError):
        return {}
    texts = {
        name: failure_line(value)
        for name in ("stage", "failure", "reason", "version")
        if isinstance(value := result.get(name), str)
    }
    seconds = result.get("seconds")
    return texts | ({"seconds": seconds} if _is_duration(seconds) else {})


def _is_duration(value: object) -> bool:
    """Whether a value is a plausible number of seconds."""
    return isinstance(value, int | float) and 0 <= value < 1e9


def _failure(result: dict, ended: Ended) -> str:
    """Why a program failed, kind and reason in one line; empty for a success.

    From what its script recorded and how it ended.
    """
    noted = result.get("failure", "unfinished")
    stage = result.get("stage", "start")
    if noted != "unfinished":
        return f"{noted}: {result.get('reason', '')}" if noted else ""
    if ended.code is None:
        return f"timeout: stopped in stage {stage!r}, having run out of time"
    return f"crash: in stage {stage!r}: {_how(ended)}: {last_line(ended.output)}"


def _how(ended: Ended) -> str:
    """
    >>> _how(Ended(-11, "", {})), _how(Ended(1, "", {}))
    ('killed by signal 11', 'exit code 1')
    """
    return (
        f"killed by signal {-ended.code}"
        if ended.code is not None and ended.code < 0
        else f"exit code {ended.code}"
    )
