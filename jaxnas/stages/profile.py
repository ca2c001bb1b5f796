"""Measure subnets on the device."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.config import DEVICES
from jaxnas.errors import choose
from jaxnas.export.onnx import emit
from jaxnas.hardware.device import Device, ExportedModel, Measurement
from jaxnas.profiling import covering_sample, uniform_sample
from jaxnas.progress import progress
from jaxnas.stages.job import Job, costs, genome_text
from jaxnas.training.recalibrate import statistics


def run_profile(job: Job) -> bool:
    """Measure what measurements.csv lacks of the plan, a line each; False if it lacks nothing."""
    rows = job.run.read_csv("measurements.csv") if job.run.exists("measurements.csv") else []
    measured = {(int(row["round"]), row["genome"]) for row in rows}
    plan = [(turn, split, genome) for turn in range(job.config.profile.rounds) for split, genome in _plan(job)]
    todo = [one for one in plan if (one[0], genome_text(one[2])) not in measured]
    if not todo:
        return False
    device, model = open_device(job), _exporter(job)
    with progress("profile", len(plan), len(plan) - len(todo)) as advance:
        for turn, split, genome in todo:
            exported, figures = model(genome)
            measurement = device.measure(ExportedModel(exported, genome))
            row = {"round": turn, "split": split, "genome": genome_text(genome), **measurement_row(measurement), **figures}
            job.run.append_csv("measurements.csv", row)
            advance(latency_ms=measurement.latency_ms)
    return True


def _exporter(job: Job) -> Callable[[np.ndarray], tuple[bytes, dict[str, Any]]]:
    """The function that exports a genome's network with its own weights and statistics, and counts its costs."""
    params = job.params()
    host_params = jax.device_get(params)  # slices of numpy arrays are views; of jax arrays, a small program each
    calibrate = jax.jit(lambda params, genome, images: statistics(job.net, params, genome, images))
    calibration = {size: job.examples(job.data.calibration, size).images for size in job.space.structure.resolutions}

    def export(genome: np.ndarray) -> tuple[bytes, dict[str, Any]]:
        size = job.resolution(genome)
        stats = jax.device_get(calibrate(params, jnp.asarray(genome), calibration[size]))
        subnet = job.net.extract(host_params, genome, stats)
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
