"""Which networks of a front are worth training: the answer to "which one do I take"."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxnas.algorithms import pareto
from jaxnas.errors import UserError
from jaxnas.objectives.columns import Columns, joined

FASTEST = ("fastest", "fastest")


@dataclass(frozen=True)
class Choice:
    """A row of the archive, and why it was chosen."""

    name: str
    role: str
    row: int


@dataclass(frozen=True)
class Preferred:
    """What a formulation of the objectives says of the candidates."""

    name: str
    worth: Float[np.ndarray, "n"]  # less is better


def choose_networks(
    columns: Columns,
    within_points: float,
    limit_ms: float | None,
    preferred: Preferred | None = None,
    count: int = 3,
) -> list[Choice]:
    """So many networks of the front, and one more for each cost beyond the first.

    Or all of a smaller front.

    In this order: the best by the formulation if there is one, the most accurate below the latency
    limit if one is given, the most accurate, the one with the least of each cost within
    `within_points` percentage points of accuracy of that, the knee; a network in two roles counts
    once, and the front's middle fills up.
    """
    columns, rows = _front(columns)
    fitness = columns.fitness
    error = columns["error"][rows]
    wanted = []
    if preferred is not None:
        worth = np.nan_to_num(preferred.worth[rows], nan=np.inf)
        wanted.append(("best", f"best by {preferred.name}", rows[np.argmin(worth)]))
    if limit_ms is not None:
        wanted.append(
            (
                "below_limit",
                f"most accurate below {limit_ms:g} ms",
                _below(rows, columns["latency_ms"][rows], limit_ms),
            )
        )
    close = error <= error[0] + within_points / 100
    wanted.append(("most_accurate", "most accurate", rows[0]))
    within = f"within {within_points:g} percentage points"
    for name in columns.costs:
        own = name.rpartition(":")[2]  # of file.py:name
        role, word = FASTEST if name == "latency_ms" else (f"least_{own}", f"least {own}")
        wanted.append((role, f"{word} {within}", _least(rows, columns[name][rows], close)))
    wanted.append(("knee", "best trade-off (knee)", int(pareto.knee(jnp.asarray(fitness)))))
    wanted += [
        (f"middle_{i}", "from the middle of the front", row)
        for i, row in enumerate(_outward(rows), 1)
    ]
    chosen: list[Choice] = []
    for name, role, row in wanted:
        if len(chosen) < count + len(columns.costs) - 1 and not any(
            (fitness[row] == fitness[other.row]).all() for other in chosen
        ):
            chosen.append(Choice(name, role, int(row)))
    return chosen


def choose_within(columns: Columns, limits: Sequence[float | None], count: int) -> list[Choice]:
    """The most accurate networks of the front within the limits, so many or all that there are.

    `limits` has one for each column, None where it has none. A `UserError` where none is within.
    """
    most = {name: one for name, one in zip(columns.names, limits, strict=True) if one is not None}
    columns, rows = _front(columns)
    said = " and ".join(f"{name} up to {one:g}" for name, one in most.items())
    inside = np.all([columns[name][rows] <= one for name, one in most.items()], axis=0)
    if not inside.any():
        least = ", ".join(f"{name} {columns[name][rows].min():.3g}" for name in most)
        raise UserError(
            f"no network of the front has {said}; the least there is {least}: raise finetune.under"
        )
    return [
        Choice(f"pick_{i}", f"number {i} in accuracy with {said}", int(row))
        for i, row in enumerate(rows[inside][:count], 1)
    ]


def _front(columns: Columns) -> tuple[Columns, Int[np.ndarray, "front"]]:
    """The columns with the error first, and the front's rows by error, one of each point."""
    columns = joined(("error", *columns.costs), {name: columns[name] for name in columns.names})
    fitness = columns.fitness
    rows = pareto.front_rows(fitness)
    _, first = np.unique(fitness[rows], axis=0, return_index=True)
    return columns, rows[first]


def _below(rows, latency_ms: Float[np.ndarray, "n"], limit_ms: float) -> int:
    """The first, hence most accurate, row below the limit."""
    if not (latency_ms <= limit_ms).any():
        raise UserError(
            f"no network found is predicted below {limit_ms:g} ms; the fastest takes "
            f"{latency_ms.min():.3g} ms: raise latency_limit_ms"
        )
    return int(rows[latency_ms <= limit_ms][0])


def _least(rows, costs: Float[np.ndarray, "n"], close: Bool[np.ndarray, "n"]) -> int:
    return int(rows[close][np.argmin(costs[close])])


def _outward(rows: np.ndarray) -> np.ndarray:
    """The rows from the middle of the front outward."""
    return rows[np.argsort(np.abs(np.arange(len(rows)) - len(rows) // 2), kind="stable")]
