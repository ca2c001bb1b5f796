"""Question: how well do networks over encodings of a genome rank NAS-Bench-201's cells, and does a
score learnt from Pareto ranks rank them better than two regressors do?

(a) Error (CIFAR-10, test) and latency on three devices, heads of one network, by each encoder of
HW-PR-NAS (Benmeziane et al., TACO 2023). (b) The Pareto rank of error and latency: `ParetoRank`
against two regressors, a network each, whose predictions are ranked; the same encoder (the cells'
operations, the live ones again, and AF), cells and number of steps. (c) The same by the batch of
the ranking step. Networks see one cell of the network, for all are alike. Figures are Kendall's tau
on 3,000 held-out cells; ranks are those among these cells. The seeds of a method, each with cells
and fresh weights of its own, are trained side by side.

Command: python experiments/nb201_surrogates.py objectives   (a; a number of seeds
         and names of encoders may follow)
Command: python experiments/nb201_surrogates.py rank         (b)
Command: python experiments/nb201_surrogates.py batch        (c)

Reads the tables from the file that NB201_TABLES names.
Time: rank 60 s of processor time, a row of objectives 5 to 70 s.
Result: both bars of the rank are met on both devices, and above two regressors in 5 of 5 seeds:
0.749 (0.734-0.760) against 0.730 on raspi4, 0.875 (0.872-0.880) against 0.769 on eyeriss. Error and
latency are ranked with a tau of 0.903 and 0.882 (raspi4) by all encoders together, learnt from
4,000 cells, and of 0.880 and 0.871 by LSTM + GCN + AF from 1,000 (bars: 0.87, 0.85); smaller
batches rank worse. README.md has the tables.
"""

import os
import sys
from dataclasses import replace
from itertools import product
from time import process_time

import jax
import numpy as np
from jaxtyping import Bool, Float

from jaxnas.algorithms import pareto
from jaxnas.cli import told
from jaxnas.errors import UserError
from jaxnas.hardware.tables import load
from jaxnas.predictors.encoders import Flat, Joined
from jaxnas.predictors.graph_convolution import GraphConvolution
from jaxnas.predictors.lstm import LSTM
from jaxnas.predictors.metrics import kendall
from jaxnas.predictors.network import Network
from jaxnas.predictors.pareto_rank import ParetoRank
from jaxnas.spaces.encodings import cell_operations
from jaxnas.spaces.hand_features import hand_features
from jaxnas.spaces.nasbench201 import SHAPE, cell_space, nasbench201
from jaxnas.spaces.nasbench201_network import NasBench201

SEEDS = 5
TRAIN = (1000, 4000)
HELD_OUT = 3000
DEVICES = ("raspi4", "eyeriss", "fpga")
RANKED = {"raspi4": 0.74, "eyeriss": 0.82}  # devices and bars of (b)
BATCHES = (8, 18, 24, 64, 128)
TABLES = os.environ.get("NB201_TABLES", "nb201_tables.npz")
EVERY = np.indices(SHAPE).reshape(len(SHAPE), -1).T.astype(np.int32)
CELL = cell_space("cell", NasBench201(stages=1, cells=1))
AF, GCN, MEMORY = Flat(hand_features), GraphConvolution(), LSTM()
OPERATIONS = "operations + AF"
ALL = "LSTM + GCN + AF"
# Published taus of accuracy and latency (HW-PR-NAS's figure `correlations`).
ENCODERS = {
    OPERATIONS: (Joined((Flat(cell_operations), AF)),),
    "AF": (AF, 0.61, 0.54),
    "LSTM": (MEMORY, 0.64, 0.74),
    "LSTM + AF": (Joined((MEMORY, AF)), 0.71, 0.91),
    "GCN": (GCN, 0.87, 0.73),
    "GCN + AF": (Joined((GCN, AF)), 0.96, 0.81),
    ALL: (Joined((MEMORY, GCN, AF)), 0.98, 0.97),
    f"{ALL} + operations": (Joined((MEMORY, GCN, AF, Flat(cell_operations))),),
}
NETWORK = Network(ENCODERS[ALL][0], steps=1500, batch=64)
PERCEPTRON = Network(ENCODERS[OPERATIONS][0], steps=1500, learning_rate=2e-3, weight_decay=0.05)
SURROGATE = ParetoRank(PERCEPTRON, steps=1500)
# As long as both steps of the other; its weight decay ranks objectives better on one seed.
REGRESSOR = Network(ENCODERS[OPERATIONS][0], steps=3000, learning_rate=2e-3, weight_decay=0.5)


def figures() -> dict[str, np.ndarray]:
    """Error in % and latencies in ms of every cell, by name, (15,625,) each."""
    accuracy = load(TABLES, "test_acc_cifar10", nasbench201(), "%")
    found = {"error": 100 - np.asarray(accuracy(EVERY), np.float64)}
    for device in DEVICES:
        latency = load(TABLES, f"latency_ms_{device}", nasbench201(), "ms")
        found[device] = np.asarray(latency(EVERY), np.float64)
    return found


def splits(train: int, seeds: int) -> tuple[Bool[np.ndarray, "k n"], Bool[np.ndarray, "k n"]]:
    """Cells to learn from and held-out ones, a row for each seed."""
    orders = [np.random.default_rng(seed).permutation(len(EVERY)) for seed in range(seeds)]
    place = np.argsort(orders, axis=1)
    return place < train, place >= len(EVERY) - HELD_OUT


def told_of(taus: Float[np.ndarray, "k"]) -> str:
    """Their mean, least and most."""
    return f"{taus.mean():.3f} ({taus.min():.3f}-{taus.max():.3f})"


def taus(
    truth: Float[np.ndarray, "n"], predicted: Float[np.ndarray, "k n"], held_out: np.ndarray
) -> Float[np.ndarray, "k"]:
    """Of each seed on its held-out cells."""
    rows = zip(predicted, held_out, strict=True)
    return np.array([kendall(truth[row], one[row]) for one, row in rows])


def rank_taus(
    fitness: Float[np.ndarray, "n objectives"], predicted: np.ndarray, held_out: np.ndarray
) -> Float[np.ndarray, "k"]:
    """The same of the Pareto ranks among the held-out cells.

    `predicted` has scores, (k, n), or objectives to be ranked, (k, n, objectives).
    """
    found = []
    for one, row in zip(predicted, held_out, strict=True):
        scores = one[row] if one.ndim == 1 else _ranks(one[row])
        found.append(kendall(_ranks(fitness[row]), scores))
    return np.array(found)


def _ranks(fitness: Float[np.ndarray, "n objectives"]) -> Float[np.ndarray, "n"]:
    return np.asarray(pareto.rank(fitness), np.float64)


def objectives(seeds: int, *encoders: str) -> int:
    """A row for each number of cells and encoder, or for each of those named."""
    truth = figures()
    columns = np.stack(list(truth.values()), axis=1)
    print(f"| cells | encoder | {' | '.join(truth)} | published accuracy, latency | CPU s |")
    for train, name in product(sorted(TRAIN, reverse=True), encoders or ENCODERS):
        start = process_time()
        encoder, *published = ENCODERS[name]
        used, held_out = splits(train, seeds)
        kind = REGRESSOR if name == OPERATIONS else NETWORK
        network = replace(kind, encoder=encoder)
        model = network.fitted(jax.random.key(0), CELL, EVERY, columns, used)
        found = np.moveaxis(np.asarray(model.outputs(EVERY)), -1, 0)
        row = [told_of(taus(*pair, held_out)) for pair in zip(truth.values(), found, strict=True)]
        seconds = process_time() - start
        beside = ", ".join(map(str, published)) or "-"
        print(f"| {train} | {name} | {' | '.join(row)} | {beside} | {seconds:.0f} |", flush=True)
    return 0


def rank(seeds: int) -> int:
    """A row for each device; 1 if a bar is missed."""
    truth = figures()
    used, held_out = splits(max(TRAIN), seeds)
    missed = 0
    print(
        "| device | Pareto rank | its objectives, ranked | two regressors | above these | CPU s |"
    )
    for device, bar in RANKED.items():
        start = process_time()
        fitness = np.stack([truth["error"], truth[device]], axis=1)
        model = SURROGATE.fit(jax.random.key(0), CELL, EVERY, fitness, used)
        found = rank_taus(fitness, np.asarray(model.predict(EVERY)), held_out)
        own = rank_taus(fitness, np.asarray(model.objectives(EVERY)), held_out)
        two = rank_taus(fitness, regressors(fitness, used), held_out)
        above = int((found > two).sum())
        missed += bool(found.mean() < bar or above < seeds)
        row = " | ".join(map(told_of, (found, own, two)))
        seconds = process_time() - start
        print(f"| {device} | {row} | {above} of {seeds} | {seconds:.0f} |", flush=True)
    return int(missed > 0)


def regressors(fitness: np.ndarray, used: np.ndarray) -> Float[np.ndarray, "k n objectives"]:
    """A network for each objective."""
    keys = jax.random.split(jax.random.key(1))
    found = [
        REGRESSOR.fit(key, CELL, EVERY, column, used).predict(EVERY)
        for key, column in zip(keys, fitness.T, strict=True)
    ]
    return np.stack([np.asarray(one) for one in found], axis=-1)


def batch(seeds: int) -> int:
    """A row for each batch of the ranking step, on raspi4."""
    truth = figures()
    used, held_out = splits(max(TRAIN), seeds)
    fitness = np.stack([truth["error"], truth["raspi4"]], axis=1)
    print("| batch | tau of the Pareto rank |")
    for size in BATCHES:
        surrogate = replace(SURROGATE, batch=size)
        scores = surrogate.fit(jax.random.key(0), CELL, EVERY, fitness, used).predict(EVERY)
        print(
            f"| {size} | {told_of(rank_taus(fitness, np.asarray(scores), held_out))} |", flush=True
        )
    return 0


COMMANDS = {"objectives": objectives, "rank": rank, "batch": batch}


def main(command: str = "objectives", seeds: str = str(SEEDS), *encoders: str) -> int:
    """Runs one of `COMMANDS`."""
    if command not in COMMANDS or not seeds.isdecimal() or not {*encoders} <= {*ENCODERS}:
        raise UserError(
            f"expected one of {', '.join(COMMANDS)}, a number of seeds, and for objectives names "
            f"of encoders, {', '.join(ENCODERS)}; got {command} {seeds} {' '.join(encoders)}"
        )
    return COMMANDS[command](int(seeds), *encoders)


if __name__ == "__main__":
    sys.exit(told(lambda: main(*sys.argv[1:])))
