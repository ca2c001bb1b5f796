"""Question: does a supernet over NAS-Bench-201's cells, trained in minutes, order them as the
published trainings of 200 epochs do?

One cell a stage, 8 channels, 16 pixels, CIFAR-10, by single paths (SPOS) and by strict fairness
(FairNAS), which see as many images in as many subnets. A thousand random cells are evaluated with
the weights that they inherit and statistics of their own; Kendall's tau is taken with their
published test accuracies, and so is that of their numbers of parameters, which nobody has to train.

Commands: jaxnas data experiments/nb201_supernet.py:nb201_spos --seed 0 --out runs/spos_0
          jaxnas train runs/spos_0   (and so nb201_fairnas, and other seeds)
          python experiments/nb201_supernet.py runs/spos_* runs/fairnas_*

The last one reads the tables from the file that NB201_TABLES names; experiments/nb201_tables.py
writes it.
"""

import os
import sys
from dataclasses import replace

import jax
import numpy as np

from jaxnas.cli import told
from jaxnas.config import Config, DataConfig
from jaxnas.data.augment import Augmentation
from jaxnas.experiment import load_config
from jaxnas.hardware.tables import load
from jaxnas.predictors.metrics import kendall
from jaxnas.progress import log
from jaxnas.records.run_directory import RunDirectory
from jaxnas.spaces.nasbench201 import nasbench201
from jaxnas.spaces.space import Space
from jaxnas.stages.evaluation import error_evaluator, in_batches, search_split
from jaxnas.stages.job import open_job
from jaxnas.training.method import TrainConfig

TABLES = os.environ.get("NB201_TABLES", "nb201_tables.npz")
CELLS = 1000
BATCH = 100  # cells of a compiled call
BAR = 0.5  # of the better method's mean tau


def small(size: int, channels: int, classes: int) -> Space:
    """The network of a hundredth of the published multiply-adds."""
    return nasbench201(16, channels, classes, cells=1, width=8)


nb201_fairnas = Config(
    name="nb201_fairnas",
    space=small,
    data=DataConfig(
        source="tfds:cifar10",
        data_dir="~/tensorflow_datasets",
        search_images=5000,
        augmentation=Augmentation(crop=2, flip=True),
    ),
    train=TrainConfig(
        method="fairnas",
        epochs=12,
        batch_size=64,
        learning_rate=0.03,
        warmup_epochs=1,
        label_smoothing=0.0,
    ),
)
nb201_spos = replace(
    nb201_fairnas,
    name="nb201_spos",
    train=replace(
        nb201_fairnas.train, method="spos", epochs=60, random_subnets=1, learning_rate=0.1
    ),
)


def inherited(path: str, genomes: np.ndarray) -> np.ndarray:
    """Accuracy of each cell on the images of a search, with the weights of the run there."""
    job = open_job(RunDirectory(path), load_config(path))
    error, _ = error_evaluator(job, search_split(job))
    return 1 - in_batches(error, genomes, BATCH)


def main(*runs: str) -> int:
    """Prints the tau of every run and the mean of each method; 1 if the better misses the bar."""
    space = nasbench201()
    genomes = np.asarray(space.sample(jax.random.key(0), CELLS))
    published = np.asarray(load(TABLES, "test_acc_cifar10", space, "%")(genomes))
    sizes = np.asarray(space.costs(genomes).params)
    log(f"number of parameters: tau {kendall(published, sizes):.3f}")
    found: dict[str, list[float]] = {}
    for run in runs:
        method = load_config(run).train.method
        accuracy = inherited(run, genomes)
        tau = kendall(published, accuracy)
        found.setdefault(method, []).append(tau)
        log(f"{run}: tau {tau:.3f}, accuracy {accuracy.min():.1%} to {accuracy.max():.1%}")
    for method, taus in found.items():
        log(f"{method}: mean tau {np.mean(taus):.3f} of {len(taus)} seeds")
    better = max(map(np.mean, found.values()))
    log(f"the better one {better:.3f}, bar {BAR}: {'met' if better >= BAR else 'MISSED'}")
    return int(better < BAR)


if __name__ == "__main__":
    sys.exit(told(lambda: main(*sys.argv[1:])))
