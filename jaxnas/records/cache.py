"""The cache: what runs share, in the one folder outside a run that jaxnas writes to.

Small entries (an evaluation, a measurement) are lines of JSON with a checksum, in one file for each
context, the `digest` of all that decides them but their key. Processes share such a file, and a
line that is cut off or damaged is an entry to be made again, never an error. An entry of several
files (a compilation) is a folder, which one process at a time holds.
"""

import errno
import fcntl
import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from jaxnas.errors import UserError
from jaxnas.progress import log
from jaxnas.records.whole import append_whole

PACKAGE = Path(__file__).parents[1]
_APPEND = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK


def cache_folder() -> Path:
    """The one folder outside a run that jaxnas writes to: JAXNAS_CACHE, or ~/.cache/jaxnas.

    Raises:
        UserError: neither is known.
    """
    named = os.environ.get("JAXNAS_CACHE")
    if named:
        return Path(named)
    try:
        return Path.home() / ".cache" / "jaxnas"
    except RuntimeError as error:  # a container's user without a name
        raise UserError(
            "there is no home folder for the cache: set JAXNAS_CACHE to a folder that can be "
            "written"
        ) from error


def made_cache_folder(name: str) -> Path | None:
    """A folder of the cache that exists and can be written; None, after one warning, otherwise."""
    try:
        folder = cache_folder() / name
    except UserError as error:
        _warn(str(error))
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        _warn_of(error)
        return None
    return folder


def _warn_of(error: OSError) -> None:
    """Say once that the cache cannot be used: a run without it takes longer, nothing else."""
    _warn(
        f"cannot use {cache_folder()} ({error.strerror or error}): mend it, or set JAXNAS_CACHE to "
        "another folder"
    )


@cache
def _warn(what: str) -> None:
    log(f"jaxnas: going on without a cache: {what}")


def digest(value: Any) -> str:
    """SHA-256 of nested dicts, lists, strings, numbers and arrays (type, shape and values).

    Equal values give equal text.
    """
    if isinstance(value, Mapping):
        value = {str(key): digest(item) for key, item in value.items()}
    elif isinstance(value, list | tuple):
        value = [digest(item) for item in value]
    elif hasattr(value, "dtype"):
        array = np.asarray(value, order="C")
        value = [array.dtype.str, list(array.shape), hashlib.sha256(array.data).hexdigest()]
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@cache
def source_digest(*names: str) -> str:
    """SHA-256 of the Python files of this package that are named, or lie in the folders named.

    The version of the code.
    """
    paths = [
        path
        for name in names
        for path in ([PACKAGE / name] if name.endswith(".py") else (PACKAGE / name).rglob("*.py"))
    ]
    return digest(
        {
            path.relative_to(PACKAGE).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in paths
        }
    )


@contextmanager
def held_folder(kind: str, key: str) -> Iterator[Path]:
    """The folder of one entry; other processes that want it wait until this one is done with it.

    Raises `OSError` where it cannot be made.
    """
    folder = cache_folder() / kind / key
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file is closed
        yield folder


class Store:
    """Entries of one kind and context: JSON values by key. The first value of a key stays.

    Where the file cannot be read or written, entries last as long as this object.
    """

    def __init__(self, kind: str, context: str):
        folder = made_cache_folder(kind)
        self.path = (folder or Path()) / f"{context}.jsonl"
        self._kept = folder is not None  # whether the file is used
        self._known: dict[str, Any] = {}
        self._read = 0  # bytes of the file that are in `_known`

    def get(self, keys: Sequence[str]) -> list[Any]:
        """The value of each key, None where there is none; sees what other processes stored."""
        if self._kept:
            try:
                # A pipe would block.
                with open(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                    self._read_on(file)
            except FileNotFoundError:
                self._read = 0
            except OSError as error:
                self._give_up(error)
        return [self._known.get(key) for key in keys]

    def put(self, entries: Mapping[str, Any]) -> None:
        """Store the entries whose keys are new."""
        if self._kept:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with open(os.open(self.path, _APPEND, 0o666), "r+b", buffering=0) as file:
                    fcntl.flock(file, fcntl.LOCK_EX)
                    file.truncate(self._read_on(file))  # what a killed process left unfinished
                    new = (item for item in entries.items() if item[0] not in self._known)
                    append_whole(file, b"".join(_line(key, value) for key, value in new))
            except OSError as error:
                self._give_up(error)
        for key, value in entries.items():
            self._known.setdefault(key, value)

    def _give_up(self, error: OSError) -> None:
        _warn_of(error)
        self._kept = False

    def _read_on(self, file: BinaryIO) -> int:
        """Take in the whole lines that the file has gained; where the last of them ends."""
        size = os.fstat(file.fileno()).st_size
        start = self._read if self._read <= size else 0  # somebody has emptied the cache
        file.seek(start)
        whole, newline, _ = file.read().rpartition(b"\n")
        for line in whole.split(b"\n"):
            self._learn(line)
        self._read = end = start + len(whole) + len(newline)
        return end

    def _learn(self, line: bytes) -> None:
        """Take in an entry, unless it is damaged."""
        text, _, checksum = line.rpartition(b", ")
        if checksum == _checksum(text):
            key, value, _ = json.loads(line)
            self._known.setdefault(key, value)


def _line(key: str, value: Any) -> bytes:
    """
    >>> _line("0 2 1", 0.125)
    b'["0 2 1", 0.125, "79a9a29e"]\\n'
    """
    text = json.dumps([key, value])[:-1].encode()
    return b"%b, %b\n" % (text, _checksum(text))


def _checksum(text: bytes) -> bytes:
    return b'"%08x"]' % zlib.crc32(text)
