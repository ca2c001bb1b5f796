"""The files of a folder's training split, each of which is read when its picture is needed."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from jaxnas.data.pictures import Reading
from jaxnas.data.streamed import Streamed
from jaxnas.errors import cannot, printable


@dataclass(frozen=True, eq=False)
class PictureFiles:
    """Pictures by number: a `Source`.

    The paths are one text, for a million of Python's strings would take 200 MB in each process.
    """

    root: Path
    names: bytes  # paths below `root`, one after another
    ends: Int64[np.ndarray, "n"]
    reading: Reading

    def read(self, row: int) -> UInt8[np.ndarray, "size size 3"]:
        return self.reading.picture(self.root / self._relative(row))

    def name(self, row: int) -> str:
        return printable(self._relative(row))

    def _relative(self, row: int) -> str:
        start = self.ends[row - 1] if row else 0
        return os.fsdecode(self.names[start : self.ends[row]])


def streamed_files(
    title: str,
    root: Path,
    paths: Sequence[Path],
    labels: np.ndarray,
    reading: Reading,
    workers: int | None,
) -> Streamed:
    """The pictures at these paths, which lie below `root`.

    Names and sizes of the files identify them: to read all of them takes as long as an epoch.
    """
    names = [os.fsencode(path.relative_to(root)) for path in paths]
    source = PictureFiles(root, b"".join(names), np.cumsum([*map(len, names)]), reading)
    digest = hashlib.sha256(repr((reading, source.ends.tolist())).encode() + source.names)
    try:
        digest.update(repr([os.stat(path).st_size for path in paths]).encode())
    except OSError as error:
        raise cannot("read", error.filename, error) from error
    shape = (reading.size, reading.size, 3)
    return Streamed(title, source, labels.astype(np.int32), shape, digest.hexdigest(), workers)
