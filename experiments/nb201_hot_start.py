"""Question: does the front of a search for one device save evaluations in a search for another?

NAS-Bench-201, error (CIFAR-10, test, %) against latency (ms), looked up in the published tables.
NSGA-II searches for raspi4 in 20 generations of 25; its front, at most 25 networks, stands in the
first generation of a search for pixel3 (`--search.initial`). A cold search for pixel3 with the same
seed takes 20 generations of 25 as well. Counted are the evaluations for pixel3, those of the given
networks among them, until the hypervolume is the cold search's final one, below the worst of the
table. The search for raspi4 is not counted: it was done before.

Command: python experiments/nb201_hot_start.py   (with NB201_TABLES, as nb201_search)
Time: 95 seconds of processor time, nearly all of it compiling a program for each seed's genomes.
Result: 42 % of the evaluations, the median of 10 seeds: 212 of 500 (43, 106, 108, 146, 196, 228,
302, 427, 486 and 488; no search misses it). The given networks alone have 99.1 to 99.8 % of the
cold search's final hypervolume, which the cold searches themselves reach after 476 to 500.
"""

import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
from nb201_search import COVERED, GENERATIONS, POPULATION, TABLES, all_fitness, board, fitness

from jaxnas.algorithms.compiled import Archives, search_many
from jaxnas.algorithms.nsga2 import NSGA2
from jaxnas.cli import told
from jaxnas.spaces.nasbench201 import nasbench201
from jaxnas.stages.initial import beginning_with, initial_genomes

BEFORE = "raspi4"
DEVICE = "pixel3"
SEEDS = 10
BAR = 0.5  # of the cold search's evaluations, the median over the seeds


def front_of(found: Archives, seed: int) -> np.ndarray:
    """The networks that a later search begins with, as `search.initial` takes them of a file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "candidates.npz"
        rows = {"genomes": found.genomes[seed], "fitness": found.fitness[seed]}
        np.savez(file, **jax.device_get(rows), allow_pickle=False)
        return initial_genomes(str(file), nasbench201(), POPULATION)


def volumes(scaled: jax.Array) -> np.ndarray:
    """The hypervolume after each evaluation of a search."""
    n = len(scaled)
    kept = np.tril(np.ones((n, n), bool))[..., None]
    return np.asarray(jax.lax.map(COVERED, jax.numpy.where(kept, scaled, np.nan)))


def main(path: str = TABLES) -> int:
    """Prints a line per seed; 1 if the median misses the bar."""
    space = nasbench201()
    here = board(path, DEVICE)
    everything = all_fitness(here)
    low = everything.min(axis=0)
    high = everything.max(axis=0)
    keys = jax.random.split(jax.random.key(0), SEEDS)
    cold_search = NSGA2(POPULATION)
    before, cold = (
        search_many(cold_search, space, keys, fitness, GENERATIONS, on)
        for on in (board(path, BEFORE), here)
    )
    shares = []
    for seed in range(SEEDS):
        given = front_of(before, seed)
        hot_search = beginning_with(cold_search, given)
        hot = search_many(hot_search, space, keys[seed, None], fitness, GENERATIONS, here)
        curves = [
            volumes((one - low) / (high - low)) for one in (cold.fitness[seed], hot.fitness[0])
        ]
        final = curves[0][-1]
        reached = [int(np.argmax(curve >= final)) + 1 for curve in curves]
        if curves[1][-1] < final:
            reached[1] = sys.maxsize
        shares.append(reached[1] / (POPULATION * GENERATIONS))
        print(
            f"seed {seed}: {len(given)} given, with {curves[1][len(given) - 1] / final:.2%} of the "
            f"cold search's hypervolume, which the hot search reaches after {reached[1]} "
            f"evaluations (the cold one after {reached[0]})"
        )
    share = float(np.median(shares))
    print(
        f"median share of the {POPULATION * GENERATIONS} evaluations: {share:.1%}, at most "
        f"{BAR:.0%}: {'met' if share <= BAR else 'MISSED'}"
    )
    return int(share > BAR)


if __name__ == "__main__":
    sys.exit(told(lambda: main(*sys.argv[1:])))
