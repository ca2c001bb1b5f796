"""Export the chosen networks, with proof."""

import json

import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.data.augment import resized
from jaxnas.export.int8 import quantise
from jaxnas.export.lint import TARGETS, lint, require_accepted, takes_int8
from jaxnas.export.onnx import emit
from jaxnas.export.proof import prove, require
from jaxnas.progress import log
from jaxnas.records.chosen import Chosen, read_chosen
from jaxnas.records.exported import EXPORTED, Exported, read_exported, write_exported
from jaxnas.spaces.genomes import to_text
from jaxnas.stages.evaluation import search_split
from jaxnas.stages.job import Job
from jaxnas.supernets.supernet import Params

PROVED = 500  # images that a network's export is proved on, at most


def run_export(job: Job) -> bool:
    """Write the chosen networks to models/, each proved, then exported.csv.

    False if they are there.
    """
    networks = read_chosen(job.run, job.space)
    if job.run.exists(EXPORTED):
        exported = read_exported(job.run, [one.name for one in networks])
        if all(job.run.exists(one.model) for one in exported.values()):
            return False
    params = jax.device_get(job.params())
    write_exported(job.run, [_exported(job, params, chosen) for chosen in networks])
    return True


def _exported(job: Job, params: Params, chosen: Chosen) -> Exported:
    """Write models/NAME.onnx once ONNX Runtime computes from it what JAX computes.

    And its int8 twin where the target takes one.
    """
    name = chosen.name
    genome = chosen.genome
    target = job.config.export.target
    size = job.resolution(genome)
    subnet = job.finetuned(params, name, genome)
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
    int8_model = ""
    if takes_int8(target):
        few = job.data.calibration.first(job.config.export.calibration_images)
        twin = quantise(model, job.images(few, size))
        int8_model = f"models/{name}.int8.onnx"
        job.run.write_bytes(int8_model, twin)
    _write_calibration(job, size)
    return Exported(
        name,
        f"models/{name}.onnx",
        int8_model,
        proof.largest_difference,
        proof.top1_agreement,
    )


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


def _properties(job: Job, chosen: Chosen) -> dict[str, str]:
    """What a user of the file must know, as the model's metadata."""
    data = job.data
    return {
        "space": job.space.name,
        "genome": to_text(chosen.genome),
        "network": json.dumps(chosen.network),
        "macs": str(chosen.macs),
        "params": str(chosen.params),
        "image_size": str(data.image_size[0]),
        "input_size": str(job.resolution(chosen.genome)),
        "interpolation": job.prepared.resizing,
        "channel_order": "RGB" if data.channels == 3 else "grey",
        "mean": json.dumps(data.mean.tolist()),
        "deviation": json.dumps(data.deviation.tolist()),
        "class_names": json.dumps(data.class_names),
        "search_accuracy": f"{chosen.finetuned_search_accuracy:.4f}",
        "data": data.name,
        "experiment": job.config.name,
    }
