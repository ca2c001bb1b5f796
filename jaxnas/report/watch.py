"""The report of a run that goes on: drawn anew whenever its files have changed."""

import time
from collections.abc import Callable

from jaxnas.errors import UserError
from jaxnas.progress import log
from jaxnas.records.files import RECORDS
from jaxnas.records.run_directory import RunDirectory
from jaxnas.report.html import PAGE, write_report
from jaxnas.report.state import State, state_of

LOOK_S = 2.0  # between two looks at the files
SHARE = 0.05  # of the time that drawing may take, since the run needs the processor
LEAST_S = 10.0  # between two drawings
TRIES = 5  # files that do not go together may be written just then


def watch(run: RunDirectory, wait: Callable[[float], object] = time.sleep) -> None:
    """Keep `report.html` up to date until the run is finished.

    Takes no lock, for the run holds it: the page is written whole or not at all.

    Raises:
        UserError: files stay damaged.
    """
    seen: dict[str, float] = {}
    told: State | None = None
    failed = 0
    while True:
        start = time.perf_counter()
        files = _changed(run)
        drawn = files != seen
        if drawn:
            try:
                told = _drawn(run, told)
            except UserError:
                failed += 1
                if failed == TRIES:
                    raise
            else:
                seen, failed = files, 0
        if not failed and told is not None and told.next is None:
            return
        spent = time.perf_counter() - start
        wait(max(LEAST_S, spent / SHARE) if drawn else LOOK_S)


def _drawn(run: RunDirectory, before: State | None) -> State:
    """Draw the page, and say how far the run has come where that is new."""
    state = state_of(run)
    path = write_report(run, watched=True)
    if state != before:
        left = f", {state.next} is next" if state.next else ""
        log(f"report: {path}: {', '.join(state.done)} done{left}")
    return state


def _changed(run: RunDirectory) -> dict[str, float]:
    """When each file that a report is drawn from was written last."""
    paths = {name: run.path(name) for name in RECORDS if name != PAGE}
    return {name: path.stat().st_mtime for name, path in paths.items() if path.is_file()}
