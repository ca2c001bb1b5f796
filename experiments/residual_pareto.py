"""Question: on an elastic space, does a supernet trained to keep Pareto ranks leave a better front
than one trained by the sandwich rule for the same time?

Space `residual`, CIFAR-10, the modelled chip raptor_small. Both start from the supernet of
CIFAR-100 that comes with jaxnas. `sandwich` trains the largest, the smallest and a random subnet a
step; `pareto` begins with strict fairness, and then trains subnets whose order by accuracy and
latency is ranked, as by default. NSGA-II searches each; eight networks of each front are fine-tuned
for one epoch.

Commands: jaxnas run experiments/residual_pareto.py:sandwich --out runs/sandwich
          jaxnas run experiments/residual_pareto.py:pareto --out runs/pareto
          python experiments/residual_pareto.py runs/sandwich runs/pareto
Time: 11 and 13 minutes of processor time to train, on one core; half an hour a run.
Result: no, the sandwich rule does: hypervolume 0.699 against 0.642 after fine-tuning, one seed.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxnas.algorithms.indicators import hypervolume
from jaxnas.cli import told
from jaxnas.config import Config, DataConfig, ProfileConfig, SearchConfig
from jaxnas.data.augment import Augmentation
from jaxnas.records.candidates import CANDIDATES, read_searched
from jaxnas.records.run_directory import RunDirectory
from jaxnas.records.verified import read_verified
from jaxnas.training.finetune import FinetuneConfig
from jaxnas.training.method import TrainConfig
from jaxnas.training.pareto_settings import ParetoConfig

sandwich = Config(
    name="sandwich",
    space="residual",
    weights="residual_cifar100",
    data=DataConfig(
        source="tfds:cifar10",
        data_dir="~/tensorflow_datasets",
        search_images=5000,
        augmentation=Augmentation(crop=4, flip=True),
    ),
    train=TrainConfig(
        epochs=3,
        batch_size=64,
        random_subnets=1,
        learning_rate=0.06,
        warmup_epochs=0.2,
        weight_decay=5e-5,
        label_smoothing=0.0,
    ),
    profile=ProfileConfig(device="raptor_small"),
    search=SearchConfig(population=28, generations=20, images=1000),
    finetune=FinetuneConfig(
        epochs=1, learning_rate=0.02, weight_decay=5e-5, label_smoothing=0.0, networks=8
    ),
)
pareto = replace(
    sandwich,
    name="pareto",
    train=replace(
        sandwich.train,
        method="pareto_rank",
        random_subnets=TrainConfig.random_subnets,  # not read
        pareto=ParetoConfig(cost="latency_ms", fair_first=0.6),
    ),
)


def searched_front(run: RunDirectory) -> Float[np.ndarray, "n 2"]:
    """Errors by inherited weights, on images of the search, and latency of all candidates."""
    searched = read_searched(run, CANDIDATES)
    return np.stack([searched["error"], searched["latency_ms"]], axis=-1)


def tested_front(run: RunDirectory) -> Float[np.ndarray, "n 2"]:
    """Test errors after fine-tuning, and latency, of the chosen networks."""
    networks = read_verified(run).values()
    return np.asarray([(1 - one.test_accuracy, one.measured_ms) for one in networks])


def compare(paths: Sequence[str]) -> int:
    """The share of a box that each run's networks dominate, which all runs' networks span."""
    runs = {path: RunDirectory(path) for path in paths}
    for name, front in {"as searched": searched_front, "fine-tuned": tested_front}.items():
        fronts = {path: front(run) for path, run in runs.items()}
        every = np.concatenate(list(fronts.values()))
        low, high = every.min(axis=0), every.max(axis=0)
        for path, fitness in fronts.items():
            scaled = jnp.asarray((fitness - low) / (high - low), jnp.float32)
            share = float(hypervolume(scaled, jnp.ones(2)))
            print(f"{name}, {path}: {share:.4f}; least error {fitness[:, 0].min():.2%}")
    return 0


if __name__ == "__main__":
    sys.exit(told(lambda: compare(sys.argv[1:])))
