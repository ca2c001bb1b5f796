"""Measure subnets on the device."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.config import DEVICES
from jaxnas.errors import UserError, choose
from jaxnas.export.onnx import emit
from jaxnas.hardware.device import Device, ExportedModel, Measurement
from jaxnas.profiling import covering_sample, uniform_sample
from jaxnas.progress import progress
from jaxnas.run_directory import RunDirectory
from jaxnas.stages.job import Job, costs, genome_text, reading
from jaxnas.training.recalibrate import statistics

PATIENCE = 10  # networks that may fail before the device is given up, if none succeeds


def run_profile(job: Job) -> bool:
    """Measure what measurements.csv lacks of the plan, a line each; False if it lacks nothing."""
    rows, todo = read_measurements(job.run), unmeasured(job)
    total = len(rows) + len(todo)
    _check_success(job, [row["failure"] for row in rows], total)
    if not todo:
        return False
    failures = [row["failure"] for row in rows]
    device, model = open_device(job), _exporter(job)
    with progress("profile", total, len(rows)) as advance:
        for turn, split, genome in todo:
            exported, figures = model(genome)
            measurement = device.measure(ExportedModel(exported, genome))
            row = {"round": turn, "split": split, "genome": genome_text(genome), **measurement_row(measurement), **figures}
            job.run.append_csv("measurements.csv", row)
            advance(latency_ms=measurement.latency_ms)
            failures.append(measurement.failure)
            _check_success(job, failures, total)
    return True


def unmeasured(job: Job) -> list[tuple[int, str, np.ndarray]]:
    """Round, split and genome of all that measurements.csv lacks of the plan, in order."""
    measured = {(int(row["round"]), row["genome"]) for row in read_measurements(job.run)}
    plan, rounds = _plan(job), range(job.config.profile.rounds)
    return [(turn, split, genome) for turn in rounds for split, genome in plan if (turn, genome_text(genome)) not in measured]


def read_measurements(run: RunDirectory) -> list[dict[str, str]]:
    """The rows of measurements.csv, none where there is no such file; refuses rows that say nothing."""
    rows = run.read_csv("measurements.csv") if run.exists("measurements.csv") else []
    with reading(run, "measurements.csv"):
        for row in rows:
            _ = int(row["round"]), float(row["latency_ms"]), row["split"], row["genome"], row["failure"]
    return rows


def _check_success(job: Job, failures: list[str], total: int) -> None:
    """Refuses to go on measuring where every one of the first networks failed."""
    if len(failures) >= min(PATIENCE, total) and all(failures):
        name, file = job.config.profile.device, job.run.path("measurements.csv")
        raise UserError(f"all {len(failures)} networks failed on the device {name} ({failures[0]}): mend it, delete {file} and run again")


def _exporter(job: Job) -> Callable[[np.ndarray], tuple[bytes, dict[str, Any]]]:
    """The function that exports a genome's network with its own weights, and counts its costs.

    Latency does not depend on batch norm's statistics, which are folded away: those of the largest network serve all.
    """
    params, largest = job.params(), jnp.asarray(job.space.largest)
    calibrate = jax.jit(lambda params, images: statistics(job.net, params, largest, images))
    sizes = job.space.resolutions
    stats = {size: jax.device_get(calibrate(params, job.calibration(size))) for size in sizes}
    host_params = jax.device_get(params)  # slices of numpy arrays are views; of jax arrays, a small program each

    def export(genome: np.ndarray) -> tuple[bytes, dict[str, Any]]:
        size = job.resolution(genome)
        subnet = job.net.extract(host_params, genome, stats[size])
        return emit(subnet, size, size, job.data.channels), costs(subnet.ops)

    return export


def open_device(job: Job) -> Device:
    """The device that the settings name."""
    return choose("device", job.config.profile.device, DEVICES)(job.config.profile)


def measurement_row(measurement: Measurement) -> dict[str, Any]:
    """A measurement as columns; the device's own description is part of every row."""
    return asdict(measurement)


def _plan(job: Job) -> list[tuple[str, np.ndarray]]:
    """What to measure, in order: splits are shuffled together, so that a drift of the machine hits them alike."""
    settings, keys = job.config.profile, jax.random.split(job.key("plan"), 3)
    cover = np.asarray(covering_sample(keys[0], job.space, settings.train))
    uniform = np.asarray(uniform_sample(keys[1], job.space, settings.validation + settings.test, cover))
    splits = ["train"] * len(cover) + ["validation"] * settings.validation + ["test"] * settings.test
    order = np.asarray(jax.random.permutation(keys[2], len(splits)))
    genomes = np.concatenate([cover, uniform])
    return [(splits[i], genomes[i]) for i in order]
