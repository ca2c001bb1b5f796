"""Choose three networks of the front, by images that the search has not seen, and train each on its own."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnas import checkpoints
from jaxnas.data.batches import steps_of_epoch
from jaxnas.errors import UserError
from jaxnas.progress import progress
from jaxnas.search.selection import Choice, choose_networks
from jaxnas.stages.evaluation import search_split, selection_split
from jaxnas.stages.job import Job, costs, reading
from jaxnas.stages.selection import candidates_to_choose
from jaxnas.supernets.subnet import Subnet
from jaxnas.supernets.supernet import Params
from jaxnas.training.evaluate import Examples, accuracy
from jaxnas.training.finetune import FinetuneState, finetune, init_state
from jaxnas.training.loop import Images, on_device
from jaxnas.training.population import tuned
from jaxnas.training.recalibrate import recalibrated

COLUMNS = ("name", "role", "genome", "network", "macs", "params", "search_accuracy", "finetuned_search_accuracy", "predicted_ms")


def run_finetune(job: Job) -> bool:
    """Write selection.npz, chosen.json, and checkpoints/NAME after every epoch; False if they are there."""
    if job.run.exists("chosen.json") and all(job.run.exists(f"checkpoints/{chosen['name']}") for chosen in read_chosen(job)):
        return False
    candidates, params = candidates_to_choose(job), jax.device_get(job.params())
    also, settings = job.config.search.also, job.config.finetune
    choices = choose_networks(candidates.fitness, settings.within_points, job.config.latency_limit_ms, also)
    images, chosen = on_device(job.data), []
    for choice in choices:
        _, _, *further = candidates.fitness[choice.row].tolist()
        figures = {
            "predicted_ms": float(candidates.predicted_ms[choice.row]),
            **dict(zip(also, further, strict=True)),
        }
        chosen.append(_finetuned(job, params, images, choice, candidates.genomes[choice.row]) | figures)
    job.run.write_json("chosen.json", chosen)
    return True


def read_chosen(job: Job) -> list[dict[str, Any]]:
    """The chosen networks in order, as chosen.json has them."""
    with reading(job.run, "chosen.json"):
        recorded = job.run.read_json("chosen.json")
        if not isinstance(recorded, list):
            raise TypeError("not a list")
        chosen = [{**one, "genome": np.array(one["genome"], np.int32)} for one in recorded]
        for one in chosen:
            if missing := set(COLUMNS) - set(one):
                raise KeyError(", ".join(sorted(missing)))
    for one in chosen:
        job.space.decode(one["genome"])  # refuses what is no genome of this space
    return chosen


def tuned_network(job: Job, name: str, genome: np.ndarray) -> Subnet:
    """The network that fine-tuning left in checkpoints/NAME."""
    subnet = job.net.extract(jax.device_get(job.params()), genome, {})
    state = checkpoints.restore(job.run.path(f"checkpoints/{name}"), init_state(subnet, job.config.finetune, len(job.data.train)))
    return recalibrated(Subnet(subnet.ops, state.weights, {}), _calibration(job, job.resolution(genome)))


def _calibration(job: Job, resolution: int) -> Float[Array, "n r r c"]:
    return job.calibration(resolution, job.config.search.hybrid.epochs + job.config.finetune.epochs)


def _finetuned(job: Job, params: Params, images: Images, choice: Choice, genome: np.ndarray) -> dict[str, object]:
    examples = job.examples(search_split(job), job.resolution(genome))
    subnet = job.inherited(_as_searched(job, params, images, genome, examples), genome)
    tuned = _finetune(job, choice.name, subnet, images, examples._replace(calibration=_calibration(job, job.resolution(genome))))
    selection, seen = selection_split(job), {"search": examples}
    if selection is not None:
        seen["selection"] = job.examples(selection, job.resolution(genome))
    return {
        "name": choice.name,
        "role": choice.role,
        "genome": genome,
        "network": job.space.decode(genome),
        **costs(subnet.ops),
        **{f"{split}_accuracy": float(accuracy(subnet, some.images, some.labels)) for split, some in seen.items()},
        **{f"finetuned_{split}_accuracy": float(accuracy(tuned, some.images, some.labels)) for split, some in seen.items()},
    }


def _as_searched(job: Job, params: Params, images: Images, genome: np.ndarray, examples: Examples) -> Params:
    """The weights that the search evaluated the network with: those inherited, or trained as the search did, once more."""
    hybrid = job.config.search.hybrid
    if not hybrid.trains:
        return params
    arguments = (images, examples, hybrid, job.augmentation, job.key("hybrid"))
    return jax.device_get(_tuned(job.net, params, jnp.asarray(genome), *arguments).params)


_tuned = jax.jit(tuned, static_argnames=("net", "settings", "augmentation"))


def _finetune(job: Job, name: str, subnet: Subnet, images: Images, examples: Examples) -> Subnet:
    """Train from the newest checkpoint on, the inherited weights being the first."""
    folder, settings = job.run.path(f"checkpoints/{name}"), job.config.finetune
    state = init_state(subnet, settings, len(job.data.train))
    if checkpoints.latest_step(folder) is None:
        checkpoints.save(folder, 0, state)
    done, state = checkpoints.latest_step(folder) or 0, checkpoints.restore(folder, state)
    resolution, augmentation = examples.images.shape[1], job.augmentation
    steps = steps_of_epoch(len(images.labels), settings.batch_size)
    with progress(f"finetune {name}", settings.epochs * steps, done * steps) as advance:
        arguments = settings, augmentation, job.key("finetune"), state, done
        for epoch, state, loss in finetune(subnet, images, resolution, *arguments, stepped=lambda loss: advance(loss=loss)):
            if not np.isfinite(loss):
                raise UserError(f"fine-tuning {name} diverged in epoch {epoch}: lower finetune.learning_rate and use another --out")
            tuned = _calibrated(subnet, state, examples)
            figures = {"loss": float(loss), "search_accuracy": float(accuracy(tuned, examples.images, examples.labels))}
            job.run.append_jsonl("metrics.jsonl", {"stage": "finetune", "name": name, "epoch": epoch, **figures})
            checkpoints.save(folder, epoch, state)
            advance(0, **figures)
    return _calibrated(subnet, state, examples)


def _calibrated(subnet: Subnet, state: FinetuneState, examples: Examples) -> Subnet:
    return recalibrated(Subnet(subnet.ops, state.weights, {}), examples.calibration)
