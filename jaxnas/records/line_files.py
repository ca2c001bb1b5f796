"""How lines and cells of a run's files are spelled and read.

JSON values, and tables and records that grow line by line.
"""

import csv
import io
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from jaxnas.errors import UserError

T = TypeVar("T")


def corrupt(path: Path, what: str = "") -> UserError:
    """The error of a file that cannot be what was written; `what` says which part of it."""
    return UserError(f"corrupt: {what}{path}; delete the file to redo this stage")


def plain(value: Any) -> Any:
    """`value` as JSON has it: dicts with string keys, lists, strings, finite numbers, None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # a NumPy or JAX array or scalar
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _whole_lines(path: Path, data: bytes, parse: Callable[[bytes], T]) -> tuple[list[T], int]:
    """The parsed lines without an unfinished last one, and the number of bytes they take up."""
    kept = data.rfind(b"\n") + 1
    lines = data[:kept].split(b"\n")[:-1]
    parsed = []
    for number, line in enumerate(lines, 1):
        try:
            parsed.append(parse(line))
        except (ValueError, RecursionError, csv.Error) as error:
            if number == len(lines) and kept == len(data):
                return parsed, kept - len(line) - 1
            raise corrupt(path, f"line {number} of ") from error
    return parsed, kept


def jsonl_lines(path: Path, data: bytes) -> tuple[list[dict[str, Any]], int]:
    """The records, without an unfinished last one, and the bytes they take up."""

    def parse(line: bytes) -> dict[str, Any]:
        record = json.loads(line)
        if not isinstance(record, dict):
            raise ValueError("not a record")
        return record

    return _whole_lines(path, data, parse)


def csv_lines(path: Path, data: bytes) -> tuple[list[list[str]], int]:
    """Header and rows, without an unfinished last one, and the bytes they take up."""
    header: list[str] = []

    def parse(line: bytes) -> list[str]:
        cells = next(csv.reader([line.decode()], strict=True), [])
        if not cells or len(cells) != len(header or cells):
            raise ValueError("not a row of this table")
        header.extend([] if header else cells)
        return cells

    return _whole_lines(path, data, parse)


def csv_line(cells: Sequence[Any]) -> str:
    """One line of a table."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def cells(path: Path, columns: Sequence[str], row: Mapping[str, Any]) -> list[Any]:
    """A row's cells in the order of the columns."""
    if set(columns) != set(row):
        raise UserError(
            f"{path} has the columns {', '.join(columns)}, got {', '.join(row)}; delete the file "
            "to redo this stage"
        )
    return [_cell(path, column, row[column]) for column in columns]


def _cell(path: Path, column: str, value: Any) -> str | int | float | None:
    if hasattr(value, "item") and np.ndim(value) == 0:  # a NumPy or JAX scalar
        value = value.item()
    if isinstance(value, str):
        return " ".join(value.splitlines())
    if value is None or isinstance(value, int | float):
        return value
    raise TypeError(
        f"{path}: cell {column!r} must be a string, a number or None, got {type(value).__name__}"
    )
