"""Evaluations shared between runs.

The fitness of genomes on disk, under the hash of all that decides it.

One file per context in the folder `evaluations` of jaxnas's cache. It holds records of one size: a
genome, its fitness, a checksum. Who writes holds the file's lock, so several processes can share
it; a record that is cut off or damaged is an evaluation to be made again, never an error.
"""

import errno
import fcntl
import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int32

from jaxnas.errors import UserError
from jaxnas.progress import log

PACKAGE = Path(__file__).parents[1]


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
    """A folder of the cache, which is there now and can be written.

    None, after one warning, where it cannot be.
    """
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
        warn_of_cache(error)
        return None
    return folder


def warn_of_cache(error: OSError) -> None:
    """Say, once, that the cache cannot be used: a run without it takes longer, and is as right."""
    _warn(
        f"cannot use {cache_folder()} ({error.strerror}): mend it, or set JAXNAS_CACHE to another "
        "folder"
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


class Store:
    """Evaluations of one context: the `digest` of all that decides a fitness but the genome.

    Genomes are to be canonical, so that those which mean the same network share an evaluation. What
    was stored first stays. Where the cache cannot be read or written, evaluations last as long as
    this object.
    """

    def __init__(self, context: str, genes: int, objectives: int):
        folder = made_cache_folder("evaluations")
        self.path = (folder or Path()) / context
        self._kept = folder is not None  # whether the file is used
        self._record = np.dtype(
            [("genome", "<i4", (genes,)), ("fitness", "<f4", (objectives,)), ("checksum", "<u4")]
        )
        self._known: dict[bytes, np.ndarray] = {}
        self._read = 0  # bytes of the file that are in `_known`

    def get(
        self, genomes: Int32[np.ndarray, "n genes"]
    ) -> tuple[Float32[np.ndarray, "n objectives"], Bool[np.ndarray, "n"]]:
        """The fitness of each genome, NaN where it is not known, and whether it is.

        Sees what other processes have stored.
        """
        self._read_on()
        found = [self._known.get(genome.tobytes()) for genome in genomes.astype("<i4")]
        unknown = np.full(self._record["fitness"].shape, np.nan, np.float32)
        fitness = np.array([unknown if row is None else row for row in found], np.float32)
        return fitness.reshape(len(genomes), len(unknown)), np.array(
            [row is not None for row in found], bool
        )

    def put(
        self, genomes: Int32[np.ndarray, "n genes"], fitness: Float32[np.ndarray, "n objectives"]
    ) -> None:
        """Store evaluations; those that failed (NaN) are left out, for another attempt."""
        kept = ~np.isnan(fitness).any(axis=1)
        if not kept.any():
            return
        records = np.zeros(kept.sum(), self._record)
        records["genome"] = genomes[kept]
        records["fitness"] = fitness[kept]
        records["checksum"] = _checksums(records)
        if self._kept:
            try:
                self._append(records.tobytes())
            except OSError as error:
                self._give_up(error)
        self._read_on()  # what others have stored first stays
        self._learn(records)

    def _give_up(self, error: OSError) -> None:
        warn_of_cache(error)
        self._kept = False

    def _learn(self, records: np.ndarray) -> None:
        for record, checksum in zip(records, _checksums(records), strict=True):
            if record["checksum"] == checksum:
                self._known.setdefault(record["genome"].tobytes(), record["fitness"])

    def _read_on(self) -> None:
        """Take in the whole records that the file has gained."""
        if not self._kept:
            return
        try:
            # A pipe would wait for ever.
            with open(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                if os.fstat(file.fileno()).st_size < self._read:
                    self._read = 0  # somebody has emptied the cache
                file.seek(self._read)
                data = file.read()
        except FileNotFoundError:
            return
        except OSError as error:
            return self._give_up(error)
        records = np.frombuffer(data, self._record, len(data) // self._record.itemsize)
        self._learn(records)
        self._read += records.nbytes

    def _append(self, data: bytes) -> None:
        """Add whole records behind the whole records of the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
            size = os.fstat(file.fileno()).st_size
            end = size - size % self._record.itemsize
            file.truncate(end)  # what a killed process left unfinished
            try:
                written = 0
                while written < len(data):
                    written += file.write(data[written:])
            except OSError:
                with suppress(OSError):
                    file.truncate(end)
                raise


def _checksums(records: np.ndarray) -> list[int]:
    return [
        zlib.crc32(record["fitness"].tobytes(), zlib.crc32(record["genome"].tobytes()))
        for record in records
    ]
