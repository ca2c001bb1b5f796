"""Choose three networks of the front, and train each on its own."""

import jax.numpy as jnp
import numpy as np

from jaxnas import checkpoints
from jaxnas.progress import progress
from jaxnas.selection import Choice, choose_networks
from jaxnas.stages.job import Job, costs
from jaxnas.stages.search import read_archive, search_split
from jaxnas.supernets.subnet import Subnet
from jaxnas.supernets.supernet import Params
from jaxnas.training.evaluate import Examples, accuracy
from jaxnas.training.finetune import FinetuneState, finetune, init_state
from jaxnas.training.loop import on_device
from jaxnas.training.recalibrate import recalibrated, statistics


def run_finetune(job: Job) -> bool:
    """Write chosen.json, and checkpoints/NAME after every epoch; False if it is there."""
    if job.run.exists("chosen.json"):
        return False
    archive, params = read_archive(job.run, "candidates.npz"), job.params()
    choices = choose_networks(archive.fitness, job.config.finetune.within_points, job.config.latency_limit_ms)
    job.run.write_json("chosen.json", [_finetuned(job, params, choice, archive.genomes[choice.row], archive.fitness[choice.row]) for choice in choices])
    return True


def tuned_network(job: Job, name: str, genome: np.ndarray) -> Subnet:
    """The network that fine-tuning left in checkpoints/NAME."""
    subnet = inherited(job, job.params(), genome)
    state = checkpoints.restore(job.run.path(f"checkpoints/{name}"), init_state(subnet, job.config.finetune, len(job.data.train)))
    return recalibrated(Subnet(subnet.ops, state.weights, {}), job.examples(job.data.calibration, job.resolution(genome)).calibration)


def inherited(job: Job, params: Params, genome: np.ndarray) -> Subnet:
    """The network as the supernet has it."""
    calibration = job.examples(job.data.calibration, job.resolution(genome)).calibration
    return job.net.extract(params, genome, statistics(job.net, params, jnp.asarray(genome), calibration))


def _finetuned(job: Job, params: Params, choice: Choice, genome: np.ndarray, fitness: np.ndarray) -> dict[str, object]:
    subnet = inherited(job, params, genome)
    examples = job.examples(search_split(job), job.resolution(genome))
    tuned = _finetune(job, choice.name, subnet, examples)
    return {
        "name": choice.name,
        "role": choice.role,
        "genome": genome,
        "network": job.space.decode(genome),
        **costs(subnet.ops),
        "search_accuracy": float(accuracy(subnet, examples.images, examples.labels)),
        "finetuned_search_accuracy": float(accuracy(tuned, examples.images, examples.labels)),
        "predicted_ms": float(fitness[1]),
    }


def _finetune(job: Job, name: str, subnet: Subnet, examples: Examples) -> Subnet:
    """Train from the newest checkpoint on."""
    folder, settings = job.run.path(f"checkpoints/{name}"), job.config.finetune
    done, state = checkpoints.latest_step(folder) or 0, init_state(subnet, settings, len(job.data.train))
    state = checkpoints.restore(folder, state) if done else state
    resolution, augmentation = examples.images.shape[1], job.config.data.augmentation
    with progress(f"finetune {name}", settings.epochs, done) as advance:
        for epoch, state, loss in finetune(subnet, on_device(job.data), resolution, settings, augmentation, job.key("finetune"), state, done):
            tuned = _calibrated(subnet, state, examples)
            figures = {"loss": float(loss), "search_accuracy": float(accuracy(tuned, examples.images, examples.labels))}
            job.run.append_jsonl("metrics.jsonl", {"stage": "finetune", "name": name, "epoch": epoch, **figures})
            checkpoints.save(folder, epoch, state)
            advance(**figures)
    return _calibrated(subnet, state, examples)


def _calibrated(subnet: Subnet, state: FinetuneState, examples: Examples) -> Subnet:
    return recalibrated(Subnet(subnet.ops, state.weights, {}), examples.calibration)
