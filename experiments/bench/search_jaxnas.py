"""jaxnas's side of `search.py`."""

from collections.abc import Callable
from functools import partial

import jax
import numpy as np
from search_problems import Problem

from jaxnas.algorithms.algorithm import Asked
from jaxnas.algorithms.compiled import Archives, search_many
from jaxnas.algorithms.nsga2 import NSGA2
from jaxnas.predictors import mlp
from jaxnas.spaces.encodings import gene_values
from jaxnas.spaces.published import attentive_nas
from jaxnas.types import Fitness, Genomes


def make_archive(
    problem: Problem, population: int, generations: int, unique: bool
) -> Callable[[jax.Array], Archives]:
    """A run: keys, one per search, to everything evaluated. `unique`: duplicates are avoided."""
    algorithm = _algorithm(problem, population, unique)
    fitness = problem.fitness
    return lambda keys: jax.block_until_ready(
        search_many(algorithm, problem.space, keys, fitness, generations)
    )


def last_populations(
    problem: Problem, population: int, generations: int, keys: jax.Array, unique: bool
) -> np.ndarray:
    """Fitness (seeds, population, objectives) of the members that remain at the end.

    As the algorithm chose them.
    """
    archive = make_archive(problem, population, generations, unique)(keys)
    return np.asarray(_members(_algorithm(problem, population, unique), problem, archive))


@partial(jax.jit, static_argnames=("algorithm", "problem"))
def _members(algorithm: NSGA2, problem: Problem, archives: Archives) -> jax.Array:
    """The archive holds all candidates; told them again, the algorithm keeps the same."""

    def told(state, rows: Archives):
        return algorithm.tell(
            problem.space, state, Asked(rows.genomes, rows.parents), rows.fitness
        ), None

    def one(archive: Archives):
        generations = jax.tree.map(
            lambda array: array.reshape(-1, algorithm.population, *array.shape[1:]), archive
        )
        return jax.lax.scan(told, algorithm.init(jax.random.key(0), problem.space), generations)[
            0
        ].fitness

    return jax.vmap(one)(archives)


def make_predicted_search(population: int, generations: int) -> Callable[[jax.Array], Archives]:
    """The search of a job whose two objectives are both predicted, of AttentiveNAS's space.

    Keys to everything evaluated.

    The predictors are perceptrons of the size that jaxnas fits to latencies, fitted to the MACs of
    300 networks and to the inverse of their parameters: what they say is beside the question of how
    fast they are asked.
    """
    space = attentive_nas()
    genomes = space.sample(jax.random.key(0), 300)
    features = gene_values(space, genomes)
    costs = space.costs(genomes)
    targets = np.asarray(costs.macs) / 1e8, 1e7 / np.asarray(costs.params)
    models = [
        mlp.fit(jax.random.key(1), features[:200], y[:200], features[200:], y[200:], steps=500)
        for y in targets
    ]
    algorithm = NSGA2(population=population)

    def predicted(genomes: Genomes, models: list[mlp.LatencyMLP]) -> Fitness:
        return jax.numpy.stack(
            [mlp.predict(model, gene_values(space, genomes)) for model in models], axis=1
        )

    return lambda keys: jax.block_until_ready(
        search_many(algorithm, space, keys, predicted, generations, models)
    )


def _algorithm(problem: Problem, population: int, unique: bool) -> NSGA2:
    return NSGA2(
        population=population,
        objectives=problem.objectives,
        variation=problem.variation,
        avoid_duplicates=unique,
    )
