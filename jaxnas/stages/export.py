"""Export the chosen networks, with proof."""

import json

from jaxnas.export.onnx import emit
from jaxnas.export.proof import prove, require
from jaxnas.progress import log
from jaxnas.stages.finetune import read_chosen, tuned_network
from jaxnas.stages.job import Job, genome_text, reading
from jaxnas.stages.search import search_split

PROVED = 500  # images that a network's export is proved on, at most


def run_export(job: Job) -> bool:
    """Write models/NAME.onnx once ONNX Runtime computes from it what JAX computes, then exported.csv; False if it is there."""
    if job.run.exists("exported.csv") and all(job.run.exists(row["model"]) for row in read_exported(job).values()):
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


def read_exported(job: Job) -> dict[str, dict[str, str]]:
    """The rows of exported.csv by name; one for each network of chosen.json."""
    with reading(job.run, "exported.csv"):
        rows = {row.pop("name"): row for row in job.run.read_csv("exported.csv")}
        for chosen in read_chosen(job):
            _ = rows[chosen["name"]]["model"]
    return rows


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
