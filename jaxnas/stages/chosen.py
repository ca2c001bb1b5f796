"""Which networks of a front are worth training: the answer to "which one do I take"."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxnas.algorithms import pareto
from jaxnas.errors import UserError
from jaxnas.objectives.columns import Columns, joined

COUNT = 3  # networks of two objectives
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
) -> list[Choice]:
    """Three networks of the front, and one more for each cost beyond the first.

    Or all of a smaller front.

    In this order: the best by the formulation if there is one, the most accurate below the latency
    limit if one is given, the most accurate, the one with the least of each cost within
    `within_points` percentage points of accuracy of that, the knee; a network in two roles counts
    once, and the front's middle fills up.
    """
    columns = joined(("error", *columns.costs), {name: columns[name] for name in columns.names})
    fitness = columns.fitness
    rows = np.flatnonzero(np.asarray(pareto.front(jnp.asarray(fitness))))
    _, first = np.unique(fitness[rows], axis=0, return_index=True)
    rows = rows[first]  # by error, one row per point
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
        role, word = FASTEST if name == "latency_ms" else (f"least_{name}", f"least {name}")
        wanted.append((role, f"{word} {within}", _least(rows, columns[name][rows], close)))
    wanted.append(("knee", "best trade-off (knee)", int(pareto.knee(jnp.asarray(fitness)))))
    wanted += [
        (f"middle_{i}", "from the middle of the front", row)
        for i, row in enumerate(_outward(rows), 1)
    ]
    chosen: list[Choice] = []
    for name, role, row in wanted:
        if len(chosen) < COUNT + len(columns.costs) - 1 and not any(
            (fitness[row] == fitness[other.row]).all() for other in chosen
        ):
            chosen.append(Choice(name, role, int(row)))
    return chosen


def _below(rows, latency_ms: Float[np.ndarray, "n"], limit_ms: float) -> int:
    """The first, hence most accurate, row below the limit."""
    if not (latency_ms <= limit_ms).any():
        raise UserError(
            f"no network found is predicted below {limit_ms:g} ms; the fastest takes "
            f"{latency_ms.min():.3g} ms: raise latency_limit_ms, and use another --out"
        )
    return int(rows[latency_ms <= limit_ms][0])


def _least(rows, costs: Float[np.ndarray, "n"], close: Bool[np.ndarray, "n"]) -> int:
    return int(rows[close][np.argmin(costs[close])])


def _outward(rows: np.ndarray) -> np.ndarray:
    """The rows from the middle of the front outward."""
    return rows[np.argsort(np.abs(np.arange(len(rows)) - len(rows) // 2), kind="stable")]
