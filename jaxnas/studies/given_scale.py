"""The scale that a comparison is told: a reference point, and a true front from a file."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxnas.errors import UserError


def given_scale(
    objectives: Sequence[str], reference: Sequence[float] | None, front: str | None
) -> dict[str, Any]:
    """What of a `Problem` the options `--reference` and `--front` replace.

    Raises:
        UserError: there are not as many numbers as objectives, or the file holds no front.
    """
    given: dict[str, Any] = {}
    if reference is not None:
        if len(reference) != len(objectives):
            raise UserError(
                f"--reference must be {len(objectives)} numbers, for {', '.join(objectives)}, got "
                f"{len(reference)}"
            )
        given["reference"] = tuple(reference)
    if front is not None:
        given["front"] = read_front(front, objectives)
    return given


def read_front(path: str, objectives: Sequence[str]) -> Float[np.ndarray, "points objectives"]:
    """The points of a CSV file: a column for each objective, by its name, or in order.

    The first line names the columns where it holds no numbers. Points that others dominate may be
    among them.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            lines = [line for line in csv.reader(file) if line]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"--front {path} cannot be read ({error}): name a CSV file") from error
    columns = list(range(len(objectives)))
    if lines and not _is_number(lines[0][0]):
        names, *lines = lines
        missing = [name for name in objectives if name not in names]
        if missing:
            raise UserError(
                f"--front {path} must have the columns {', '.join(objectives)}, got "
                f"{', '.join(names)}"
            )
        columns = [names.index(name) for name in objectives]
    try:
        points = np.array([[float(line[i]) for i in columns] for line in lines], np.float64)
    except (ValueError, IndexError) as error:
        raise UserError(
            f"--front {path} must hold a number for each of {', '.join(objectives)} in every line "
            f"({error}): mend it"
        ) from error
    return points.reshape(-1, len(objectives))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
