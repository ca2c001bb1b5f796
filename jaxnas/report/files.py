"""Whether the files that a report is drawn from are what the stages wrote.

Before anything is drawn.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jinja2 import UndefinedError

from jaxnas.errors import UserError
from jaxnas.records.candidates import CANDIDATES, RANDOM, read_searched
from jaxnas.records.chosen import CHOSEN, read_chosen
from jaxnas.records.claims import CLAIMS, read_claims
from jaxnas.records.data import DATA, read_data
from jaxnas.records.derived import DERIVED, read_derived
from jaxnas.records.environment import read_environment
from jaxnas.records.found import FOUND, read_found
from jaxnas.records.layers import LAYERS, read_layers
from jaxnas.records.measurements import ASKED, MEASURED, read_asked, read_measurements
from jaxnas.records.metrics import METRICS, read_metrics
from jaxnas.records.predictor import PREDICTIONS, QUALITY, read_predictions, read_quality
from jaxnas.records.reading import reading
from jaxnas.records.run_directory import RunDirectory
from jaxnas.records.selection import read_selection
from jaxnas.records.verified import VERIFIED, read_answers, read_verified

READERS: dict[str, Callable[[RunDirectory], Any]] = {
    "environment.json": read_environment,
    DATA: read_data,
    METRICS: read_metrics,
    CLAIMS: read_claims,
    MEASURED: read_measurements,
    ASKED: read_asked,
    QUALITY: read_quality,
    PREDICTIONS: read_predictions,
    FOUND: read_found,
    DERIVED: read_derived,
    LAYERS: read_layers,
}


def objectives_of(run: RunDirectory) -> tuple[str, ...]:
    """What the search of a run minimised; older ones name what comes after error and latency."""
    with reading(run, "config.json"):
        search = run.read_json("config.json").get("search", {})
        return tuple(search.get("objectives", ["error", "latency_ms", *search.get("also", [])]))


def check_files(run: RunDirectory) -> None:
    """Refuses a run one of whose files is damaged; says which."""
    for file, read in READERS.items():
        if run.exists(file):
            read(run)
    chosen = read_chosen(run) if run.exists(CHOSEN) else []
    if "latency_ms" in objectives_of(run):
        with reading(run, CHOSEN):
            if unknown := [one.name for one in chosen if math.isnan(one.predicted_ms)]:
                raise ValueError(f"no predicted_ms of {unknown[0]}")
    verified = read_verified(run) if run.exists(VERIFIED) else None
    for one in chosen:
        if verified is not None and one.name not in verified:
            raise UserError(
                f"{VERIFIED} in {run.root} lacks {one.name!r}: run `jaxnas verify` first"
            )
    _check_archives(run)


def _check_archives(run: RunDirectory) -> None:
    names = objectives_of(run)
    for file in (CANDIDATES, RANDOM):
        if run.exists(file):
            read_searched(run, file, objectives=names)
    read_selection(run)
    read_answers(run)


@contextmanager
def drawing(run: RunDirectory) -> Iterator[None]:
    """While files that are right one by one are put together.

    What does not fit is the user's to mend, not a traceback.
    """
    try:
        yield
    except (
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        ArithmeticError,
        UndefinedError,
    ) as error:
        what = f"{type(error).__name__}: {error}"
        raise UserError(
            f"the files of {run.root} do not go together ({what[:200]}): restore the one that was "
            "changed, or delete it and run its stage"
        ) from error
