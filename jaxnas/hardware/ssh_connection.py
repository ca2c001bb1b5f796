"""A connection to another machine through SSH: run a command there, send a file, fetch one.

It uses this machine's `ssh` and `scp` with the user's own keys and `~/.ssh/config`, and never asks
a question: a host that wants a password, or whose key is not known yet, is one that cannot be
reached. There it needs Linux and Python. All calls to a host share one connection, which ends a
minute after the last. What comes from there is limited in size.
"""

import atexit
import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from subprocess import CompletedProcess

from jaxnas.errors import UserError
from jaxnas.hardware.failures import failure_line

OPTIONS = (
    "-o",
    "BatchMode=yes",
    "-o",
    "ConnectTimeout=10",
    "-o",
    "ServerAliveInterval=5",
    "-o",
    "ServerAliveCountMax=3",
)
SHARED = ("-o", "ControlMaster=auto", "-o", "ControlPersist=60")
# Characters of a control socket's path: the kernel takes 107, of which ssh needs 17 for a moment.
LONGEST_SOCKET = 80
HOST = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
# The same to every shell and every version of scp.
PATH = re.compile(r"[A-Za-z0-9_./~][A-Za-z0-9_./~-]*", re.ASCII)
CONNECTION_FAILED = 255  # what ssh exits with, and a recent scp
# What an older scp says of it.
CUT_OFF = re.compile("lost connection|connection (closed|reset)", re.IGNORECASE)
OUT_OF_TIME = 124  # what `timeout` exits with
KILLED = 137
GRACE_S = 20.0  # beyond a command's own time: to connect, and for the far side to end it
BRIEF_S = 60.0  # for what takes a moment: a folder made or removed, a question of versions
TRANSFER_S = 300.0
PRINTED_MIB = 64  # that a command may print
FETCHED_MIB = 512  # that a file may have
# In blocks of 512 bytes: a longer file ends the program with SIGXFSZ.
LIMITED = 'ulimit -f "$1" && shift && exec "$@"'


@dataclass(frozen=True)
class SshConnection:
    """A machine that `ssh HOST` reaches.

    `host` is a name, an address or an alias of ~/.ssh/config, with USER@ if need be.
    """

    host: str

    def __post_init__(self) -> None:
        if not HOST.fullmatch(self.host):
            expected = (
                "a host must be NAME or USER@NAME of letters, digits, dots, - and _, not beginning "
                "with -"
            )
            raise UserError(
                f"{expected}, got {self.host!r}: give anything else an alias in ~/.ssh/config"
            )
        missing = [name for name in ("ssh", "scp") if shutil.which(name) is None]
        if missing:
            raise UserError(
                f"a device behind SSH needs {' and '.join(missing)} on this machine: install an "
                "OpenSSH client"
            )

    def run(self, argv: Sequence[str], timeout: float, stdin: str = "") -> CompletedProcess[str]:
        """Run a command there and wait for it; it is ended after `timeout` seconds.

        Whatever it exits with is a result.

        Raises:
            ConnectionError: the machine cannot be reached, or has stopped answering.
            TimeoutError: the command took longer, or was killed.
            OSError: the command prints more than 64 MiB.
        """
        limited = shlex.join(["timeout", "-k", "5", f"{timeout:g}", *argv])
        # Without a shell around it, a crash is 255 to ssh.
        command = shlex.join(["sh", "-c", f"{limited}; exit $?"])
        done = self._call(
            ["ssh", *OPTIONS, *_shared(self.host), "--", self.host, command],
            timeout + GRACE_S,
            PRINTED_MIB,
            stdin,
        )
        if done.returncode == CONNECTION_FAILED:
            raise ConnectionError(f"cannot reach {self.host}: {last_line(done.stderr)}")
        program = f"{PurePosixPath(argv[0]).name} on {self.host}"
        if done.returncode == OUT_OF_TIME:
            raise TimeoutError(f"{program} took longer than {timeout:g} s and was ended")
        if done.returncode == KILLED:
            raise TimeoutError(f"{program} was killed, out of time or memory")
        return done

    def upload(
        self, local: str | os.PathLike[str], remote: str, timeout: float = TRANSFER_S
    ) -> None:
        """Copy a file there. Raises as `fetch`."""
        self._copy(str(Path(local).absolute()), self._there(remote), timeout)

    def fetch(
        self, remote: str, local: str | os.PathLike[str], timeout: float = TRANSFER_S
    ) -> None:
        """Copy a file of 512 MiB at most from there.

        Raises:
            ConnectionError: the machine cannot be reached, or has stopped answering.
            OSError: anything else that scp does not like, in its words; or the file is larger.
        """
        self._copy(self._there(remote), str(Path(local).absolute()), timeout)

    @contextmanager
    def folder(self) -> Iterator[str]:
        """The path of a new temporary folder there.

        It is removed afterwards unless the connection is gone.
        """
        made = self.run(["mktemp", "-d", "/tmp/jaxnas.XXXXXXXXXX"], BRIEF_S)
        path = last_line(made.stdout)
        if made.returncode or not re.fullmatch(r"/tmp/jaxnas\.[A-Za-z0-9]{10}", path):
            raise OSError(
                f"cannot make a temporary folder on {self.host}: "
                f"{last_line(made.stderr) or repr(path)}"
            )
        try:
            yield path
        finally:
            with suppress(OSError):
                self.run(["rm", "-rf", "--", path], BRIEF_S)

    def _there(self, path: str) -> str:
        if not PATH.fullmatch(path):
            raise UserError(
                f"a path on {self.host} must be of letters, digits and ._/~-, not beginning with "
                f"-, got {path!r}: rename it"
            )
        return f"{self.host}:{path}"

    def _copy(self, source: str, target: str, timeout: float) -> None:
        done = self._call(
            ["scp", *OPTIONS, *_shared(self.host), "--", source, target], timeout, FETCHED_MIB
        )
        if done.returncode == CONNECTION_FAILED or (
            done.returncode and CUT_OFF.search(done.stderr)
        ):
            raise ConnectionError(f"cannot reach {self.host}: {failure_line(done.stderr)}")
        if done.returncode:
            raise OSError(f"cannot copy to or from {self.host}: {last_line(done.stderr)}")

    def _call(
        self, argv: list[str], timeout: float, most_mib: int, stdin: str = ""
    ) -> CompletedProcess[str]:
        """Run a local command in its own process group, which is killed on timeout or error.

        It prints to files, for a shared connection that stays behind may hold a pipe open; no file
        that it writes may be larger than `most_mib`.
        """
        limited = ["sh", "-c", LIMITED, "sh", str(most_mib * 2048), *argv]
        with (
            tempfile.TemporaryFile() as typed,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
        ):
            typed.write(stdin.encode())
            typed.seek(0)
            with subprocess.Popen(
                limited, stdin=typed, stdout=out, stderr=err, start_new_session=True
            ) as process:
                try:
                    code = process.wait(timeout)
                except BaseException as error:
                    os.killpg(process.pid, signal.SIGKILL)
                    if isinstance(error, subprocess.TimeoutExpired):
                        raise ConnectionError(
                            f"{self.host} has not answered within {timeout:g} s"
                        ) from None
                    raise
            printed = [_text(file) for file in (out, err)]
        if -code == signal.SIGXFSZ or max(map(len, printed)) >= most_mib << 20:
            raise OSError(f"{self.host} sends more than {most_mib} MiB")
        return CompletedProcess(argv, code, *printed)


def last_line(text: str) -> str:
    """The last line that is not empty: what a program that failed has to say."""
    return next((failure_line(line) for line in reversed(text.splitlines()) if line.strip()), "")


def _text(file) -> str:
    file.seek(0)
    return file.read().decode("utf-8", errors="replace")


def _shared(host: str) -> list[str]:
    """Options by which all calls to a host use one connection.

    None where its socket would lie too deep, or in an odd folder.
    """
    socket = f"{_sockets()}/{hashlib.sha256(host.encode()).hexdigest()[:12]}"
    return (
        [*SHARED, "-o", f"ControlPath={socket}"]
        if len(socket) <= LONGEST_SOCKET and PATH.fullmatch(socket)
        else []
    )


@cache
def _sockets() -> str:
    """A private folder for control sockets.

    At the end of this process the connections are closed and it is removed.
    """
    folder = tempfile.mkdtemp(prefix="jaxnas-ssh-")
    atexit.register(_close, folder, os.getpid())
    return folder


def _close(folder: str, owner: int) -> None:
    if os.getpid() != owner:  # a fork of ours
        return
    quiet = subprocess.DEVNULL
    for socket in Path(folder).glob("*"):
        with suppress(OSError, subprocess.TimeoutExpired):
            command = ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "--", "unused"]
            subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet, timeout=5, check=False)
    shutil.rmtree(folder, ignore_errors=True)
