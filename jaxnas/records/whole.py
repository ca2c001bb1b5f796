"""Files that are written whole or not at all, whenever a process is killed."""

import os
from contextlib import suppress
from io import FileIO
from pathlib import Path


def partial_of(path: Path) -> Path:
    """Where a file is written before it takes its name."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all. Raises `OSError`."""
    partial = partial_of(path)
    try:
        partial.unlink(missing_ok=True)  # which may be a link
        with open(partial, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def append_whole(file: FileIO, data: bytes) -> None:
    """Append to an unbuffered file; what a full disk did not take whole is cut off again."""
    size = os.fstat(file.fileno()).st_size
    try:
        written = 0
        while written < len(data):
            written += file.write(data[written:])
    except OSError:
        with suppress(OSError):
            file.truncate(size)
        raise
