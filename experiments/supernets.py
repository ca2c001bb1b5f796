"""Question: what do the supernets that come with jaxnas know?

They are trained on CIFAR-100 or CIFAR-10, for other images to start from: `--weights
tiny_cifar100`, for one.

Commands: jaxnas data experiments/supernets.py:residual_cifar10 --data-dir
          ~/tensorflow_datasets   (or one of the others below)
          jaxnas train runs/residual_cifar10
          python experiments/supernets.py runs/residual_cifar10
Time: minutes for each evaluation; README.md has those of the trainings.

The last one evaluates the supernet on the test images, in float32 and in float16, and writes the
file that is shipped, supernet_float16.safetensors, into the run directory.
"""

import sys
from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxnas.cli import told
from jaxnas.config import Config, DataConfig
from jaxnas.data.augment import Augmentation
from jaxnas.errors import UserError
from jaxnas.experiment import load_config
from jaxnas.records.run_directory import existing_run
from jaxnas.stages.job import Job, open_job
from jaxnas.supernets.supernet import Params
from jaxnas.training.evaluate import accuracies
from jaxnas.training.method import TrainConfig
from jaxnas.weights import trained

RANDOM = 20
FILE = "supernet_float16.safetensors"

tiny_cifar100 = Config(
    name="tiny_cifar100",
    space="tiny",
    data=DataConfig(
        source="tfds:cifar100",
        data_dir="~/tensorflow_datasets",
        search_images=5000,
        augmentation=Augmentation(crop=4, flip=True),
    ),
    train=TrainConfig(
        epochs=6,
        batch_size=64,
        random_subnets=1,
        learning_rate=0.06,
        warmup_epochs=1,
        weight_decay=5e-5,
        label_smoothing=0.0,
    ),
)
# Those of residual that are shipped started from weights of six epochs.
residual_cifar100 = replace(
    tiny_cifar100,
    name="residual_cifar100",
    space="residual",
    train=replace(
        tiny_cifar100.train,
        epochs=22,
        warmup_epochs=2,
        weight_decay=5e-4,
        ema_decay=0.999,
        evaluated_subnets=8,
    ),
)
residual_cifar10 = replace(
    residual_cifar100,
    name="residual_cifar10",
    data=replace(residual_cifar100.data, source="tfds:cifar10"),
    train=replace(residual_cifar100.train, epochs=20),
)
cifar_cifar100 = replace(  # on a GPU; not shipped yet
    tiny_cifar100,
    name="cifar_cifar100",
    space="cifar",
    train=replace(
        tiny_cifar100.train,
        epochs=30,
        batch_size=512,
        random_subnets=2,
        learning_rate=0.25,
        warmup_epochs=2,
    ),
)


def evaluator(job: Job) -> Callable[[Params], Float[np.ndarray, "n"]]:
    """In % of all test images: the smallest network, the largest and `RANDOM` others."""
    space = job.space
    some = np.asarray(space.canonical(space.sample(jax.random.key(0), RANDOM)))
    genomes = jnp.asarray(np.concatenate([[space.smallest, space.largest], some]))
    examples = job.examples(job.data.test, job.resolution(space.smallest))
    evaluate = jax.jit(lambda *given: accuracies(job.net, *given))
    live = jnp.ones(len(genomes), bool)
    return lambda params: 100 * np.asarray(evaluate(params, genomes, live, examples), np.float64)


def main(*runs: str) -> int:
    """A row for each run and precision; writes the file that is shipped."""
    print("| supernet | weights | smallest | largest | random ones (least-most) |", flush=True)
    for path in runs:
        run = existing_run(path)
        job = open_job(run, load_config(path))
        if (count := len(job.space.resolutions)) > 1:
            raise UserError(f"{path}: expected a space of one resolution, got {count}")
        trained_params = job.params()
        half = jax.tree.map(lambda leaf: leaf.astype(jnp.float16), trained_params)
        single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), half)
        evaluate = evaluator(job)
        for name, params in (("float32", trained_params), ("float16", single)):
            smallest, largest, *some = evaluate(params)
            others = f"{np.mean(some):.2f} ({min(some):.1f}-{max(some):.1f})"
            row = f"{job.config.name} | {name} | {smallest:.2f} | {largest:.2f} | {others}"
            print(f"| {row} |", flush=True)
        saved = trained.to_bytes(
            job.net, half, job.data.class_names, job.prepared, dtype=np.float16
        )
        run.write_bytes(FILE, saved)
    return 0


if __name__ == "__main__":
    sys.exit(told(lambda: main(*sys.argv[1:])))
