"""Networks of every origin under one recipe.

Fresh weights, the same images and epochs, statistics recalibrated, the test images once.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from jaxnas.baselines.catalogue import init
from jaxnas.data.augment import Augmentation
from jaxnas.data.batches import steps_of_epoch
from jaxnas.errors import UserError
from jaxnas.networks.op import Op
from jaxnas.networks.subnet import Subnet
from jaxnas.progress import progress
from jaxnas.records.cache import digest
from jaxnas.stages.job import Job
from jaxnas.stages.teacher import teacher_of
from jaxnas.training.evaluate import accuracy
from jaxnas.training.finetune import FinetuneConfig, finetune
from jaxnas.training.recalibrate import recalibrated
from jaxnas.training.streaming import TrainingImages
from jaxnas.training.weight_noise import WeightNoise
from jaxnas.types import PRNGKey

# Settings that are younger than the first rows of contests, and how these were trained.
YOUNGER = {
    "warmup_epochs": 0.0,
    "ema_decay": 0.0,
    "transforms": (),
    "teacher": None,
    "distillation": 0.5,
    "noise": WeightNoise(),
}


class Contestant(NamedTuple):
    """A network to be trained, and the size of the images that it sees."""

    name: str
    ops: tuple[Op, ...]
    resolution: int


def from_scratch(
    key: PRNGKey,
    ops: tuple[Op, ...],
    images: TrainingImages,
    calibration: Float[Array, "m r r c"],
    settings: FinetuneConfig,
    augmentation: Augmentation,
    stepped: Callable[[Float[Array, ""]], None] = lambda loss: None,
    teacher: Subnet | None = None,
) -> Subnet:
    """The network trained as `settings` say.

    `calibration`, images as it sees them, gives its resolution and its statistics.

    Raises:
        UserError: the loss became infinite or NaN.
    """
    weights_key, training_key = jax.random.split(key)
    subnet = init(weights_key, ops)
    for epoch, state, loss in finetune(
        subnet,
        images,
        calibration.shape[1],
        settings,
        augmentation,
        training_key,
        stepped=stepped,
        teacher=teacher,
    ):
        if not np.isfinite(loss):
            raise UserError(
                f"training diverged in epoch {epoch}: lower the learning rate, "
                f"{settings.learning_rate:g}"
            )
        subnet = Subnet(ops, state.evaluated, {})
    return recalibrated(subnet, calibration)


def _told(settings: Any) -> str:
    """Its repr, without what younger versions of jaxnas add and these settings leave out.

    So that a row from before counts as long as its training is the same.
    """
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    kept = [
        f"{name}={value!r}"
        for name, value in values.items()
        if name not in YOUNGER or value != YOUNGER[name]
    ]
    return f"{type(settings).__name__}({', '.join(kept)})"


def contest(
    job: Job, contestants: Sequence[Contestant], seeds: int, file: str
) -> dict[str, Float[np.ndarray, "seeds"]]:
    """Accuracies on the run's test images, trained by its `finetune` settings.

    {name: one for each seed}.

    Each goes into the run's `file`, a CSV; what is there is not trained again.
    """
    rows = job.run.read_csv(file) if job.run.exists(file) else []
    known = {
        (row["network"], row["digest"], int(row["seed"])): float(row["accuracy"]) for row in rows
    }
    images = job.training_images()
    settings = job.config.finetune
    params = jax.device_get(job.params()) if settings.teacher else {}
    augmentation = job.augmentation
    recipe = [_told(settings), _told(augmentation), images.total]
    recipe += [job.config.train.class_weights] if job.config.train.class_weights else []
    keys = [(one.name, digest([repr(one.ops), *recipe, one.resolution])) for one in contestants]
    todo = [
        (seed, one, key)
        for seed in range(seeds)
        for one, key in zip(contestants, keys, strict=True)
        if (*key, seed) not in known
    ]
    steps = settings.epochs * steps_of_epoch(images.total, settings.batch_size)
    all_of_them = seeds * len(keys)
    with progress("train", steps * all_of_them, steps * (all_of_them - len(todo))) as advance:
        for seed, (name, ops, resolution), key in todo:
            test = job.examples(job.data.test, resolution)
            random = jax.random.fold_in(job.key("finetune"), seed)
            calibration = job.calibration(resolution, settings.epochs)
            subnet = from_scratch(
                random,
                ops,
                images,
                calibration,
                settings,
                augmentation,
                lambda loss: advance(loss=loss),
                teacher_of(job, params, resolution),
            )
            found = known[*key, seed] = float(accuracy(subnet, test.images, test.labels))
            job.run.append_csv(
                file, {"network": name, "digest": key[1], "seed": seed, "accuracy": found}
            )
            advance(0, latest=f"{name}: {found:.1%}")
    return {key[0]: np.array([known[*key, seed] for seed in range(seeds)]) for key in keys}
