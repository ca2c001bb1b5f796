"""Question: on NAS-Bench-201, whose true fronts are known, how much closer than chance does NSGA-II
get in 500 evaluations?

Error (CIFAR-10, test, %) against latency (ms) on three devices, looked up in the published tables;
20 seeds. Regret is the share of the true front's hypervolume that a search leaves uncovered, both
objectives scaled by their range over the whole table and measured from its worst corner, (1, 1).
Recall is the share of the true front's cells that it evaluated; figures are compared in float32, in
which those that differ by rounding alone are equal (fronts of 43, 19 and 43 cells). Both algorithms
evaluate 20 generations of 25, NSGA-II with its default operators; all 20 seeds of a search are one
compiled program, the same for every device.

Command: jaxnas compare experiments/nb201_search.py --algorithms
         nsga2,moead,evolution,local --seeds 20   (raspi4)
Command: python experiments/nb201_search.py   (regret and recall on the three devices)

Both read the tables from the file that NB201_TABLES names; experiments/nb201_tables.py writes it
from public files.
Time: 20 seconds of processor time, nearly all of it compiling.
Result: a third to a twelfth of random search's regret. Means over the seeds, 10 % to 90 % quantile
of the regrets:

    device         regret: NSGA-II           random search             ratio   recall: NSGA-II   random search
    raspi4         0.0019 (0.0010-0.0025)    0.0058 (0.0041-0.0082)    0.32    17.6 %            3.0 %
    eyeriss        0.0012 (0.0006-0.0017)    0.0093 (0.0033-0.0292)    0.13    26.3 %            3.4 %
    titan_rtx_256  0.0025 (0.0009-0.0084)    0.0299 (0.0206-0.0396)    0.08    28.6 %            3.0 %
"""  # noqa: E501

import os
import sys
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.algorithms import pareto
from jaxnas.algorithms.algorithm import Algorithm
from jaxnas.algorithms.compiled import search_many
from jaxnas.algorithms.indicators import hypervolume
from jaxnas.algorithms.nsga2 import NSGA2
from jaxnas.algorithms.random_search import RandomSearch
from jaxnas.cli import told
from jaxnas.config import Config, SearchConfig
from jaxnas.hardware.tables import Table, load
from jaxnas.records.cache import digest
from jaxnas.spaces.nasbench201 import SHAPE, index, nasbench201
from jaxnas.studies.compare import Problem
from jaxnas.types import Fitness, Genomes

DEVICES = ("raspi4", "eyeriss", "titan_rtx_256")
POPULATION = 25
GENERATIONS = 20
SEEDS = 20
ALGORITHMS = {"NSGA-II": NSGA2(POPULATION), "random search": RandomSearch(POPULATION)}
COVERED = jax.jit(partial(hypervolume, reference=jnp.ones(2)))
TABLES = os.environ.get("NB201_TABLES", "nb201_tables.npz")
BAR = 0.5  # NSGA-II's mean regret, in random search's

config = Config("nb201_search", search=SearchConfig(population=POPULATION, generations=GENERATIONS))


class Board(NamedTuple):
    """Both figures of every cell."""

    accuracy: Table
    latency: Table


class Score(NamedTuple):
    """Of one algorithm on one device, per seed."""

    regret: np.ndarray
    recall: np.ndarray


def board(path: str, device: str) -> Board:
    """The published figures of a device."""
    accuracy = load(path, "test_acc_cifar10", nasbench201(), "%")
    latency = load(path, f"latency_ms_{device}", nasbench201(), "ms")
    # Of one name, all devices share a compiled program.
    return Board(accuracy, replace(latency, name="latency_ms"))


def fitness(genomes: Genomes, board: Board) -> Fitness:
    """Error in % and latency in ms."""
    return jnp.stack([100 - board.accuracy(genomes), board.latency(genomes)], axis=-1)


def all_fitness(board: Board) -> Fitness:
    """Of every cell, in the order of `index`."""
    every = jnp.asarray(np.indices(SHAPE).reshape(len(SHAPE), -1).T, jnp.int32)
    return fitness(every, board)


def score(
    algorithm: Algorithm, board: Board, seeds: int = SEEDS, generations: int = GENERATIONS
) -> Score:
    """All seeds of one algorithm, against the front of all cells.

    Rows of `everything` are in the order of `index`.
    """
    everything = all_fitness(board)
    front = np.flatnonzero(jax.jit(pareto.front)(everything))
    low = everything.min(axis=0)
    high = everything.max(axis=0)
    keys = jax.random.split(jax.random.key(0), seeds)
    found = search_many(algorithm, nasbench201(), keys, fitness, generations, board)
    regret = 1 - jax.vmap(COVERED)((found.fitness - low) / (high - low)) / COVERED(
        (everything - low) / (high - low)
    )
    recall = [np.isin(front, index(genomes)).mean() for genomes in found.genomes]
    return Score(np.asarray(regret), np.array(recall))


def problem() -> Problem:
    """What `jaxnas compare` searches: the first device, with its true front.

    The reference point is the worst of the table.
    """
    here = board(TABLES, DEVICES[0])
    everything = all_fitness(here)
    return Problem(
        space=nasbench201(),
        objectives=("error", "latency"),
        fitness=fitness,
        digest=digest([here.accuracy.values, here.latency.values]),
        data=here,
        traced=True,
        units=("%", "ms"),
        reference=tuple(everything.max(axis=0).tolist()),
        front=np.asarray(everything)[np.asarray(jax.jit(pareto.front)(everything))],
    )


def main(path: str = TABLES) -> int:
    """Prints a line per device and algorithm; 1 if a ratio misses the bar."""
    missed = 0
    for device in DEVICES:
        start = perf_counter()
        here = board(path, device)
        scores = {name: score(algorithm, here) for name, algorithm in ALGORITHMS.items()}
        for name, (regret, recall) in scores.items():
            print(
                f"{device:14} {name:14} regret {regret.mean():.5f} "
                f"({np.quantile(regret, 0.1):.5f}-{np.quantile(regret, 0.9):.5f}), recall "
                f"{recall.mean():.1%} ({recall.min():.1%}-{recall.max():.1%})"
            )
        ratio = scores["NSGA-II"].regret.mean() / scores["random search"].regret.mean()
        missed += ratio >= BAR
        print(
            f"{device:14} ratio of regrets {ratio:.3f}, below {BAR}: "
            f"{'met' if ratio < BAR else 'MISSED'}; {perf_counter() - start:.1f} s"
        )
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(told(lambda: main(*sys.argv[1:])))
