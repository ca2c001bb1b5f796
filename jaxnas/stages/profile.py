"""Measure subnets on the device."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.config import make_device
from jaxnas.errors import UserError
from jaxnas.export.int8 import quantise
from jaxnas.export.onnx import emit
from jaxnas.hardware.device import Device, ExportedModel, Measurement
from jaxnas.hardware.measured import Stored
from jaxnas.hardware.watched import Undecided, Watched
from jaxnas.profiling.active_profile import Sitting, Step, covering_sample, uniform_sample
from jaxnas.progress import log, progress
from jaxnas.records.reading import reading
from jaxnas.records.tables import read_measurements
from jaxnas.spaces.genomes import to_text
from jaxnas.stages.job import Job, costs
from jaxnas.stages.measurements import (
    add_quantiles,
    by_genome,
    forget_lost,
    latencies,
    latency_of,
    log_failures,
    measurement_row,
)
from jaxnas.stages.rounds import unsettled
from jaxnas.training.recalibrate import statistics

FEW = 8  # images that int8 networks are calibrated on where only their latency is asked for
PATIENCE = 10  # networks that may fail before the device is given up, if none succeeds

Todo = list[tuple[int, str, np.ndarray]]  # round, split and genome of measurements to be made


def run_profile(job: Job) -> bool:
    """Measure what measurements.csv lacks of the plan, a line each; False if it lacks nothing."""
    forget_lost(job)
    failures = [row["failure"] for row in read_measurements(job.run)]
    total = _most(job) * job.config.profile.rounds
    _check_success(job, failures, total)
    todo, step = _next(job)
    if not todo:
        return False
    add_quantiles(job.run, "measurements.csv")
    device = open_device(job)
    model = exporter(job)
    reused = 0

    def measure(todo: Todo, advance: Callable[..., None]) -> None:
        nonlocal reused
        for turn, split, genome in todo:
            measurement = _measure(job, device, model, turn, split, genome)
            if measurement is None:
                continue
            reused += measurement.reused
            advance(latency_ms=measurement.latency_ms, reused=reused)
            failures.append(measurement.failure)
            _check_success(job, failures, total)

    while todo:
        again = todo[0][0] >= job.config.profile.rounds
        with (
            progress("profile again", len(todo), first="measuring")
            if again
            else progress("profile", total, len(failures), "measuring") as advance
        ):
            measure(todo, advance)
            todo, step = _next(job)
            # A sitting's next batch.
            while todo and not again and todo[0][0] < job.config.profile.rounds:
                measure(todo, advance)
                todo, step = _next(job)
    if step is not None:
        _record(job, step)
    log_failures(job)
    return True


def _measure(
    job: Job, device: Device, model: Callable, turn: int, split: str, genome: np.ndarray
) -> Measurement | None:
    """One measurement, a line in measurements.csv.

    Neither where it is open whether the network or the device failed.
    """
    exported, figures = model(genome)
    try:
        measurement = device.measure(
            ExportedModel(exported, genome, turn, job.space.layers(genome))
        )
    except Undecided as error:
        log(f"profile: {error}; it is measured again")
        return None
    row = {
        "round": turn,
        "split": split,
        "genome": to_text(genome),
        **measurement_row(measurement),
        **figures,
    }
    job.run.append_csv("measurements.csv", row)
    return measurement


def _record(job: Job, step: Step) -> None:
    """Says how many measurements a sitting took, and why they were enough."""
    rows = read_measurements(job.run)
    outcome = {
        "networks": len({row["genome"] for row in rows}),
        "measurements": len(rows),
        "error": step.error,
        "reason": step.reason,
    }
    job.run.append_jsonl("metrics.jsonl", {"stage": "profile", "event": "over", **outcome})
    log(
        f"profile: {outcome['networks']} networks, {outcome['measurements']} measurements: "
        f"{step.reason}"
    )


def unmeasured(job: Job) -> Todo:
    """What measurements.csv lacks, in order.

    Of the whole plan, or of a sitting's next batch, and then of networks in doubt.
    """
    return _next(job)[0]


def _next(job: Job) -> tuple[Todo, Step | None]:
    """`unmeasured`, and the step of the sitting, if it is one."""
    rows = read_measurements(job.run)
    rounds = range(job.config.profile.rounds)
    doubtful = _doubtful(job, rows)
    if doubtful:
        return doubtful, None
    measured = {(int(row["round"]), row["genome"]) for row in rows}
    plan, step = (
        (_plan(job), None) if job.config.profile.until is None else _growing_plan(job, rows)
    )
    return [
        (turn, split, genome)
        for turn in rounds
        for split, genome in plan
        if (turn, to_text(genome)) not in measured
    ], step


def _doubtful(job: Job, rows: list[dict[str, str]]) -> Todo:
    """Another round of the networks whose fastest two differ too much.

    None while any network begun lacks a round of its own.
    """
    settings = job.config.profile
    networks = by_genome(rows).values()
    if any(len(some) < settings.rounds for some in networks):
        return []
    todo = []
    for some in networks:
        if unsettled(settings, len(some), latencies(some)):
            with reading(job.run, "measurements.csv"):
                todo.append(
                    (len(some), some[0]["split"], np.array(some[0]["genome"].split(), np.int32))
                )
    return todo


def _growing_plan(
    job: Job, rows: list[dict[str, str]]
) -> tuple[list[tuple[str, np.ndarray]], Step]:
    """What the sitting wants after these rows.

    Of three fresh networks two are for validation, one is for test; others train.

    The sitting does not see the latencies of test networks, so that they neither choose what is
    measured nor end it. A network whose rounds are not all there is not measured yet: it is still
    in the batch that the earlier ones led to.
    """
    whole = [some for some in by_genome(rows).values() if len(some) >= job.config.profile.rounds]
    with reading(job.run, "measurements.csv"):
        genomes = np.array([some[0]["genome"].split() for some in whole], np.int32).reshape(
            len(whole), len(job.space.genes)
        )
    latency_ms = [np.nan if some[0]["split"] == "test" else latency_of(some) for some in whole]
    fresh = np.array([some[0]["split"] != "train" for some in whole], bool)
    step = _sitting(job).step(job.key("plan"), genomes, np.array(latency_ms, np.float64), fresh)
    third = (fresh.sum() + np.cumsum(step.fresh)) % 3 == 2
    splits = np.where(step.fresh, np.where(third, "test", "validation"), "train")
    return list(zip(splits.tolist(), step.genomes, strict=True)), step


def _sitting(job: Job) -> Sitting:
    until = job.config.profile.until
    assert until is not None
    return Sitting(job.space, until, _most(job))


def _most(job: Job) -> int:
    settings = job.config.profile
    return settings.train + settings.validation + settings.test


def _check_success(job: Job, failures: list[str], total: int) -> None:
    """Refuses to go on measuring where every one of the first networks failed."""
    if len(failures) >= min(PATIENCE, total) and all(failures):
        name = job.config.profile.device
        file = job.run.path("measurements.csv")
        raise UserError(
            f"all {len(failures)} networks failed on the device {name} ({failures[0]}): mend it, "
            f"delete {file} and run again"
        )


def exporter(job: Job) -> Callable[[np.ndarray], tuple[bytes, dict[str, Any]]]:
    """The function that exports a genome's network with its own weights, and counts its costs.

    Latency does not depend on batch norm's statistics, which are folded away: those of the largest
    network serve all.
    """
    params = job.params()
    largest = jnp.asarray(job.space.largest)
    calibrate = jax.jit(lambda params, images: statistics(job.net, params, largest, images))
    sizes = job.space.resolutions
    stats = {size: jax.device_get(calibrate(params, job.calibration(size))) for size in sizes}
    # Slices of numpy arrays are views; of jax arrays, a small program each.
    host_params = jax.device_get(params)

    int8 = job.config.export.int8_files
    calibration = {size: np.asarray(job.calibration(size)[:FEW]) for size in sizes if int8}

    def export(genome: np.ndarray) -> tuple[bytes, dict[str, Any]]:
        size = job.resolution(genome)
        subnet = job.net.extract(host_params, genome, stats[size])
        model = emit(subnet, size, size, job.data.channels)
        return quantise(model, calibration[size]) if int8 else model, costs(subnet.ops)

    return export


def open_device(job: Job) -> Device:
    """The device that the settings name; what it has measured before, in any run, is used again.

    What it does is no network's failure.
    """
    return Stored(Watched(make_device(job.config.profile), lambda: _proven(job)))


def _proven(job: Job) -> ExportedModel | None:
    """A network that the device has run in this run, None where there is none."""
    genomes = [row["genome"] for row in read_measurements(job.run) if not row["failure"]]
    if not genomes:
        return None
    with reading(job.run, "measurements.csv"):
        genome = np.array(genomes[-1].split(), np.int32)
    return ExportedModel(exporter(job)(genome)[0], genome, layers=job.space.layers(genome))


def _plan(job: Job) -> list[tuple[str, np.ndarray]]:
    """What to measure, in order.

    Splits are shuffled together, so that a drift of the machine hits them alike.
    """
    settings = job.config.profile
    keys = jax.random.split(job.key("plan"), 3)
    cover = np.asarray(covering_sample(keys[0], job.space, settings.train))
    uniform = np.asarray(
        uniform_sample(keys[1], job.space, settings.validation + settings.test, cover)
    )
    splits = (
        ["train"] * len(cover) + ["validation"] * settings.validation + ["test"] * settings.test
    )
    order = np.asarray(jax.random.permutation(keys[2], len(splits)))
    genomes = np.concatenate([cover, uniform])
    return [(splits[i], genomes[i]) for i in order]
