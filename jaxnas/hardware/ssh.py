"""A device behind SSH: another machine's processor, timed by the ONNX Runtime that it has."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from jaxtyping import Float64

from jaxnas.errors import UserError
from jaxnas.hardware.device import ExportedModel, Measurement, failed_measurement
from jaxnas.hardware.export_scripts import export_script
from jaxnas.hardware.failures import DeviceError, describe, failure_line
from jaxnas.hardware.ssh_connection import SshConnection, last_line
from jaxnas.hardware.timing import MIN_RUNS, check_effort, measurement_of
from jaxnas.records.cache import source_digest

DAY_NS = 86_400 * 10**9  # no single run takes longer
# What is said of a Python that is not there, or has no ONNX Runtime.
ABSENT = ("ModuleNotFoundError", "ImportError", "No such file", "not found", "Permission denied")
CHECK_S = 30.0  # to say what the machine is


@dataclass(frozen=True)
class SshDevice:
    """The processor of another machine, a Raspberry Pi say, through its own ONNX Runtime.

    Figures as `OnnxRuntime` makes them.

    `python` is an interpreter there that has onnxruntime and numpy. A model that takes longer than
    `timeout` seconds, and than three times `seconds`, has failed. All that is read from there is
    checked: texts, times, their number.
    """

    host: str
    python: str = "python3"
    threads: int = 1
    seconds: float = 0.2
    timeout: float = 120.0

    def __post_init__(self) -> None:
        check_effort(self.threads, self.seconds)
        _ = self.connection

    @property
    def name(self) -> str:
        return f"ssh:{self.host}"

    @cached_property
    def connection(self) -> SshConnection:
        return SshConnection(self.host)

    @cached_property
    def _about(self) -> dict[str, str]:
        return _texts(self._script(CHECK_S), self.host, "runtime", "processor")

    def check(self) -> None:
        """Raises `UserError` where the machine cannot be reached, or has no ONNX Runtime."""
        try:
            _ = self._about
        except (OSError, DeviceError) as error:
            wanted = (
                f"`ssh {self.host}` must work without a password, and {self.python} there must "
                "have onnxruntime and numpy"
            )
            raise UserError(
                f"the device {self.name} cannot measure ({describe(error)}): {wanted}"
            ) from error

    def identity(self) -> dict[str, str | int | float] | None:
        """What that machine says of itself, asked once.

        Threads, seconds, and the code that measures.
        """
        try:
            about = self._about
        except (OSError, DeviceError):  # the measurement will say it better
            return None
        script = hashlib.sha256(export_script("measure_onnxruntime.py").read_bytes()).hexdigest()
        settings = {"threads": self.threads, "seconds": self.seconds}
        return {
            "device": self.name,
            **about,
            **settings,
            "code": source_digest("hardware/timing.py"),
            "script": script,
        }

    def measure(self, model: ExportedModel) -> Measurement:
        """Send the model, time it there, and remove it again."""
        about = {"runtime": "onnxruntime"}
        try:
            data = model.read()
            sha256 = hashlib.sha256(data).hexdigest()
            with self._uploaded(data) as path:

                def runs() -> Float64[np.ndarray, "runs"]:
                    answer = self._script(
                        max(self.timeout, 3 * self.seconds),
                        path,
                        sha256,
                        str(self.threads),
                        f"{self.seconds:g}",
                    )
                    about.update(_texts(answer, self.host, "runtime", "processor", "clock"))
                    return _times_ms(answer, self.host)

                measurement = measurement_of(self.name, self.threads, "", runs)
        except (OSError, RuntimeError, DeviceError) as error:
            measurement = failed_measurement(self.name, self.threads, "", error)
        return replace(measurement, **about)

    @contextmanager
    def _uploaded(self, data: bytes) -> Iterator[str]:
        with self.connection.folder() as folder, TemporaryDirectory() as here:
            model = Path(here) / "model.onnx"
            model.write_bytes(data)
            self.connection.upload(model, f"{folder}/model.onnx")
            yield f"{folder}/model.onnx"

    def _script(self, timeout: float, *arguments: str) -> dict[str, object]:
        """What tools/export/measure_onnxruntime.py answers there.

        It is sent through ssh's standard input.

        Raises:
            DeviceError: Python or ONNX Runtime is missing there, crashes, or answers nonsense.
            RuntimeError: the model does not run there.
            OSError: as `SshConnection.run`.
        """
        source = export_script("measure_onnxruntime.py").read_text()
        done = self.connection.run([self.python, "-", *arguments], timeout, source)
        if done.returncode:
            said = last_line(done.stderr) or f"exit code {done.returncode}"
            kind = "missing ONNX Runtime" if any(word in said for word in ABSENT) else "crash"
            raise DeviceError(f"{kind}: {self.python} on {self.host}: {said}")
        answer = _parsed(done.stdout, self.host)
        if "failure" in answer:
            raise RuntimeError(f"{self.host}: {answer['failure']}")
        return answer


def _parsed(text: str, host: str) -> dict[str, object]:
    """The JSON object of the last line that is not empty."""
    line = text.rstrip().rpartition("\n")[2]
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise DeviceError(
            f"answer: the answer of {host} is cut off or no JSON: {failure_line(line)[:60]!r}"
        )
    return answer


def _texts(answer: dict[str, object], host: str, *names: str) -> dict[str, str]:
    """Some values of an answer, each a line of text."""
    texts = {name: value for name in names if isinstance(value := answer.get(name), str)}
    if len(texts) < len(names):
        raise DeviceError(
            f"answer: the answer of {host} must have the texts {', '.join(names)}, got "
            f"{', '.join(answer)}"
        )
    return {name: failure_line(text) for name, text in texts.items()}


def _times_ms(answer: dict[str, object], host: str) -> Float64[np.ndarray, "runs"]:
    times = answer.get("times_ns")
    if (
        not isinstance(times, list)
        or len(times) < MIN_RUNS
        or not all(type(time) is int and 0 < time < DAY_NS for time in times)
    ):
        raise DeviceError(
            f"answer: the answer of {host} must have times_ns, {MIN_RUNS} or more whole numbers "
            "above 0, below a day"
        )
    return np.array(times, np.float64) / 1e6
