"""Export the chosen networks with proof, and verify them on the device and on the test split."""

import json

import numpy as np

from jaxnas.errors import UserError
from jaxnas.export.onnx import emit
from jaxnas.export.proof import onnx_logits, prove, require
from jaxnas.hardware.device import ExportedModel
from jaxnas.progress import log
from jaxnas.stages.finetune import read_chosen, tuned_network
from jaxnas.stages.job import Job, genome_text, reading
from jaxnas.stages.profile import measurement_row, open_device
from jaxnas.stages.search import search_split

PROVED = 500  # images that a network's export is proved on, at most


def run_export(job: Job) -> bool:
    """Write models/NAME.onnx once ONNX Runtime computes from it what JAX computes, then exported.csv; False if it is there."""
    if job.run.exists("exported.csv") and all(job.run.exists(row["model"]) for row in _exported(job).values()):
        return False
    rows = []
    for chosen in read_chosen(job):
        name, genome = chosen["name"], chosen["genome"]
        size, subnet = job.resolution(genome), tuned_network(job, name, genome)
        model = emit(subnet, size, size, job.data.channels, _properties(job, chosen))
        proof = prove(model, subnet, job.examples(search_split(job), size).images[:PROVED])
        require(proof)
        job.run.write_bytes(f"models/{name}.onnx", model)
        figures = {"max_logit_difference": proof.largest_difference, "top1_agreement": proof.top1_agreement}
        rows.append({"name": name, "model": f"models/{name}.onnx", **figures})
        log(f"export: models/{name}.onnx; largest logit difference to JAX {proof.largest_difference:.1e} on {proof.images} images")
    job.run.write_csv("exported.csv", rows)
    return True


def run_verify(job: Job) -> bool:
    """Measure the exported networks again and touch the test split, this once: verified.csv; False if it is there."""
    if job.run.exists("verified.csv"):
        return False
    device = open_device(job)
    exported = _exported(job)
    columns = ("name", "role", "macs", "params", "predicted_ms", "search_accuracy", "finetuned_search_accuracy")
    rows = []
    for chosen in read_chosen(job):
        genome, found = chosen["genome"], exported[chosen["name"]]
        model = ExportedModel(job.run.path(found["model"]), genome)
        rounds = [device.measure(model) for _ in range(job.config.profile.rounds)]
        measured = measurement_row(min(rounds, key=lambda one: (one.failure, one.latency_ms)))
        measured["measured_ms"] = measured.pop("latency_ms")
        test = job.examples(job.data.test, job.resolution(genome))
        correct = _logits(job, found["model"], test.images).argmax(-1) == np.asarray(test.labels)
        accuracy = {"test_accuracy": float(correct.mean())}
        rows.append({**{column: chosen[column] for column in columns}, "genome": genome_text(genome), **measured, **accuracy, **found})
        log(f"verify: {chosen['name']}: {correct.mean():.1%} of the test images right, {measured['measured_ms']:.3f} ms")
    job.run.write_csv("verified.csv", rows)
    return True


def _exported(job: Job) -> dict[str, dict[str, str]]:
    """The rows of exported.csv by name; one for each network of chosen.json."""
    with reading(job.run, "exported.csv"):
        rows = {row.pop("name"): row for row in job.run.read_csv("exported.csv")}
        for chosen in read_chosen(job):
            _ = rows[chosen["name"]]["model"]
    return rows


def _logits(job: Job, model: str, images) -> np.ndarray:
    """What ONNX Runtime computes from the file, which may have been damaged since."""
    data = job.run.read_bytes(model)
    try:
        return onnx_logits(data, images)
    except Exception as error:  # the runtime has an exception of its own for every kind of damage
        raise UserError(f"corrupt: {job.run.path(model)}; delete it and run `jaxnas export` again") from error


def _properties(job: Job, chosen: dict) -> dict[str, str]:
    """What a user of the file must know, as the model's metadata."""
    data = job.data
    return {
        "space": job.space.name,
        "genome": genome_text(chosen["genome"]),
        "network": json.dumps(chosen["network"]),
        "macs": str(chosen["macs"]),
        "params": str(chosen["params"]),
        "input_size": str(job.resolution(chosen["genome"])),
        "channel_order": "RGB" if data.channels == 3 else "grey",
        "mean": json.dumps(data.mean.tolist()),
        "deviation": json.dumps(data.deviation.tolist()),
        "class_names": json.dumps(data.class_names),
        "search_accuracy": f"{chosen['finetuned_search_accuracy']:.4f}",
        "data": data.name,
        "experiment": job.config.name,
    }
