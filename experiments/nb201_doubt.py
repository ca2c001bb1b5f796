"""Question: does a search that asks the device where its predictor is in doubt need fewer
measurements than one that samples first?

NAS-Bench-201, whose true latencies are known: error (CIFAR-10, test, %) against latency on two
devices, 10 seeds. With doubt: 45 uniform look-ups, then the doubtful candidates of each search, 15
at a time, 150 look-ups at most. Against it: the same predictor (25 perceptrons, `Ensemble`) fitted
to 1,000 uniform look-ups, and the same search (NSGA-II, 40 generations of 50 under the predicted
latency). Both answer with the front of their candidates, as measured where measured; what counts is
the hypervolume of its cells, and of the cells measured on the way, at their true latency, scaled by
the table's range and measured from its worst corner.

Command: python experiments/nb201_doubt.py   (hypervolumes, and the coverage of the
         predictor's intervals)

Reads the tables from the file that NB201_TABLES names.
"""

import os
import sys
from functools import partial
from time import perf_counter
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.algorithms.compiled import search_many
from jaxnas.algorithms.indicators import hypervolume
from jaxnas.algorithms.nsga2 import NSGA2
from jaxnas.cli import told
from jaxnas.hardware.tables import Table, load
from jaxnas.predictors.ensemble import Ensemble
from jaxnas.predictors.metrics import coverage
from jaxnas.predictors.mlp import MLP
from jaxnas.profiling.active_profile import uniform_sample
from jaxnas.profiling.active_search import Found, active_search
from jaxnas.spaces.encodings import cell_operations
from jaxnas.spaces.nasbench201 import SHAPE, nasbench201
from jaxnas.types import Fitness, Genomes

DEVICES = ("raspi4", "eyeriss")
SEEDS = 10
BUDGET = 150
START = 45
BATCH = 15
UNIFORM = 1000
GENERATIONS = 40
ALGORITHM = NSGA2(50)
BAR = 0.99
COVERAGE = (0.88, 0.92)
SPLITS = 20
PREDICTOR = Ensemble(MLP(cell_operations))
TABLES = os.environ.get("NB201_TABLES", "nb201_tables.npz")
EVERY = np.indices(SHAPE).reshape(len(SHAPE), -1).T.astype(np.int32)
COVERED = jax.jit(partial(hypervolume, reference=jnp.ones(2)))
SPACE = nasbench201()


class Board(NamedTuple):
    """True figures of every cell."""

    accuracy: Table
    latency: Table

    def error(self, genomes) -> np.ndarray:
        return 100 - np.asarray(self.accuracy(genomes))

    def measure(self, genomes) -> np.ndarray:
        return np.asarray(self.latency(genomes))


def fitness(genomes: Genomes, known) -> Fitness:
    """Error in %, and predicted latency in ms."""
    model, accuracy = known
    return jnp.stack([100 - accuracy(genomes), model(genomes)], axis=1)


def answer(board: Board, key, start: int, budget: int) -> Found:
    """A search with doubt from uniform look-ups.

    With no budget beyond them it is the ordinary search.
    """
    start_key, doubt_key = jax.random.split(key)
    first = uniform_sample(start_key, SPACE, start, EVERY[:0])

    def search(key, model):
        return search_many(
            ALGORITHM, SPACE, key[None], fitness, GENERATIONS, (model, board.accuracy)
        ).genomes[0]

    return active_search(
        doubt_key, SPACE, PREDICTOR, first, search, board.error, board.measure, budget, BATCH
    )


def score(board: Board, found: Found) -> float:
    """Hypervolume of the answer and of all that was measured, at true latency."""
    everything = np.stack([board.error(EVERY), board.measure(EVERY)], axis=1)
    low = everything.min(axis=0)
    high = everything.max(axis=0)
    shown = found.genomes[found.front() | found.measured]
    # Of one size, one program.
    points = np.ones((BUDGET + UNIFORM + GENERATIONS * ALGORITHM.population, 2), np.float32)
    points[: len(shown)] = (np.stack([board.error(shown), board.measure(shown)], axis=1) - low) / (
        high - low
    )
    return float(COVERED(jnp.asarray(points)))


def covered(board: Board, n: int, fresh: int = 1000) -> np.ndarray:
    """Share of fresh measurements inside their 90 % intervals, over random splits."""
    shares = []
    for key in jax.random.split(jax.random.key(1), SPLITS):
        draw_key, fit_key = jax.random.split(key)
        genomes = uniform_sample(draw_key, SPACE, n + fresh, EVERY[:0])
        model = PREDICTOR.fit(fit_key, SPACE, genomes[:n], board.measure(genomes[:n]))
        prediction = model.predict(genomes[n:])
        shares.append(
            coverage(
                board.measure(genomes[n:]),
                np.asarray(prediction.low_ms),
                np.asarray(prediction.high_ms),
            )
        )
    return np.array(shares)


def main(path: str = TABLES) -> int:
    """Prints two lines a device; the number of bars missed."""
    missed = 0
    accuracy = load(path, "test_acc_cifar10", SPACE, "%")
    for device in DEVICES:
        begin = perf_counter()
        board = Board(accuracy, load(path, f"latency_ms_{device}", SPACE, "ms"))
        ratios = []
        looked = []
        for key in jax.random.split(jax.random.key(0), SEEDS):
            doubt_key, uniform_key = jax.random.split(key)
            found = answer(board, doubt_key, START, BUDGET)
            ratios.append(
                score(board, found) / score(board, answer(board, uniform_key, UNIFORM, UNIFORM))
            )
            looked.append(int(found.measured.sum()))
        low = min(ratios)
        mean = float(np.mean(ratios))
        missed += mean < BAR
        print(
            f"{device:8} hypervolume, ratio to 1,000 uniform look-ups: mean {mean:.4f}, least "
            f"{low:.4f} of {SEEDS} seeds, {min(looked)}-{max(looked)} look-ups: "
            f"{'met' if mean >= BAR else 'MISSED'}; {perf_counter() - begin:.0f} s"
        )
        shares = covered(board, BUDGET)
        inside = COVERAGE[0] <= shares.mean() <= COVERAGE[1]
        missed += not inside
        print(
            f"{device:8} 90 % intervals from {BUDGET} look-ups cover {shares.mean():.1%} "
            f"({shares.min():.1%}-{shares.max():.1%}): {'met' if inside else 'MISSED'}"
        )
    return int(missed)


if __name__ == "__main__":
    sys.exit(told(lambda: main(*sys.argv[1:])))
