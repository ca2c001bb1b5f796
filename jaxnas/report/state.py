"""How far a run has come: a report shows what is there, and says what is not."""

from typing import NamedTuple

from jaxnas.errors import UserError
from jaxnas.records.files import OF_LATENCY, RECORDS, STAGES
from jaxnas.records.metrics import METRICS, read_metrics
from jaxnas.records.run_directory import RunDirectory
from jaxnas.report.files import objectives_of

GROWING = ("checkpoints/supernet", "measurements.csv")  # there long before their stages are done


class State(NamedTuple):
    """The stages of a run, but for the report."""

    done: tuple[str, ...]
    next: str | None  # the first that is not done; None: the run is whole


def state_of(run: RunDirectory) -> State:
    """How far a run has come; one that minimises no latency needs no stages of it.

    Raises:
        UserError: a file is missing of a stage that is done, for a later one is.
    """
    latency = not run.exists("config.json") or "latency_ms" in objectives_of(run)
    skipped = () if latency else OF_LATENCY
    stages = tuple(stage for stage in STAGES if stage not in (*skipped, "report"))
    complete = _complete(run)
    reached = max((i for i, stage in enumerate(stages, 1) if stage in complete), default=0)
    for record in RECORDS.values():
        needed = record.reported and record.made_by in stages[:reached]
        if needed and not run.exists(record.name):
            raise UserError(f"no {record.name} in {run.root}: run `jaxnas {record.made_by}` first")
    return State(stages[:reached], None if reached == len(stages) else stages[reached])


def _complete(run: RunDirectory) -> set[str]:
    """The stages whose last file is there, and of one that grows also a line that says so."""
    lines = read_metrics(run) if run.exists(METRICS) else []
    told = {line["stage"] for line in lines if line.get("event") == "done"}
    return {
        record.made_by
        for record in RECORDS.values()
        if record.completes
        and run.exists(record.name)
        and (record.name not in GROWING or record.made_by in told)
    }
