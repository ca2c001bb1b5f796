"""Choose networks of the front, by images that the search has not seen.

Train each on its own.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnas.config import Config
from jaxnas.data.batches import steps_of_epoch
from jaxnas.errors import UserError
from jaxnas.networks.subnet import Subnet
from jaxnas.objectives.limits import upper_limits
from jaxnas.progress import log, progress
from jaxnas.records.chosen import CHOSEN, Chosen, read_chosen, write_chosen
from jaxnas.signals import Saving
from jaxnas.spaces.genomes import described
from jaxnas.spaces.joint import alone, chip_values, of_network
from jaxnas.stages.chosen import Choice, choose_networks, choose_within
from jaxnas.stages.evaluation import search_split, selection_split
from jaxnas.stages.job import Job, costs
from jaxnas.stages.selection import Candidates, candidates_to_choose, preferred
from jaxnas.stages.teacher import teacher_of
from jaxnas.supernets.supernet import Params
from jaxnas.training.evaluate import Examples, accuracy
from jaxnas.training.finetune import FinetuneState, finetune_steps, init_state
from jaxnas.training.population import tuned
from jaxnas.training.recalibrate import recalibrated
from jaxnas.training.streaming import TrainingImages
from jaxnas.training.views import Images
from jaxnas.weights import checkpoints

# The folder, beside the checkpoints of a network's epochs, of one in the middle of an epoch.
BEGUN = "begun"


def run_finetune(job: Job) -> bool:
    """Write selection.npz, chosen.json, and checkpoints/NAME after every epoch.

    False if they are there.
    """
    if job.run.exists(CHOSEN) and all(
        job.run.exists(f"checkpoints/{one.name}") for one in read_chosen(job.run, job.space)
    ):
        return False
    candidates = candidates_to_choose(job)
    params = jax.device_get(job.params())
    choices = _choices(job.config, candidates)
    _report_few(job.config, candidates, len(choices))
    images = job.training_images()
    chosen = [_finetuned(job, params, images, candidates, choice) for choice in choices]
    write_chosen(job.run, chosen)
    return True


def _choices(config: Config, candidates: Candidates) -> list[Choice]:
    own = config.finetune
    if own.under:
        limits = upper_limits(own.under, candidates.columns.names, "finetune.under")
        return choose_within(candidates.columns, limits, own.networks)
    return choose_networks(
        candidates.columns,
        own.within_points,
        config.latency_limit_ms,
        preferred(config.limited_search, candidates.columns),
        own.networks,
    )


def _report_few(config: Config, candidates: Candidates, chosen: int) -> None:
    """Say so where the front has fewer networks than were asked for."""
    own = config.finetune
    further = 0 if own.under else len(candidates.columns.costs) - 1
    if chosen < own.networks + further:
        within = " within finetune.under" if own.under else ""
        log(
            f"finetune: {chosen} chosen of {own.networks + further} asked for: the front has no "
            f"more networks{within}"
        )


def _finetuned(
    job: Job, params: Params, images: TrainingImages, candidates: Candidates, choice: Choice
) -> Chosen:
    genome = candidates.genomes[choice.row]
    examples = job.examples(search_split(job), job.resolution(genome))
    subnet = job.inherited(_as_searched(job, params, images, genome, examples), genome)
    tuned = _finetune(
        job,
        choice.name,
        subnet,
        images,
        examples._replace(calibration=job.finetuned_calibration(job.resolution(genome))),
        teacher_of(job, params, job.resolution(genome)),
    )
    selection = selection_split(job)
    seen = {"search": examples}
    if selection is not None:
        seen["selection"] = job.examples(selection, job.resolution(genome))
    accuracies: dict[str, Any] = {
        f"{prefix}{split}_accuracy": float(accuracy(network, some.images, some.labels))
        for prefix, network in (("", subnet), ("finetuned_", tuned))
        for split, some in seen.items()
    }
    return Chosen(
        choice.name,
        choice.role,
        genome,
        described(alone(job.space), of_network(job.space, genome)),
        **costs(subnet.ops),
        **accuracies,
        predicted_ms=candidates.latency_ms(choice.row),
        costs=candidates.costs(choice.row),
        chip=chip_values(job.space, genome),
    )


def _as_searched(
    job: Job, params: Params, images: TrainingImages, genome: np.ndarray, examples: Examples
) -> Params:
    """The weights that the search evaluated the network with.

    Those inherited, or trained as the search did, once more.
    """
    hybrid = job.config.search.hybrid
    if not hybrid.trains:
        return params
    assert isinstance(images, Images)  # as `check_fit` has found
    arguments = (images, examples, hybrid, job.augmentation, job.key("hybrid"))
    return jax.device_get(_tuned(job.net, params, jnp.asarray(genome), *arguments).params)


_tuned = jax.jit(tuned, static_argnames=("net", "settings", "augmentation"))


def _finetune(
    job: Job,
    name: str,
    subnet: Subnet,
    images: TrainingImages,
    examples: Examples,
    teacher: Subnet | None,
) -> Subnet:
    """Train from the newest checkpoint on, the inherited weights being the first."""
    folder = job.run.path(f"checkpoints/{name}")
    settings = job.config.finetune
    begun = folder / BEGUN
    per_epoch = steps_of_epoch(images.total, settings.batch_size)
    step, state, losses = _resumed(
        folder, init_state(subnet, settings, len(job.data.train)), per_epoch
    )
    arguments = (
        images,
        examples.images.shape[1],
        settings,
        job.augmentation,
        job.key("finetune"),
        state,
        step,
        teacher,
    )
    minutes = job.config.train.checkpoint_minutes
    with (
        progress(f"finetune {name}", settings.epochs * per_epoch, step) as advance,
        Saving(minutes) as saving,
    ):
        for step, state, loss in finetune_steps(subnet, *arguments):
            losses.append(loss)
            advance(loss=loss)
            epoch, steps = divmod(step, per_epoch)
            if steps:
                saving.after(False, partial(_save_begun, begun, step, state, losses, per_epoch))
                continue
            advance(
                0,
                **_record(
                    job,
                    name,
                    epoch,
                    float(jnp.mean(jnp.stack(losses))),
                    _calibrated(subnet, state, examples),
                    examples,
                ),
            )
            losses.clear()
            saving.after(True, partial(checkpoints.save, folder, epoch, state))
    checkpoints.remove(begun)
    return _calibrated(subnet, state, examples)


def _save_begun(
    begun: Path, step: int, state: FinetuneState, losses: Sequence[Float[Array, ""]], per_epoch: int
) -> None:
    """Save the middle of an epoch: the losses so far, and zeros for those that are to come."""
    held = np.zeros(per_epoch, np.float32)
    held[: len(losses)] = losses
    checkpoints.save(begun, step, {"state": state, "losses": held})


def _resumed(
    folder: Path, fresh: FinetuneState, per_epoch: int
) -> tuple[int, FinetuneState, list[Any]]:
    """Steps done, the state that they led to, and the losses of an epoch that is not finished."""
    checkpoints.clean(folder)
    if checkpoints.latest_step(folder) is None:
        checkpoints.save(folder, 0, fresh)
    step = (checkpoints.latest_step(folder) or 0) * per_epoch
    begun = checkpoints.latest_step(folder / BEGUN) or 0
    if begun <= step:
        return step, checkpoints.restore(folder, fresh), []
    tree = checkpoints.restore(
        folder / BEGUN, {"state": fresh, "losses": np.zeros(per_epoch, np.float32)}
    )
    return begun, tree["state"], list(tree["losses"][: begun - step])


def _record(
    job: Job, name: str, epoch: int, loss: float, tuned: Subnet, examples: Examples
) -> dict[str, float]:
    """An epoch's line in metrics.jsonl, and its figures; refuses a loss that is not finite."""
    if not np.isfinite(loss):
        raise UserError(
            f"fine-tuning {name} diverged in epoch {epoch}: lower finetune.learning_rate and use "
            "another --out"
        )
    figures = {
        "loss": loss,
        "search_accuracy": float(accuracy(tuned, examples.images, examples.labels)),
    }
    job.record("finetune", name=name, epoch=epoch, **figures)
    return figures


def _calibrated(subnet: Subnet, state: FinetuneState, examples: Examples) -> Subnet:
    return recalibrated(Subnet(subnet.ops, state.evaluated, {}), examples.calibration)
