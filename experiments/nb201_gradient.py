"""Question: which searches by gradient find good cells of NAS-Bench-201, and does jaxnas say so
when one collapses?

DARTS (first and second order), GDAS, FBNet and ProxylessNAS train one small supernet (one cell a
stage, 8 channels, images of 16 pixels) on CIFAR-10, without a cost. The cell that each derives is
looked up in the published table (test accuracy), beside the mean over all cells, which is random's,
and the expected best of five drawn at random; of all cells, and of those without zeros, which are
searched. A collapse counts where it is said before 90 % of the steps and holds then. Mixtures of
all operations are dear on a CPU, so that their searches have fewer steps.

Command: python experiments/nb201_gradient.py 0-4   (seeds; then names, to run some)
Command: python experiments/nb201_gradient.py sweep   (GDAS, 8 weights of the latency on raspi4;
         the least of them may follow, the most is a hundred times that)

Reads the tables from the file that NB201_TABLES names; experiments/nb201_tables.py writes it from
public files. CIFAR-10 is read from ~/tensorflow_datasets.
"""

import os
import re
import sys
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.stats import spearmanr

from jaxnas.cli import told
from jaxnas.config import make_method
from jaxnas.data import tfds
from jaxnas.data.augment import Augmentation
from jaxnas.data.dataset import Dataset
from jaxnas.errors import UserError, choose
from jaxnas.hardware.tables import Table, load
from jaxnas.objectives.expected import expected_figure
from jaxnas.relaxations.architecture import derived, has_collapsed, searched_choices, skipped
from jaxnas.relaxations.settings import RelaxedConfig
from jaxnas.spaces.nasbench201 import nasbench201, to_string
from jaxnas.supernets.build import build
from jaxnas.supernets.supernet import Supernet
from jaxnas.training.loop import total_steps, train
from jaxnas.training.method import TrainConfig
from jaxnas.training.relaxed import Relaxed

TABLES = os.environ.get("NB201_TABLES", "nb201_tables.npz")
SPACE = nasbench201(16, 3, 10, cells=1, width=8)


def settings(epochs: int, lr: float, **relaxed: Any) -> TrainConfig:
    """A search of so many epochs, whose weights learn at this rate."""
    own = RelaxedConfig(**relaxed)
    return TrainConfig("relaxed", epochs, learning_rate=lr, warmup_epochs=0.2, relaxed=own)


# Without the published weight decay, which in so few steps is stronger than what is learnt.
MIXTURE = partial(settings, 1, 0.1, weights_first=0.3, learning_rate=0.01)
SEARCHES = {
    "darts": MIXTURE(relaxation="softmax:weight_decay=0"),
    "darts2": MIXTURE(relaxation="softmax:weight_decay=0", order=2),
    "gdas": settings(
        24,
        0.1,
        relaxation="sampled:first=1:weight_decay=0",
        weights_first=0.7,
        learning_rate=0.01,
    ),
    "fbnet": MIXTURE(relaxation="gumbel:first=1:weight_decay=0"),
    "proxyless": MIXTURE(relaxation="binary_paths"),
}
LEAST_WEIGHT = 1e-5  # of a ms
CHECKS = 40  # of a collapse in a training


class Found(NamedTuple):
    """A cell derived.

    `warned` is the step at which a collapse was said; None if none holds at 90 % of the steps.
    """

    genome: np.ndarray
    entropy: float
    warned: int | None


def searched(net: Supernet, data: Dataset, method: Relaxed, seed: int) -> list[Found]:
    """The cell of each architecture."""
    total = total_steps(method.settings, data)
    warned: dict[int, int] = {}
    learnt = []
    for step, state, losses in train(
        net, data, method, method.settings, Augmentation(2, True), jax.random.key(seed)
    ):
        if step % (total // CHECKS) and step < total:
            continue
        if not np.isfinite(losses.random):
            raise UserError(f"the training diverged at step {step}: lower the learning rate")
        learnt = method.learnt(net.space, state.extra)
        for i, one in enumerate(learnt):
            if total / 2 <= step <= 0.9 * total:
                if has_collapsed(net.space, derived(net.space, one)[0]):
                    warned.setdefault(i, step)
                else:
                    warned.pop(i, None)
    return [
        Found(
            derived(net.space, one)[0],
            float(one.entropies().mean()),
            warned.get(i),
        )
        for i, one in enumerate(learnt)
    ]


def told_of(found: Found) -> str:
    """Its skips, and whether a collapse was said."""
    said = "no collapse" if found.warned is None else f"collapse said at {found.warned}"
    return f"{skipped(SPACE, found.genome)[0]} skips, {said}"


def expected_best(figures: np.ndarray, draws: int) -> float:
    """The mean of the best of so many draws with replacement.

    >>> expected_best(np.array([1.0, 3.0]), 2)
    2.5
    """
    at_most = (np.arange(len(figures) + 1) / len(figures)) ** draws
    return float(np.sort(figures) @ np.diff(at_most))


def compare(data: Dataset, table: Table, seeds: range, names: list[str]) -> None:
    """A line for each search and seed, and the means."""
    every = np.asarray(table.values)
    without = every[np.ix_(*map(np.flatnonzero, searched_choices(SPACE, zeros=False)))]
    for name, figures in {"all cells": every.ravel(), "without zeros": without.ravel()}.items():
        print(
            f"random, {name}: mean {figures.mean():.2f} %, expected best of five "
            f"{expected_best(figures, 5):.2f} %, best of all {figures.max():.2f} %"
        )
    net = build(SPACE)
    for name in names or SEARCHES:
        accuracies = []
        for seed in seeds:
            start = perf_counter()
            method = make_method(choose("search", name, SEARCHES))
            assert isinstance(method, Relaxed)
            (found,) = searched(net, data, method, seed)
            accuracies.append(float(table(found.genome)))
            print(
                f"{name:9} seed {seed}: {accuracies[-1]:.2f} %, {told_of(found)}, entropy "
                f"{found.entropy:.2f}, {perf_counter() - start:.0f} s  {to_string(found.genome)}",
                flush=True,
            )
        print(f"{name:9} mean {np.mean(accuracies):.2f} %, worst {min(accuracies):.2f} %")


def sweep(data: Dataset, accuracy: Table, latency: Table, least: float = LEAST_WEIGHT) -> None:
    """Derived cells of all weights, from one training, and their rank correlation."""
    weights = tuple(least * 100 ** (i / 7) for i in range(8))
    # Architectures take turns: an eighth of the steps each, which are more and larger ones.
    own = replace(
        SEARCHES["gdas"].relaxed,
        cost="latency_ms",
        cost_weights=weights,
        weights_first=0.5,
        learning_rate=0.05,
    )
    method = make_method(replace(SEARCHES["gdas"], relaxed=own))
    assert isinstance(method, Relaxed)
    priced = replace(method, cost=lambda space: expected_figure(space, latency))
    found = searched(build(SPACE), data, priced, 0)
    times_ms = [float(latency(one.genome)) for one in found]
    for weight, one, ms in zip(weights, found, times_ms, strict=True):
        print(
            f"weight {weight:.6f}: {ms:6.2f} ms, {float(accuracy(one.genome)):.2f} %, "
            f"{told_of(one)}  {to_string(one.genome)}"
        )
    print(f"Spearman of weight and latency: {spearmanr(weights, times_ms)[0]:.2f}")


def main(what: str = "0-4", *names: str) -> None:
    """`what` is the first and the last seed, before names of searches; or `sweep`."""
    accuracy = load(TABLES, "test_acc_cifar10", SPACE, "%")
    data = tfds.load(
        "cifar10",
        data_dir="~/tensorflow_datasets",
        search_images=1000,
        calibration_images=256,
        seed=0,
    )
    if what == "sweep":
        latency = load(TABLES, "latency_ms_raspi4", SPACE, "ms")
        return sweep(data, accuracy, latency, *map(float, names))
    seeds = re.fullmatch(r"(\d+)-(\d+)", what)
    if seeds is None:
        raise UserError(f"the first argument must be seeds as in 0-4, or sweep, got {what!r}")
    first, last = map(int, seeds.groups())
    return compare(data, accuracy, range(first, last + 1), list(names))


if __name__ == "__main__":
    sys.exit(told(lambda: main(*sys.argv[1:]) or 0))
