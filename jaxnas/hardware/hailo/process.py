"""Run a program of another interpreter in a scratch folder, here or over SSH; leave nothing behind.

However the program ends, its process group is killed and the folder removed. If this process is
killed first, its watcher does both: this file, run as a script, so it imports nothing but the
standard library at the top.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

OUT = "out"  # the folder inside the scratch folder whose files are handed back
# All that may lie there; see tools/export.
RESULTS = ("result.json", "parsed.har", "quantised.har", "model.hef", "logits.npy")
LOG = "printed.txt"
_POLL = 0.1  # seconds between two looks at whether we are alive
# Settings for our interpreter and its JAX, which break another.
_FOREIGN = ("PYTHON", "JAX_", "XLA_")


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    # Minus the signal that killed it; None: it had to be stopped, having run out of time.
    code: int | None
    output: str  # what it printed, both streams
    files: dict[str, bytes]  # what it left in its folder `out`, by name, of RESULTS


def run(
    interpreter: str, arguments: list[str], files: Mapping[str, bytes], seconds: float
) -> Ended:
    """Run `interpreter` on `arguments` in a folder that holds `files`, for `seconds` at most.

    `interpreter` is the path of a Python, or HOST:PATH for one that `ssh` reaches. The folder has a
    folder `out` for results.

    Raises:
        OSError: files cannot be written, or there are results of other names; ConnectionError: the
            interpreter cannot be started, or the host is not there.
    """
    host, _, python = interpreter.rpartition(":")
    if host:
        return _run_there(host, [python, *arguments], files, seconds)
    return _run_here([python, *arguments], files, seconds)


def _run_here(command: list[str], files: Mapping[str, bytes], seconds: float) -> Ended:
    with tempfile.TemporaryDirectory(prefix="jaxnas-hailo-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / OUT).mkdir()
        for file, content in files.items():
            (folder / file).write_bytes(content)
        with open(folder / LOG, "wb") as log:
            code = _run_guarded(command, folder, log, seconds)
        output = (folder / LOG).read_text(encoding="utf-8", errors="replace")
        names = _results([path.name for path in (folder / OUT).iterdir()])
        return Ended(code, output, {name: (folder / OUT / name).read_bytes() for name in names})


def _results(names: list[str]) -> list[str]:
    """The names of the results, which another machine may have chosen.

    Raises `OSError` for a name that no script of tools/export writes.
    """
    # The last is what a script that is killed leaves.
    strange = sorted(set(names) - {*RESULTS, "result.json.partial"})
    if strange:
        raise OSError(f"the results may be {', '.join(RESULTS)}, got {strange[0][:80]!r}")
    return sorted(set(names) & set(RESULTS))


def _run_guarded(command: list[str], folder: Path, log, seconds: float) -> int | None:
    """The exit code, None after `seconds`; no process of the program's group is left."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)
    }
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:  # it was there when the run began
        raise ConnectionError(f"cannot start {command[0]}: {error.strerror}") from error
    try:
        with _watcher(process.pid, folder):
            return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _kill_group(process.pid)
        process.wait()


@contextmanager
def _watcher(group: int, folder: Path) -> Iterator[None]:
    """If this process dies meanwhile, the process group is killed and the folder deleted."""
    command = [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(group), str(folder)]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _watch(parent: int, group: int, folder: str) -> None:
    """Wait for the parent's death, then kill the group and remove the folder."""
    while os.getppid() == parent:
        time.sleep(_POLL)
    for _ in range(100):
        _kill_group(group)
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder):
            break
        time.sleep(_POLL)


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _run_there(host: str, command: list[str], files: Mapping[str, bytes], seconds: float) -> Ended:
    """The same on another machine.

    If this process dies meanwhile, the program there ends by its own time limit.
    """
    from jaxnas.hardware.ssh_connection import BRIEF_S, SshConnection

    remote = SshConnection(host)
    with tempfile.TemporaryDirectory(prefix="jaxnas-hailo-") as here, remote.folder() as there:
        _asked(remote.run(["mkdir", f"{there}/{OUT}"], BRIEF_S))
        for name, content in files.items():
            Path(here, name).write_bytes(content)
            remote.upload(Path(here, name), f"{there}/{name}")
        try:
            done = remote.run(["env", "-C", there, *command], seconds)
            code = done.returncode
            output = done.stdout + done.stderr
        except TimeoutError as error:
            code = None
            output = f"{error}\n"
        results = {}
        for name in _results(
            _asked(remote.run(["ls", f"{there}/{OUT}"], BRIEF_S)).split("\n")[:-1]
        ):
            remote.fetch(f"{there}/{OUT}/{name}", Path(here, "fetched"))
            results[name] = Path(here, "fetched").read_bytes()
    return Ended(code, output, results)


def _asked(done: subprocess.CompletedProcess[str]) -> str:
    """The output of a command that must succeed."""
    if done.returncode:
        raise OSError(
            f"{done.args[-1]}: exit code {done.returncode}: "
            f"{' '.join((done.stderr or done.stdout).split())}"
        )
    return done.stdout


if __name__ == "__main__":
    _watch(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
