"""The device of a run, and the networks of its supernet as the device is given them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.config import make_device
from jaxnas.export.int8 import quantise
from jaxnas.export.onnx import emit
from jaxnas.hardware.device import Device, ExportedModel
from jaxnas.hardware.measured import Stored
from jaxnas.hardware.watched import Watched
from jaxnas.records.measurements import read_measurements
from jaxnas.spaces.joint import chip_values
from jaxnas.stages.job import Job, costs
from jaxnas.training.recalibrate import statistics

# Images that int8 networks are calibrated on where only their latency is asked for.
LATENCY_CALIBRATION = 8


def open_device(job: Job) -> Device:
    """The device that the settings name, with what it has measured before, in any run.

    A failure of the device is never a network's.
    """
    return Stored(Watched(make_device(job.config.profile), lambda: _proven(job)))


def _proven(job: Job) -> ExportedModel | None:
    """A network that the device has run in this run, None where there is none."""
    proven = [row for row in read_measurements(job.run, job.space) if not row.measurement.failure]
    if not proven:
        return None
    genome = proven[-1].genome
    return as_exported(job, exporter(job)(genome)[0], genome)


def as_exported(job: Job, model: Path | bytes, genome: np.ndarray, turn: int = 0) -> ExportedModel:
    """A network of the run as the device is given it, and what its genome chooses of the chip."""
    layers = job.space.layers(genome)
    return ExportedModel(model, genome, turn, layers, chip_values(job.space, genome))


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
    calibration = {
        size: np.asarray(job.calibration(size)[:LATENCY_CALIBRATION]) for size in sizes if int8
    }

    def export(genome: np.ndarray) -> tuple[bytes, dict[str, Any]]:
        size = job.resolution(genome)
        subnet = job.net.extract(host_params, genome, stats[size])
        model = emit(subnet, size, size, job.data.channels)
        return quantise(model, calibration[size]) if int8 else model, costs(subnet.ops)

    return export
