"""Arrays of .npz archives that strangers wrote.

Shapes and types are known before any number is read, nothing is unpickled.
"""

import math
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np


class ArchiveError(Exception):
    """Why a file cannot be read as arrays, in a few words."""


class Header(NamedTuple):
    """What an array is, without its numbers."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class Archive:
    """An open archive; its arrays are read one by one.

    Raises:
        ArchiveError: what is asked for is no plain array, or not as long as its header says.
    """

    def __init__(self, file: zipfile.ZipFile):
        self._file = file
        self.names = tuple(
            name.removesuffix(".npy") for name in file.namelist() if name.endswith(".npy")
        )

    def header(self, name: str) -> Header:
        """The shape and type of an array, for which the file has just as many bytes."""
        with _reasons(), self._file.open(f"{name}.npy") as file:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read(file)
            found = Header(shape, dtype)
            if dtype.hasobject:
                raise ArchiveError(f"{name} has Python objects")
            if not all(type(side) is int and side >= 0 for side in shape):
                raise ArchiveError(f"{name} has the shape {shape}")
            stored = self._file.getinfo(f"{name}.npy").file_size - file.tell()
            if stored != found.nbytes:
                raise ArchiveError(f"{name} claims {found.nbytes} bytes and has {stored}")
            return found

    def read(self, name: str) -> np.ndarray:
        """An array."""
        self.header(name)
        with _reasons(), self._file.open(f"{name}.npy") as file:
            return np.lib.format.read_array(file, allow_pickle=False)


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """The archive at a path.

    Raises:
        FileNotFoundError: there is none.
        ArchiveError: it is another kind of file; a device or a pipe may have no end, and is not
            opened.
    """
    with _reasons():
        if not stat.S_ISREG(path.stat().st_mode):
            raise ArchiveError("it is no regular file")
        file = zipfile.ZipFile(path)
    with file:
        yield Archive(file)


@contextmanager
def _reasons() -> Iterator[None]:
    """What is wrong with a file in one line: damaged archives and headers fail in a dozen ways."""
    try:
        yield
    except (ArchiveError, FileNotFoundError):
        raise
    except MemoryError as error:
        raise ArchiveError("it does not fit into memory") from error
    except Exception as error:
        raise ArchiveError((str(error).splitlines() or [type(error).__name__])[0][:200]) from error
