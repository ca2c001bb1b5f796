"""Export the chosen networks, with proof."""

import json

import jax.numpy as jnp
import numpy as np

from jaxnas.data.augment import resized
from jaxnas.export.int8 import quantise
from jaxnas.export.lint import TARGETS, lint, require_accepted, takes_int8
from jaxnas.export.onnx import emit
from jaxnas.export.proof import prove, require
from jaxnas.progress import log
from jaxnas.records import tables
from jaxnas.records.reading import reading
from jaxnas.spaces.genomes import to_text
from jaxnas.stages.evaluation import search_split
from jaxnas.stages.finetune import read_chosen, tuned_network
from jaxnas.stages.job import Job

PROVED = 500  # images that a network's export is proved on, at most


def run_export(job: Job) -> bool:
    """Write the chosen networks to models/, each proved, then exported.csv.

    False if they are there.
    """
    if job.run.exists("exported.csv") and all(
        job.run.exists(row["model"]) for row in read_exported(job).values()
    ):
        return False
    job.run.write_csv("exported.csv", [_exported(job, chosen) for chosen in read_chosen(job)])
    return True


def _exported(job: Job, chosen: dict) -> dict[str, object]:
    """Write models/NAME.onnx once ONNX Runtime computes from it what JAX computes.

    And its int8 twin where the target takes one.
    """
    name = chosen["name"]
    genome = chosen["genome"]
    target = job.config.export.target
    size = job.resolution(genome)
    subnet = tuned_network(job, name, genome)
    model = emit(
        subnet, size, size, job.data.channels, _properties(job, chosen), TARGETS[target].opset
    )
    _accepted(model, name, target)
    proof = prove(model, subnet, job.examples(search_split(job), size).images[:PROVED])
    require(proof)
    job.run.write_bytes(f"models/{name}.onnx", model)
    log(
        f"export: models/{name}.onnx; largest logit difference to JAX "
        f"{proof.largest_difference:.1e} on {proof.images} images"
    )
    row: dict[str, object] = {"name": name, "model": f"models/{name}.onnx", "int8_model": ""}
    if takes_int8(target):
        few = job.data.calibration.first(job.config.export.calibration_images)
        twin = quantise(model, job.images(few, size))
        job.run.write_bytes(f"models/{name}.int8.onnx", twin)
        row["int8_model"] = f"models/{name}.int8.onnx"
    _write_calibration(job, size)
    return row | {
        "max_logit_difference": proof.largest_difference,
        "top1_agreement": proof.top1_agreement,
    }


def _accepted(model: bytes, name: str, target: str) -> None:
    """Refuses what the target would refuse, and says what it may refuse."""
    findings = lint(model, target)
    require_accepted(findings, target)
    for one in findings:
        log(f"export: models/{name}.onnx, {one.layer}: {one.reason}")


def _write_calibration(job: Job, size: int) -> None:
    """The images that quantisers calibrate on, as the network's camera sees them.

    models/calibration_SIZE.npy, uint8, NHWC, 0 to 255.
    """
    few = job.data.calibration.first(job.config.export.calibration_images)
    images = resized(jnp.asarray(few.images, jnp.float32), size, job.prepared.resizing)
    job.run.write_npy(
        f"models/calibration_{size}.npy",
        np.clip(np.round(np.asarray(images)), 0, 255).astype(np.uint8),
    )


def read_exported(job: Job) -> dict[str, dict[str, str]]:
    """The rows of exported.csv by name; one for each network of chosen.json."""
    rows = tables.read_exported(job.run)
    with reading(job.run, "exported.csv"):
        for chosen in read_chosen(job):
            _ = rows[chosen["name"]]["model"], rows[chosen["name"]]["int8_model"]
    return rows


def _properties(job: Job, chosen: dict) -> dict[str, str]:
    """What a user of the file must know, as the model's metadata."""
    data = job.data
    return {
        "space": job.space.name,
        "genome": to_text(chosen["genome"]),
        "network": json.dumps(chosen["network"]),
        "macs": str(chosen["macs"]),
        "params": str(chosen["params"]),
        "image_size": str(data.image_size[0]),
        "input_size": str(job.resolution(chosen["genome"])),
        "interpolation": job.prepared.resizing,
        "channel_order": "RGB" if data.channels == 3 else "grey",
        "mean": json.dumps(data.mean.tolist()),
        "deviation": json.dumps(data.deviation.tolist()),
        "class_names": json.dumps(data.class_names),
        "search_accuracy": f"{chosen['finetuned_search_accuracy']:.4f}",
        "data": data.name,
        "experiment": job.config.name,
    }
