"""Question: under each formulation, does a search find the best cell of NAS-Bench-201?

Error (CIFAR-10, test, %) and latency on raspi4 (ms), looked up in the published tables: the best of
all 15,625 cells is known. Formulations are written as `--search.formulation` has them. NSGA-II and
regularized evolution evaluate 100 generations of 50, random search 100 of 2,000, enough to see
nearly every cell; 5 seeds each. A seed succeeds where no cell is better than its best one; the
place is the number of cells that are better. What each cell is worth is computed once for all
formulations and looked up, so that an algorithm is one compiled program: it is told the same
column as under `--search.formulation`.

Command: python experiments/nb201_formulations.py

Time: 2 minutes while ten processes shared two cores, 13 seconds once compiled.
Result: 5 of 5 seeds of each algorithm find the best cell under each formulation, except that for
the weighted sum 2 of 5 of NSGA-II do, whose other seeds find the second or the third best.

It reads the tables from the file that NB201_TABLES names; experiments/nb201_tables.py writes it
from public files.
"""

import sys
from time import perf_counter

import jax
import numpy as np
from nb201_search import TABLES, all_fitness, board

from jaxnas.algorithms.compiled import search_many
from jaxnas.algorithms.formulated import worth
from jaxnas.cli import told
from jaxnas.config import SearchConfig, make_algorithm, make_formulation
from jaxnas.hardware.tables import Table
from jaxnas.spaces.nasbench201 import SHAPE, nasbench201
from jaxnas.types import Fitness, Genomes

SEEDS = 5
FORMULATIONS = (
    "weighted_sum:weights=1,0.2",
    "chebyshev:weights=1,0.3:ideal=5,0",
    "weighted_product:weights=1,0.07",
    "mnasnet:target=20:worst_error=100",
    "epsilon_constraint:most=10",
    "lexicographic:tolerances=1,0.5",
)
BUDGETS = {"nsga2": (50, 100), "evolution": (50, 100), "random": (2000, 100)}


def look_up(genomes: Genomes, column: Table) -> Fitness:
    """What each cell is worth."""
    return column(genomes)[:, None]


def main(path: str = TABLES) -> int:
    """Prints a line per algorithm and formulation; 1 if no seed of one succeeds."""
    everything = all_fitness(board(path, "raspi4"))
    keys = jax.random.split(jax.random.key(0), SEEDS)
    missed = 0
    for name, (population, generations) in BUDGETS.items():
        settings = SearchConfig(name, population, objectives=("worth",))
        algorithm = make_algorithm(settings)
        for text in FORMULATIONS:
            start = perf_counter()
            value = worth(make_formulation(text), everything)
            column = Table("worth", "", value.reshape(SHAPE))
            found = search_many(algorithm, nasbench201(), keys, look_up, generations, column)
            best = np.nanmin(found.fitness[..., 0], axis=1)
            places = np.searchsorted(np.sort(np.asarray(value)), best)
            missed += int((places > 0).all())
            print(
                f"{name:10} {text:36} found by {(places == 0).sum()} of {SEEDS} seeds, place "
                f"{np.median(places):g} (worst {places.max()}) of {len(value)}; "
                f"{perf_counter() - start:.1f} s",
                flush=True,
            )
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(told(lambda: main(*sys.argv[1:])))
