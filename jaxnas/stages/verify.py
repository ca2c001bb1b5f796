"""Measure the exported networks on the device, and on the test split."""

from typing import Any

import numpy as np

from jaxnas.errors import UserError
from jaxnas.export.proof import onnx_logits
from jaxnas.hardware.device import Device, ExportedModel
from jaxnas.progress import log
from jaxnas.stages.export import read_exported
from jaxnas.stages.finetune import read_chosen
from jaxnas.stages.job import Job, genome_text
from jaxnas.stages.profile import measurement_row, open_device

COLUMNS = ("name", "role", "macs", "params", "predicted_ms", "search_accuracy", "finetuned_search_accuracy")


def run_verify(job: Job) -> bool:
    """Measure the exported networks again and touch the test split, this once: verified.csv; False if it is there."""
    if job.run.exists("verified.csv"):
        return False
    device, exported = open_device(job), read_exported(job)
    job.run.write_csv("verified.csv", [_verified(job, device, chosen, exported[chosen["name"]]) for chosen in read_chosen(job)])
    return True


def _verified(job: Job, device: Device, chosen: dict[str, Any], exported: dict[str, str]) -> dict[str, Any]:
    genome = chosen["genome"]
    model = ExportedModel(job.run.path(exported["model"]), genome)
    rounds = [device.measure(model) for _ in range(job.config.profile.rounds)]
    measured = measurement_row(min(rounds, key=lambda one: (one.failure, one.latency_ms)))
    measured["measured_ms"] = measured.pop("latency_ms")
    test = job.examples(job.data.test, job.resolution(genome))
    accuracy = float((_logits(job, exported["model"], test.images).argmax(-1) == np.asarray(test.labels)).mean())
    log(f"verify: {chosen['name']}: {accuracy:.1%} of the test images right, {measured['measured_ms']:.3f} ms")
    return {
        **{column: chosen[column] for column in COLUMNS},
        "genome": genome_text(genome),
        **measured,
        "test_accuracy": accuracy,
        **exported,
    }


def _logits(job: Job, model: str, images) -> np.ndarray:
    """What ONNX Runtime computes from the file, which may have been damaged since."""
    data = job.run.read_bytes(model)
    try:
        return onnx_logits(data, images)
    except Exception as error:  # the runtime has an exception of its own for every kind of damage
        raise UserError(f"corrupt: {job.run.path(model)}; delete it and run `jaxnas export` again") from error
