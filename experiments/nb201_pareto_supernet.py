"""Question: does training the order of subnets keep their Pareto ranks better than as many more
steps of strict fairness do?

The supernet of nb201_supernet.py goes on after strict fairness, for 4 epochs: by more of it (fair),
or by `pareto_rank` with the latency of a Raspberry Pi 4, as by default (pareto), or with members
that change four times as often and no loss of the order (focused). A thousand random cells are
evaluated with the weights that they inherit; Kendall's tau is taken between their Pareto ranks by
inherited accuracy and latency, and those by published test accuracy and latency. Then the space is
pruned with what is inherited, and the best front left is looked up, beside prunings at random.

Commands: jaxnas data experiments/nb201_pareto_supernet.py:nb201_pareto --seed 0 \\
              --out runs/pareto_0 --weights runs/fairnas_0/supernet.safetensors
          jaxnas train runs/pareto_0   (and so nb201_fair, nb201_focused, and other seeds)
          python experiments/nb201_pareto_supernet.py runs/fair_* runs/pareto_* runs/focused_*

The weights are those that nb201_supernet.py leaves by strict fairness.
All read the tables from the file that NB201_TABLES names; experiments/nb201_tables.py writes it.
"""

import itertools
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float, Int

from jaxnas.algorithms.pareto import rank
from jaxnas.algorithms.pruning import dominated, without_least_used
from jaxnas.cli import told
from jaxnas.experiment import load_config
from jaxnas.hardware.device import Device
from jaxnas.hardware.tables import load
from jaxnas.objectives.expected import Models, expected_figure
from jaxnas.predictors.metrics import kendall
from jaxnas.progress import log
from jaxnas.relaxations.architecture import Cost
from jaxnas.spaces.nasbench201 import nasbench201
from jaxnas.spaces.space import Space
from jaxnas.training.pareto_settings import ParetoConfig

SUPERNET = Path(__file__).with_name("nb201_supernet.py")
TABLES = os.environ.get("NB201_TABLES", "nb201_tables.npz")
LATENCY = "latency_ms_raspi4"
CELLS = 1000
GAIN = 0.03  # of the mean tau, at least
LEFT = 0.98  # of the table's hypervolume, at least, at half of the cells
SHARES = (0.5, 0.05)  # of the cells, that pruning leaves
RANDOM = 50  # prunings at random beside


def latency(space: Space, device: Device, models: Models) -> Cost:
    """Of each cell on a Raspberry Pi 4, in the published network."""
    return expected_figure(space, load(TABLES, LATENCY, space, "ms"))


BEFORE = load_config(f"{SUPERNET}:nb201_fairnas")
nb201_fair = replace(
    BEFORE,
    name="nb201_fair",
    train=replace(BEFORE.train, epochs=4, learning_rate=0.01, warmup_epochs=0.5),
)
nb201_pareto = replace(
    nb201_fair,
    name="nb201_pareto",
    train=replace(
        nb201_fair.train,
        method="pareto_rank",
        pareto=ParetoConfig(cost=latency, fair_first=0.0, weight=0.5, renew_every=20),
    ),
)
nb201_focused = replace(
    nb201_pareto,
    name="nb201_focused",
    train=replace(
        nb201_pareto.train, pareto=replace(nb201_pareto.train.pareto, weight=0.0, renew_every=5)
    ),
)


def ranks(
    error: Float[np.ndarray, "n"], latency_ms: Float[np.ndarray, "n"]
) -> Int[np.ndarray, "n"]:
    """Pareto ranks; an accuracy may stand for an error, with a minus."""
    return np.asarray(rank(np.stack([error, latency_ms], axis=1).astype(np.float32)))


def left(space: Space, masks: Sequence[np.ndarray]) -> Float[np.ndarray, "k"]:
    """Share of the table's hypervolume that the choices of each mask attain at best."""
    every = np.array(list(itertools.product(range(5), repeat=6)), np.int32)
    columns = ("test_acc_cifar10", LATENCY)
    accuracy, slowness = (np.asarray(load(TABLES, name, space)(every)) for name in columns)
    inside = [np.ones(len(every), bool)]
    inside += [mask[np.arange(6), every].all(axis=1) for mask in masks]
    volumes = dominated(np.stack([-accuracy, slowness], axis=1), np.stack(inside))
    return volumes[1:] / volumes[0]


def at_random(share: float, seed: int) -> np.ndarray:
    """A mask of choices, taken away at random until at most this share of the cells is left."""
    random = np.random.default_rng(seed)
    kept = np.ones((6, 5), bool)
    while kept.sum(axis=1).prod() > share * 5**6:
        gene, choice = random.integers(6), random.integers(5)
        kept[gene, choice] = kept[gene, choice] and kept[gene].sum() == 1
    return kept


def main(*runs: str) -> int:
    """Prints every run's tau and what pruning leaves; 1 if a bar is missed."""
    from nb201_supernet import inherited  # beside this file, when it runs by itself

    space = nasbench201()
    genomes = np.asarray(space.sample(jax.random.key(0), CELLS))
    published, latency_ms = (
        np.asarray(load(TABLES, name, space)(genomes)) for name in ("test_acc_cifar10", LATENCY)
    )
    true = ranks(-published, latency_ms)
    found: dict[str, list[float]] = {}
    least = 1.0
    for run in runs:
        accuracy = inherited(run, genomes)
        tau = kendall(true, ranks(-accuracy, latency_ms))
        found.setdefault(load_config(run).name, []).append(tau)
        log(f"{run}: tau of rank {tau:.3f}, of accuracy {kendall(published, accuracy):.3f}")
        fitness = np.stack([-accuracy, latency_ms], axis=1)
        for share in SHARES:
            pruned = without_least_used(space, genomes, fitness, share)
            (attained,) = left(space, [pruned.kept])
            least = min(least, attained) if share == SHARES[0] else least
            log(f"{run}: pruned to {pruned.networks:,} cells, {attained:.2%} of the hypervolume")
    means = {name: float(np.mean(taus)) for name, taus in found.items()}
    for name, taus in found.items():
        log(f"{name}: mean tau of rank {means[name]:.3f} of {len(taus)} seeds")
    for share in SHARES:
        found_left = left(space, [at_random(share, seed) for seed in range(RANDOM)])
        mean, worst = found_left.mean(), found_left.min()
        log(f"at random to {share:.0%} of the cells: {mean:.2%}, at least {worst:.2%}")
    gain = max(means.values()) - means.get(nb201_fair.name, np.nan)
    met = gain >= GAIN and least >= LEFT
    log(f"gain {gain:+.3f}, bar {GAIN:+}; left {least:.2%}: {'met' if met else 'MISSED'}")
    return int(not met)


if __name__ == "__main__":
    sys.exit(told(lambda: main(*sys.argv[1:])))
