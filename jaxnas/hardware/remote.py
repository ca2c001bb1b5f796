"""Another machine through SSH: run a command there, send a file, fetch one; and ONNX Runtime there as a measured device.

It uses this machine's `ssh` and `scp` with the user's own keys and `~/.ssh/config`, and never asks a question: a host that
wants a password, or whose key is not known yet, is one that cannot be reached. There it needs Linux and Python.
"""

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

import numpy as np
from jaxtyping import Float64

from jaxnas.errors import UserError
from jaxnas.hardware.device import MIN_RUNS, ExportedModel, Measurement, check_effort, failed, measured
from jaxnas.store import source_digest

OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3")
HOST = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
PATH = re.compile(r"[A-Za-z0-9_./~][A-Za-z0-9_./~-]*", re.ASCII)  # the same to every shell and every version of scp
CONNECTION_FAILED = 255  # what ssh exits with, and a recent scp
CUT_OFF = re.compile("lost connection|connection (closed|reset)", re.IGNORECASE)  # what an older scp says of it
OUT_OF_TIME = 124  # what `timeout` exits with
KILLED = 137
GRACE_S = 20.0  # beyond a command's own time: to connect, and for the far side to end it
BRIEF_S = 60.0  # for what takes a moment: a folder made or removed, a question of versions
TRANSFER_S = 300.0


@dataclass(frozen=True)
class Remote:
    """A machine that `ssh HOST` reaches. `host` is a name, an address or an alias of ~/.ssh/config, with USER@ if need be."""

    host: str

    def __post_init__(self) -> None:
        if not HOST.fullmatch(self.host):
            expected = "a host must be NAME or USER@NAME of letters, digits, dots, - and _, not beginning with -"
            raise UserError(f"{expected}, got {self.host!r}: give anything else an alias in ~/.ssh/config")
        missing = [name for name in ("ssh", "scp") if shutil.which(name) is None]
        if missing:
            raise UserError(f"a device behind SSH needs {' and '.join(missing)} on this machine: install an OpenSSH client")

    def run(self, argv: Sequence[str], timeout: float, stdin: str = "") -> CompletedProcess[str]:
        """Run a command there and wait for it; it is ended after `timeout` seconds. Whatever it exits with is a result.

        Raises:
            ConnectionError: the machine cannot be reached, or has stopped answering.
            TimeoutError: the command took longer, or was killed.
        """
        limited = shlex.join(["timeout", "-k", "5", f"{timeout:g}", *argv])
        command = shlex.join(["sh", "-c", f"{limited}; exit $?"])  # without a shell around it, a crash is 255 to ssh
        done = self._call(["ssh", *OPTIONS, "--", self.host, command], timeout + GRACE_S, stdin)
        if done.returncode == CONNECTION_FAILED:
            raise ConnectionError(f"cannot reach {self.host}: {last_line(done.stderr)}")
        program = f"{PurePosixPath(argv[0]).name} on {self.host}"
        if done.returncode == OUT_OF_TIME:
            raise TimeoutError(f"{program} took longer than {timeout:g} s and was ended")
        if done.returncode == KILLED:
            raise TimeoutError(f"{program} was killed, out of time or memory")
        return done

    def upload(self, local: str | os.PathLike[str], remote: str, timeout: float = TRANSFER_S) -> None:
        """Copy a file there. Raises as `fetch`."""
        self._copy(str(Path(local).absolute()), self._there(remote), timeout)

    def fetch(self, remote: str, local: str | os.PathLike[str], timeout: float = TRANSFER_S) -> None:
        """Copy a file from there.

        Raises:
            ConnectionError: the machine cannot be reached, or has stopped answering.
            OSError: anything else that scp does not like, in its words.
        """
        self._copy(self._there(remote), str(Path(local).absolute()), timeout)

    @contextmanager
    def folder(self) -> Iterator[str]:
        """The path of a new temporary folder there, which is removed afterwards unless the connection is gone."""
        made = self.run(["mktemp", "-d", "/tmp/jaxnas.XXXXXXXXXX"], BRIEF_S)
        path = last_line(made.stdout)
        if made.returncode or not re.fullmatch(r"/tmp/jaxnas\.[A-Za-z0-9]{10}", path):
            raise OSError(f"cannot make a temporary folder on {self.host}: {last_line(made.stderr) or path!r}")
        try:
            yield path
        finally:
            with suppress(OSError):
                self.run(["rm", "-rf", "--", path], BRIEF_S)

    def _there(self, path: str) -> str:
        if not PATH.fullmatch(path):
            raise UserError(f"a path on {self.host} must be of letters, digits and ._/~-, not beginning with -, got {path!r}: rename it")
        return f"{self.host}:{path}"

    def _copy(self, source: str, target: str, timeout: float) -> None:
        done = self._call(["scp", *OPTIONS, "--", source, target], timeout)
        if done.returncode == CONNECTION_FAILED or (done.returncode and CUT_OFF.search(done.stderr)):
            raise ConnectionError(f"cannot reach {self.host}: {' '.join(done.stderr.split())}")
        if done.returncode:
            raise OSError(f"cannot copy to or from {self.host}: {last_line(done.stderr)}")

    def _call(self, argv: list[str], timeout: float, stdin: str = "") -> CompletedProcess[str]:
        """Run a local command in a process group of its own, of which nothing is left where it does not end by itself."""
        pipe = subprocess.PIPE
        with subprocess.Popen(
            argv, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8", errors="replace", start_new_session=True
        ) as process:
            try:
                out, err = process.communicate(stdin, timeout)
            except BaseException as error:
                os.killpg(process.pid, signal.SIGKILL)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise ConnectionError(f"{self.host} has not answered within {timeout:g} s") from None
                raise
        return CompletedProcess(argv, process.returncode, out, err)


def last_line(text: str) -> str:
    """The last line that is not empty: what a program that failed has to say."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def tool(name: str) -> Path:
    """A script of tools/export, which runs in another interpreter: in a checkout, or where a wheel puts it."""
    package = Path(__file__).parents[1]
    return next(path for path in (package / "tools/export" / name, package.parent / "tools/export" / name) if path.exists())


@dataclass(frozen=True)
class RemoteDevice:
    """The processor of another machine, a Raspberry Pi say, through its own ONNX Runtime; figures as `OnnxRuntime` makes them.

    `python` is an interpreter there that has onnxruntime and numpy. A model that takes longer than `timeout` seconds has
    failed. One whose `Measurement` is `lost` says nothing about the network: the machine was not there.
    """

    host: str
    python: str = "python3"
    threads: int = 1
    seconds: float = 0.2
    timeout: float = 120.0

    def __post_init__(self) -> None:
        check_effort(self.threads, self.seconds)
        _ = self.remote

    @property
    def name(self) -> str:
        return f"ssh:{self.host}"

    @cached_property
    def remote(self) -> Remote:
        return Remote(self.host)

    @cached_property
    def _about(self) -> dict[str, str]:
        return _texts(self._script(), self.host, "runtime", "processor")

    def identity(self) -> dict[str, str | int | float] | None:
        """What that machine says of itself, asked once; threads, seconds, and the code that measures."""
        try:
            about = self._about
        except (OSError, RuntimeError, ValueError):  # the measurement will say it better
            return None
        script = hashlib.sha256(tool("measure_onnxruntime.py").read_bytes()).hexdigest()
        settings = {"threads": self.threads, "seconds": self.seconds}
        return {"device": self.name, **about, **settings, "code": source_digest("hardware/device.py"), "script": script}

    def measure(self, model: ExportedModel) -> Measurement:
        """Send the model, time it there, and remove it again."""
        about = {"runtime": "onnxruntime"}
        try:
            data = model.model if isinstance(model.model, bytes) else model.model.read_bytes()
            sha256 = hashlib.sha256(data).hexdigest()
            with self._uploaded(data) as path:

                def runs() -> Float64[np.ndarray, "runs"]:
                    answer = self._script(path, sha256, str(self.threads), f"{self.seconds:g}")
                    about.update(_texts(answer, self.host, "runtime", "processor", "clock"))
                    return _times_ms(answer, self.host)

                measurement = measured(self.name, self.threads, "", runs)
        except (OSError, RuntimeError, ValueError) as error:
            measurement = failed(self.name, self.threads, "", error)
        return replace(measurement, **about)

    @contextmanager
    def _uploaded(self, data: bytes) -> Iterator[str]:
        with self.remote.folder() as folder, TemporaryDirectory() as here:
            model = Path(here) / "model.onnx"
            model.write_bytes(data)
            self.remote.upload(model, f"{folder}/model.onnx")
            yield f"{folder}/model.onnx"

    def _script(self, *arguments: str) -> dict[str, object]:
        """What tools/export/measure_onnxruntime.py answers there; it is sent through ssh's standard input."""
        source = tool("measure_onnxruntime.py").read_text(encoding="utf-8")
        done = self.remote.run([self.python, "-", *arguments], self.timeout, source)
        if done.returncode:
            raise RuntimeError(f"{self.python} on {self.host}: {last_line(done.stderr) or f'exit code {done.returncode}'}")
        try:
            answer = json.loads(last_line(done.stdout))
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ValueError(f"the answer of {self.host} is cut off or no JSON: {last_line(done.stdout)[:60]!r}")
        if "failure" in answer:
            raise RuntimeError(f"{self.host}: {answer['failure']}")
        return answer


def _texts(answer: dict[str, object], host: str, *names: str) -> dict[str, str]:
    """Some values of an answer, each a line of text."""
    texts = {name: value for name in names if isinstance(value := answer.get(name), str)}
    if len(texts) < len(names):
        raise ValueError(f"the answer of {host} must have the texts {', '.join(names)}, got {', '.join(answer)}")
    return {name: " ".join(text.split()) for name, text in texts.items()}


def _times_ms(answer: dict[str, object], host: str) -> Float64[np.ndarray, "runs"]:
    times = answer.get("times_ns")
    if not isinstance(times, list) or len(times) < MIN_RUNS or not all(type(time) is int and time > 0 for time in times):
        raise ValueError(f"the answer of {host} must have times_ns, {MIN_RUNS} or more whole numbers above 0")
    return np.array(times, np.float64) / 1e6
