"""Limits of objectives and of other figures, as they are written: `mmacs=20`."""

import math
from collections.abc import Sequence

from jaxnas.errors import UserError


def upper_limits(
    limits: Sequence[str],
    objectives: Sequence[str],
    setting: str = "search.limits and latency_limit_ms",
) -> tuple[float | None, ...]:
    """The limit of each objective, None where it has none; nothing at all where none has.

    >>> upper_limits(["mmacs=20"], ["error", "mmacs"]), upper_limits([], ["error"])
    ((None, 20.0), ())

    Raises:
        UserError: a limit is of no objective, the second of one, or no number above 0.
    """
    found: dict[str, float] = {}
    for text in limits:
        name, _, value = text.partition("=")
        if name not in objectives:
            raise UserError(
                f"{setting} are of what the search minimises, {', '.join(objectives)}, got {text}: "
                "name one of these, or bound other figures by search.constraints"
            )
        if name in found:
            raise UserError(f"{setting} set two limits of {name}: leave one out")
        found[name] = _number(value)
        if not 0 < found[name] < math.inf:
            raise UserError(
                f"{setting.partition(' ')[0]} must be NAME=NUMBER, a number above 0, got {text}: "
                f"write {name}=20"
            )
    return tuple(map(found.get, objectives)) if found else ()


def budget(text: str) -> tuple[str, float]:
    """A cost and the most that it may be, as `--under` has them.

    >>> budget("3ms"), budget("mmacs=20")
    (('latency_ms', 3.0), ('mmacs', 20.0))
    """
    name, equals, value = text.partition("=")
    if not equals:
        name, value = "latency_ms", text.removesuffix("ms")
    most = _number(value)
    if not name.isidentifier() or not 0 < most < math.inf:
        raise UserError(f"--under must be as 3ms or mmacs=20, above 0, got {text[:60]!r}")
    return name, most


def upper_bounds(constraints: Sequence[str], objectives: Sequence[str]) -> dict[str, float]:
    """The most that each figure may be which the search does not minimise.

    >>> upper_bounds(["mmacs=20"], ["error", "latency_ms"])
    {'mmacs': 20.0}

    Raises:
        UserError: a constraint is of an objective, the second of one figure, or no finite number.
    """
    found: dict[str, float] = {}
    for text in constraints:
        name, _, value = text.rpartition("=")
        if name in objectives:
            raise UserError(
                f"search.constraints are of figures that the search does not minimise, got {text}: "
                f"write search.limits {text}, or take {name} out of search.objectives"
            )
        if name in found:
            raise UserError(f"search.constraints set two bounds of {name}: leave one out")
        found[name] = _number(value)
        if not name or not math.isfinite(found[name]):
            raise UserError(
                f"search.constraints must be NAME=NUMBER, a finite number, got {text}: write "
                f"{name or 'mmacs'}=20"
            )
    return found


def _number(text: str) -> float:
    """NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
