"""Question: do all algorithms find feasible fronts where few candidates are feasible?

OSY (Osyczka & Kundu 1995: six variables, six constraints), TNK (Tanaka et al. 1995: two and two, a
front in pieces) and SRN (Srinivas & Deb 1994: two and two). Fitness has the two objectives and then
the constraints, feasible where each is at most 0, as pymoo has them. Every algorithm evaluates 100
generations of 50, 10 seeds; Bayesian search, for dear candidates, 12. Those with operators vary
real values by simulated binary crossover and polynomial mutation. Local search needs choices, of
which a box has none. Hypervolume counts feasible candidates only, below the nadir point of the
front and a tenth of its extent more; the fronts are drawn densely from their known equations.

Command: python experiments/constrained.py
Command: jaxnas compare experiments/constrained.py --algorithms nsga2   (the problem that the
         variable CONSTRAINED names: OSY, TNK or SRN)
Time: 2 minutes on two quiet cores, 1 to 9 seconds a line, and 3 minutes for Bayesian search.
Result: every seed of every algorithm finds feasible candidates. Hypervolume in % of the front's,
medians:

    algorithm        OSY     TNK     SRN
    nsga2            95.4    98.1    99.8
    nsga3            94.0    97.7    99.8
    moead            81.4    97.8    99.8
    islands          96.5    98.1    99.8
    evolution        89.1    97.7    99.8
    elitist          95.4    97.9    99.8
    evosax:CMA_ES    67.3    79.2    96.4
    random           35.7    88.7    98.3
    bayesian         92.2    96.1    98.8    with 600 evaluations in place of 5,000
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnas.algorithms import pareto
from jaxnas.algorithms.compiled import search_many
from jaxnas.algorithms.indicators import hypervolume
from jaxnas.cli import told
from jaxnas.config import Config, SearchConfig, make_algorithm
from jaxnas.errors import choose
from jaxnas.records.cache import digest
from jaxnas.spaces.box import Box
from jaxnas.studies.compare import Problem
from jaxnas.types import Genomes

SEEDS = 10
POINTS = 2000  # of each piece of a front
ALGORITHMS = (
    "nsga2",
    "nsga3",
    "moead",
    "islands:count=2",
    "evolution",
    "elitist",
    "evosax:CMA_ES",
    "random",
    "bayesian",
)
SEARCH = SearchConfig(population=50, generations=100, mutation=0.9)
GENERATIONS = {"bayesian": 12}  # of those that evaluate fewer
COVERED = jax.jit(partial(hypervolume, reference=jnp.ones(2)))

config = Config("constrained", search=SEARCH)


@dataclass(frozen=True)
class Bounded:
    """A test problem: a box, its fitness, and decisions of which some are the whole front."""

    space: Box
    constraints: int
    fitness: Callable[[Genomes], Float[Array, "n columns"]]
    decisions: Callable[[], Float[np.ndarray, "n genes"]]


def osy(x: Genomes) -> Float[Array, "n columns"]:
    """Objectives, and constraints as shares."""
    a, b, c, d, e, f = x.T
    square = 25 * (a - 2) ** 2 + (b - 2) ** 2 + (c - 1) ** 2 + (d - 4) ** 2 + (e - 1) ** 2
    kept = (
        (a + b - 2) / 2,
        (6 - a - b) / 6,
        (2 - b + a) / 2,
        (2 - a + 3 * b) / 2,
        (4 - (c - 3) ** 2 - d) / 4,
        ((e - 3) ** 2 + f - 4) / 4,
    )
    return jnp.stack([-square, (x**2).sum(axis=1), *(-one for one in kept)], axis=1)


def osy_decisions() -> Float[np.ndarray, "n genes"]:
    """The five pieces of Deb's book (2001, table 8.3)."""
    up = np.linspace(0, 1, POINTS)
    zero = np.zeros(POINTS)
    one = np.ones(POINTS)
    c = 1 + 4 * up
    a = 4.056 + 0.944 * up
    pieces = (
        (5 * one, one, c, zero, 5 * one, zero),
        (5 * one, one, c, zero, one, zero),
        (a, (a - 2) / 3, one, zero, one, zero),
        (zero, 2 * one, 1 + 2.732 * up, zero, one, zero),
        (up, 2 - up, one, zero, one, zero),
    )
    return np.concatenate([np.stack(piece, axis=1) for piece in pieces])


def tnk(x: Genomes) -> Float[Array, "n columns"]:
    """Outside a wavy circle, and inside another."""
    a, b = x.T
    waves = 0.1 * jnp.cos(16 * jnp.arctan2(a, b))
    inside = 2 * ((a - 0.5) ** 2 + (b - 0.5) ** 2) - 1
    return jnp.stack([a, b, 1 + waves - a**2 - b**2, inside], axis=1)


def tnk_decisions() -> Float[np.ndarray, "n genes"]:
    """The wavy circle."""
    angle = np.linspace(0, np.pi / 2, 5 * POINTS)
    radius = np.sqrt(1 + 0.1 * np.cos(16 * angle))
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)


def srn(x: Genomes) -> Float[Array, "n columns"]:
    """Within a circle, and above a line."""
    a, b = x.T
    first = 2 + (a - 2) ** 2 + (b - 1) ** 2
    second = 9 * a - (b - 1) ** 2
    return jnp.stack([first, second, a**2 + b**2 - 225, a - 3 * b + 10], axis=1)


def srn_decisions() -> Float[np.ndarray, "n genes"]:
    """On the line, on x1 = -2.5 between line and circle, and on the circle."""
    up = np.linspace(2.5, np.sqrt(225 - 2.5**2), POINTS)
    a = np.linspace(-6, -2.5, POINTS)
    on_line = np.linspace(-4, 1.2, POINTS)
    return np.concatenate(
        [
            np.stack([np.full(POINTS, -2.5), up], axis=1),
            np.stack([a, np.sqrt(225 - a**2)], axis=1),
            np.stack([on_line, (on_line + 10) / 3], axis=1),
        ]
    )


PROBLEMS = {
    "OSY": Bounded(Box("OSY", (0, 0, 1, 0, 1, 0), (10, 10, 5, 6, 5, 10)), 6, osy, osy_decisions),
    "TNK": Bounded(Box("TNK", (0, 1e-30), (np.pi, np.pi)), 2, tnk, tnk_decisions),
    "SRN": Bounded(Box("SRN", (-20, -20), (20, 20)), 2, srn, srn_decisions),
}


def front_of(one: Bounded) -> Float[np.ndarray, "points 2"]:
    """Of the decisions those that are feasible, to rounding, and not dominated; in float64."""
    with jax.enable_x64(True):
        fitness = np.asarray(one.fitness(jnp.asarray(one.decisions())))
    kept = fitness[(fitness[:, 2:] <= 1e-9).all(axis=1), :2]
    return kept[np.asarray(pareto.front(kept))]


def problem(name: str = os.environ.get("CONSTRAINED", "OSY")) -> Problem:
    """What `jaxnas compare` searches."""
    one = choose("constrained problem", name, PROBLEMS)
    front = front_of(one)
    least, most = front.min(axis=0), front.max(axis=0)
    return Problem(
        space=one.space,
        objectives=("f1", "f2"),
        fitness=lambda genomes, _: one.fitness(genomes),
        digest=digest([name, one.space.low, one.space.high]),
        traced=True,
        reference=tuple((most + 0.1 * (most - least)).tolist()),
        front=front,
        constraints=tuple(f"g{i + 1}" for i in range(one.constraints)),
    )


def feasible_found(here: Problem, name: str) -> Float[Array, "seeds n 2"]:
    """The objectives of all feasible candidates that the seeds evaluate, NaN of the others."""
    settings = replace(SEARCH, algorithm=name, objectives=here.objectives)
    bounded = replace(settings, constraints=tuple(f"{one}=0" for one in here.constraints))
    algorithm = make_algorithm(bounded, here.space)
    keys = jax.random.split(jax.random.key(0), SEEDS)
    generations = GENERATIONS.get(name, SEARCH.generations)
    found = search_many(algorithm, here.space, keys, here.fitness, generations).fitness
    kept = (found[..., 2:] <= 0).all(axis=-1, keepdims=True)
    return jnp.where(kept, found[..., :2], jnp.nan)


def shares(here: Problem, fitness: Float[Array, "seeds n 2"]) -> Float[np.ndarray, "seeds"]:
    """Hypervolume of each seed as a share of the front's."""
    least = jnp.asarray(here.front.min(axis=0), jnp.float32)
    extent = jnp.asarray(here.reference, jnp.float32) - least
    whole = COVERED((jnp.asarray(here.front, jnp.float32) - least) / extent)
    return np.asarray(jax.vmap(COVERED)((fitness - least) / extent) / whole)


def main() -> int:
    """Prints a line per problem and algorithm; 1 if a seed of one but random finds no feasible."""
    missed = 0
    for name in PROBLEMS:
        here = problem(name)
        for algorithm in ALGORITHMS:
            start = perf_counter()
            fitness = feasible_found(here, algorithm)
            counts = np.asarray((~jnp.isnan(fitness[..., 0])).sum(axis=1))
            covered = 100 * shares(here, fitness)
            missed += int(algorithm != "random" and (counts == 0).any())
            print(
                f"{name} {algorithm:16} hypervolume {np.median(covered):6.2f} % "
                f"({covered.min():.2f}-{covered.max():.2f}), feasible {np.median(counts):g} of "
                f"{fitness.shape[1]}, seeds with some {(counts > 0).sum()} of {SEEDS}; "
                f"{perf_counter() - start:.1f} s",
                flush=True,
            )
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(told(main))
