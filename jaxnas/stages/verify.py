"""Measure the exported networks on the device, and on the test split."""

import math
from typing import Any

import numpy as np

from jaxnas.errors import UserError
from jaxnas.export.proof import onnx_logits
from jaxnas.hardware.device import Device, ExportedModel, Measurement, failed
from jaxnas.progress import log
from jaxnas.stages.export import read_exported
from jaxnas.stages.finetune import read_chosen
from jaxnas.stages.job import Job, genome_text
from jaxnas.stages.measurements import measurement_row
from jaxnas.stages.profile import open_device
from jaxnas.stages.rounds import measure_in_rounds

COLUMNS = ("name", "role", "macs", "params", "predicted_ms", "search_accuracy", "finetuned_search_accuracy")


def run_verify(job: Job) -> bool:
    """Measure the exported networks again and touch the test split, this once: verified.csv; False if it is there."""
    if job.run.exists("verified.csv"):
        return False
    device, exported = open_device(job), read_exported(job)
    job.run.write_csv("verified.csv", [_verified(job, device, chosen, exported[chosen["name"]]) for chosen in read_chosen(job)])
    return True


def _verified(job: Job, device: Device, chosen: dict[str, Any], exported: dict[str, str]) -> dict[str, Any]:
    """A row of verified.csv; what begins with int8_ is of the int8 twin, NaN where the target has none."""
    float32, int8 = (_measured(job, device, chosen["genome"], exported[column]) for column in ("model", "int8_model"))
    own = int8 if job.config.export.int8_files else float32  # which the search predicted
    accuracies = [_accuracy(job, chosen["genome"], exported[column]) for column in ("model", "int8_model")]
    log(f"verify: {chosen['name']}: {accuracies[0]:.1%} of the test images right, {float32.latency_ms:.3f} ms")
    return {
        **{column: chosen[column] for column in COLUMNS},
        "genome": genome_text(chosen["genome"]),
        **{"measured_ms" if column == "latency_ms" else column: value for column, value in measurement_row(own).items()},
        "test_accuracy": accuracies[0],
        **_figures("float32", float32),
        **_figures("int8", int8),
        "int8_test_accuracy": accuracies[1],
        **exported,
    }


def _figures(precision: str, measurement: Measurement) -> dict[str, float]:
    """The latencies of one precision, as columns."""
    figures = {"ms": measurement.latency_ms, "median_ms": measurement.median_ms, "p99_ms": measurement.p99_ms}
    return {f"{precision}_{name}": value for name, value in figures.items()}


def _measured(job: Job, device: Device, genome: np.ndarray, model: str) -> Measurement:
    """Several rounds as one measurement; a failure where there is no model."""
    if not model:
        return failed(device.name, 0, "", ValueError(f"no int8 file is written for {job.config.export.target}"))
    layers = job.space.layers(genome)
    return measure_in_rounds(device, ExportedModel(job.run.path(model), genome, layers=layers), job.config.profile)


def _accuracy(job: Job, genome: np.ndarray, model: str) -> float:
    """On the test split, by ONNX Runtime."""
    if not model:
        return math.nan
    test = job.examples(job.data.test, job.resolution(genome))
    return float((_logits(job, model, test.images).argmax(-1) == np.asarray(test.labels)).mean())


def _logits(job: Job, model: str, images) -> np.ndarray:
    """What ONNX Runtime computes from the file, which may have been damaged since."""
    data = job.run.read_bytes(model)
    try:
        return onnx_logits(data, images)
    except Exception as error:  # the runtime has an exception of its own for every kind of damage
        raise UserError(f"corrupt: {job.run.path(model)}; delete it and run `jaxnas export` again") from error
