"""Columns of one length by name: what a run's results are handed out as."""

import csv
import html
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

SHOWN = 10  # rows of a print


class Table:
    """Named columns, arrays of (n,): `table["error"]`.

    A mask, a slice or numbers take rows: `table[table["error"] < 0.1]`. `columns` is what pandas
    makes a data frame of.

    >>> table = Table({"network": ["a", "b"], "error": [0.2, 0.1]})
    >>> table.by("error")["network"].tolist(), table[:1].rows()
    (['b', 'a'], [{'network': 'a', 'error': 0.2}])
    >>> table
    network  error
          a    0.2
          b    0.1
    """

    def __init__(self, columns: Mapping[str, Any]):
        self.columns = {name: np.asarray(column) for name, column in columns.items()}
        shapes = {name: column.shape for name, column in self.columns.items()}
        if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
            raise ValueError(f"columns must be arrays of one length, got {shapes}")

    @classmethod
    def of_rows(cls, rows: Sequence[Mapping[str, Any]]) -> "Table":
        """Of rows that have the same names.

        >>> Table.of_rows([{"ms": 1.0}, {"ms": 3.0}])["ms"].tolist()
        [1.0, 3.0]
        """
        names = rows[0] if rows else ()
        return cls({name: np.array([row[name] for row in rows]) for name in names})

    def __getitem__(self, which: Any) -> Any:
        """The column of a name, else a table of the rows that a mask, a slice or numbers take."""
        if isinstance(which, str):
            return self.columns[which]
        return Table({name: column[which] for name, column in self.columns.items()})

    def __len__(self) -> int:
        """The number of rows."""
        return len(next(iter(self.columns.values()), ()))

    def by(self, name: str) -> "Table":
        """The rows in ascending order of a column, NaN last."""
        return self[np.argsort(self.columns[name], kind="stable")]

    def rows(self) -> list[dict[str, Any]]:
        """The rows as plain Python values."""
        columns = [column.tolist() for column in self.columns.values()]
        return [dict(zip(self.columns, row, strict=True)) for row in zip(*columns, strict=True)]

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Writes the rows under a line of names."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(self.rows())

    def __repr__(self) -> str:
        cells = self._shown()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            for row in cells
        ]
        return "\n".join([*lines, *self._rest()])

    def _repr_html_(self) -> str:
        """The same as notebooks show it."""
        names, *rows = ["".join(map(_cell, row)) for row in self._shown()]
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        table = f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"
        return table + "".join(f"<p>{line}</p>" for line in self._rest())

    def _shown(self) -> list[list[str]]:
        """The cells of the first rows, below the names."""
        return [
            list(self.columns),
            *([_text(v) for v in row.values()] for row in self[:SHOWN].rows()),
        ]

    def _rest(self) -> list[str]:
        more = len(self) - SHOWN
        return [f"... {more} more rows"] if more > 0 else []


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _cell(text: str) -> str:
    return f"<td>{html.escape(text)}</td>"
