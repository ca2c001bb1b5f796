"""Measure subnets on the device."""

from collections import Counter
from collections.abc import Callable

from jaxnas.config import make_device
from jaxnas.errors import UserError
from jaxnas.hardware.cost_model import cost_model
from jaxnas.hardware.device import Device, Measurement
from jaxnas.hardware.watched import Undecided
from jaxnas.profiling.active_profile import Step
from jaxnas.progress import log, progress
from jaxnas.records.measurements import (
    MEASURED,
    Measured,
    add_younger_columns,
    append_measurement,
    by_network,
    read_measurements,
    write_measurements,
)
from jaxnas.stages.job import Job
from jaxnas.stages.measuring import as_exported, exporter, open_device
from jaxnas.stages.plan import Todo, most_networks, unmeasured

MAX_FAILURES = 10  # networks that may fail, none succeeding, before the device is given up


def run_profile(job: Job) -> bool:
    """Measure what measurements.csv lacks of the plan, a line each; False if it lacks nothing."""
    _forget_lost(job)
    failures = [row.measurement.failure for row in read_measurements(job.run)]
    total = most_networks(job) * job.config.profile.rounds
    _check_success(job, failures, total)
    todo, step = unmeasured(job)
    if not todo:
        return False
    add_younger_columns(job.run, MEASURED)
    device = open_device(job)
    model = exporter(job)
    reused = 0

    def measure(todo: list[Todo], advance: Callable[..., None]) -> None:
        nonlocal reused
        for one in todo:
            measurement = _measure(job, device, model, one)
            if measurement is None:
                continue
            reused += measurement.reused
            advance(latency_ms=measurement.latency_ms, reused=reused)
            failures.append(measurement.failure)
            _check_success(job, failures, total)

    while todo:
        again = todo[0].turn >= job.config.profile.rounds
        with (
            progress("profile again", len(todo), first="measuring")
            if again
            else progress("profile", total, len(failures), "measuring") as advance
        ):
            measure(todo, advance)
            todo, step = unmeasured(job)
            # The next batch of an active profile.
            while todo and not again and todo[0].turn < job.config.profile.rounds:
                measure(todo, advance)
                todo, step = unmeasured(job)
    if step is not None:
        _record(job, step)
    _log_failures(job)
    return True


def _measure(job: Job, device: Device, model: Callable, todo: Todo) -> Measurement | None:
    """Measure one network and append a line to measurements.csv.

    None, and no line, where either the network or the device may have failed.
    """
    turn, split, genome = todo
    file, costs = model(genome)
    try:
        measurement = device.measure(as_exported(job, file, genome, turn))
    except Undecided as error:
        log(f"profile: {error}; it is measured again")
        return None
    append_measurement(job.run, Measured(turn, split, genome, measurement, **costs))
    return measurement


def _record(job: Job, step: Step) -> None:
    """Logs how many measurements an active profile took, and why they were enough."""
    rows = read_measurements(job.run)
    outcome = {
        "networks": len(by_network(rows)),
        "measurements": len(rows),
        "error": step.error,
        "reason": step.reason,
    }
    job.record("profile", event="over", **outcome)
    log(
        f"profile: {outcome['networks']} networks, {outcome['measurements']} measurements: "
        f"{step.reason}"
    )


def _forget_lost(job: Job) -> None:
    """Drop measurements for which the device was lost, unless something was learnt from them.

    They are made again.
    """
    rows = read_measurements(job.run)
    kept = [row for row in rows if not row.measurement.lost]
    if len(kept) < len(rows) and not job.run.exists("predictor.json"):
        log(
            f"profile: {len(rows) - len(kept)} measurements for which the device was lost are made "
            "again"
        )
        write_measurements(job.run, kept)


def _log_failures(job: Job) -> None:
    """Says how many networks failed, and why."""
    networks = by_network(read_measurements(job.run))
    reasons = Counter(one.rounds[0].failure for one in networks if not one.latencies_ms)
    if reasons:
        told = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
        log(f"profile: {reasons.total()} of {len(networks)} networks failed: {told}")


def _check_success(job: Job, failures: list[str], total: int) -> None:
    """A `UserError` where all networks so far failed, too many to go on.

    A model never breaks: `check_fits` has found networks that it runs.
    """
    if cost_model(make_device(job.config.profile)) is not None:
        return
    if len(failures) >= min(MAX_FAILURES, total) and all(failures):
        name = job.config.profile.device
        file = job.run.path(MEASURED)
        raise UserError(
            f"all {len(failures)} networks failed on the device {name} ({failures[0]}): mend it, "
            f"delete {file} and run again"
        )
