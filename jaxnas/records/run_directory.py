"""The only writer and reader of a run's files.

Files are written whole or not at all. Two kinds grow line by line (`append_jsonl`, `append_csv`): a
last line that a killed process left unfinished is dropped when read, and cut off before the next
line is added.
"""

import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from jaxnas.errors import UserError, cannot
from jaxnas.records.line_files import cells, corrupt, csv_line, csv_lines, jsonl_lines, plain
from jaxnas.records.run_folder import (
    LOCK,
    local_folder,
    locked,
    made_folders,
    refuse_foreign,
    refuse_links,
    remove_partials,
    take_back,
)
from jaxnas.records.whole import append_whole, write_whole

_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW


class RunDirectory:
    """One run's folder.

    Who writes holds its lock (`with RunDirectory(path) as run:`); who only reads needs no lock.

    The kernel releases the lock when the process ends, however it ends. Files are named by their
    path inside the folder: `models/net.onnx`.
    """

    def __init__(self, root: str | os.PathLike[str]):
        self.root = local_folder(root)
        self._lock: int | None = None
        self._made: list[Path] | None = None  # folders, if the lock's file is new, too
        # name: (size after our last append, columns).
        self._grown: dict[str, tuple[int, list[str]]] = {}

    def __enter__(self) -> "RunDirectory":
        refuse_foreign(self.root)
        new = not os.path.lexists(self.root / LOCK)
        made = made_folders(self.root)
        self._lock = locked(self.root)
        self._made = made if new else None
        return self

    def __exit__(self, *exception: object) -> None:
        if self._made is not None:
            take_back(self.root, self._made)
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None
        self._made = None

    def clean(self) -> None:
        """Delete what a killed process left half written.

        To be called once it is certain that this is the run meant.
        """
        remove_partials(self.root)

    def path(self, name: str) -> Path:
        """Where a file lies.

        Names that lead out of the folder are an error, and so are folders that are links.
        """
        pure = PurePosixPath(name)
        inside = pure.parts and not pure.is_absolute() and ".." not in pure.parts
        if not inside or not _can_be_named(name):
            raise UserError(
                f"a file of {self.root} must be named by its path inside it, got {name!r}"
            )
        path = self.root / pure
        refuse_links(self.root, path)
        return path

    def exists(self, name: str) -> bool:
        return os.path.exists(self.path(name))

    # Files written whole

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all; folders in its name are made."""
        path = self.path(name)
        self._made = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, data)
        except OSError as error:
            raise cannot("write", path, error) from error

    def read_bytes(self, name: str) -> bytes:
        return _read(self.path(name))

    def write_text(self, name: str, text: str) -> None:
        # Names of files that are not UTF-8.
        self.write_bytes(name, text.encode(errors="backslashreplace"))

    def read_text(self, name: str) -> str:
        try:
            return self.read_bytes(name).decode()
        except UnicodeDecodeError as error:
            raise corrupt(self.path(name)) from error

    def write_json(self, name: str, value: Any) -> None:
        """Write nested dicts, lists and numbers.

        NaN and infinities become null, arrays and tuples become lists.
        """
        self.write_text(
            name, json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        )

    def read_json(self, name: str) -> Any:
        try:
            return json.loads(self.read_bytes(name))
        except (ValueError, RecursionError) as error:
            raise corrupt(self.path(name)) from error

    def write_npz(self, name: str, /, **arrays: Any) -> None:
        """Write named arrays of numbers or strings; the same arrays give the same bytes."""
        held = {key: np.asarray(arrays[key], order="C") for key in sorted(arrays)}
        for key, array in held.items():
            if array.dtype.kind not in "biufcSU":
                raise TypeError(
                    f"{name}: array {key!r} has dtype {array.dtype}, which an npz file cannot hold"
                )
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **held)
        self.write_bytes(name, buffer.getvalue())

    def read_npz(self, name: str) -> dict[str, np.ndarray]:
        data = self.read_bytes(name)
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                return {key: arrays[key] for key in arrays.files}
        except Exception as error:
            # A damaged zip fails in a dozen ways, none of them more telling than this.
            raise corrupt(self.path(name)) from error

    def write_npy(self, name: str, array: np.ndarray) -> None:
        """Write one array of numbers."""
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        self.write_bytes(name, buffer.getvalue())

    def write_csv(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a table whose columns are those of the first row; cells as in `append_csv`."""
        columns = list(rows[0]) if rows else []
        lines = [csv_line(columns)] if rows else []
        self.write_text(
            name, "".join(lines + [csv_line(cells(self.path(name), columns, row)) for row in rows])
        )

    def read_csv(self, name: str) -> list[dict[str, str]]:
        """The rows of a table as strings; a last line cut off by a killed process is dropped."""
        lines, _ = csv_lines(self.path(name), self.read_bytes(name))
        return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]

    # Files that grow

    def append_jsonl(self, name: str, record: Mapping[str, Any]) -> None:
        """Add one record as a line, in the kernel's hands on return.

        NaN and infinities become null.
        """
        path = self.path(name)
        self._repair(name, lambda data: ([], jsonl_lines(path, data)[1]))
        self._append(
            name, json.dumps(plain(record), ensure_ascii=False, allow_nan=False) + "\n", []
        )

    def read_jsonl(self, name: str) -> list[dict[str, Any]]:
        """The records; a last line cut off by a killed process is dropped."""
        return jsonl_lines(self.path(name), self.read_bytes(name))[0]

    def append_csv(self, name: str, row: Mapping[str, Any]) -> None:
        """Add one row (and before the first the header), in the kernel's hands on return.

        Cells are strings, numbers or None (an empty cell); floats keep every digit, NaN is `nan`,
        line breaks in a string become spaces. The row must have the columns of the header, in any
        order.
        """
        path = self.path(name)

        def header(data: bytes) -> tuple[list[str], int]:
            lines, kept = csv_lines(path, data)
            return (lines[0] if lines else []), kept

        known = self._repair(name, header)
        columns = known or list(row)
        line = csv_line(cells(path, columns, row))
        self._append(name, line if known else csv_line(columns) + line, columns)

    def _repair(self, name: str, parse: Callable[[bytes], tuple[list[str], int]]) -> list[str]:
        """Cut off an unfinished last line, unless the file is as our last append left it.

        Returns its columns.
        """
        path = self.path(name)
        size = path.stat().st_size if path.exists() else 0
        if name not in self._grown or self._grown[name][0] != size:
            columns, kept = parse(_read(path) if size else b"")
            if kept < size:
                try:
                    _truncate(path, kept)
                except OSError as error:
                    raise cannot("write", path, error) from error
            self._grown[name] = (kept, columns)
        return self._grown[name][1]

    def _append(self, name: str, text: str, columns: list[str]) -> None:
        path = self.path(name)
        size, _ = self._grown.pop(name)
        data = text.encode(errors="backslashreplace")
        self._made = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(os.open(path, _APPEND, 0o666), "ab", buffering=0) as file:
                append_whole(file, data)
        except OSError as error:
            raise cannot("write", path, error) from error
        self._grown[name] = (size + len(data), columns)


def _can_be_named(name: str) -> bool:
    """Whether the system takes it as a name: it holds no NUL, and no half of a surrogate pair."""
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False


def _truncate(path: Path, size: int) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_NOFOLLOW), "wb", buffering=0) as file:
        file.truncate(size)


def _read(path: Path) -> bytes:
    if os.path.exists(path) and not path.is_file():  # a device or a pipe might never end
        raise UserError(f"{path} must be a file: remove what lies there, and run its stage again")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; run the stage that writes it first") from None
    except OSError as error:
        raise cannot("read", path, error) from error


def existing_run(path: str | os.PathLike[str]) -> RunDirectory:
    """The run of this folder.

    Raises:
        UserError: it is none.
    """
    run = RunDirectory(path)
    if not run.exists("config.json"):
        raise UserError(f"{path} is no run directory: it has no config.json; name one")
    return run
