"""What a search on models proposes: a pool that an inner search finds, and a batch from it."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from jaxnas.algorithms.aims import Aims
from jaxnas.algorithms.algorithm import Algorithm, AnySpace
from jaxnas.algorithms.belief import Belief
from jaxnas.algorithms.memory import Memory
from jaxnas.algorithms.nsga2 import NSGA2
from jaxnas.algorithms.variation import Variation, repeated
from jaxnas.types import Fitness, Genomes, PRNGKey

Kept = TypeVar("Kept")


class Pool(NamedTuple):
    """Candidates, best first, what is hoped of them, and which are new and there once."""

    genomes: Genomes
    hoped: Fitness
    free: Bool[Array, "n"]


def pool(
    key: PRNGKey,
    belief: Belief,
    aims: Aims,
    variation: Variation,
    population: int,
    generations: int,
    optimism: float,
    memory: Memory,
    size: int,
) -> Pool:
    """The best new networks that NSGA-II visits on what the surrogates believe.

    Limits and constraints are one column, the violation.
    """
    inner = NSGA2(population, variation, aims.objectives + 1, (*(None,) * aims.objectives, 0.0))
    deviations = jnp.full((1, len(belief.scores.rows)), -optimism, jnp.float32)

    def hope(genomes):
        hoped = belief.at(genomes, deviations)[0]
        return aims.with_violation(hoped), hoped

    genomes, hoped = visited(key, inner, belief.space, variation, memory, generations, hope)
    hoped = hoped.reshape(len(genomes), -1)
    known = repeated(belief.space, genomes, memory.seen)
    kept = aims.best(jnp.where(known[:, None], jnp.nan, hoped), size)
    return Pool(genomes[kept], hoped[kept], ~known[kept])


def visited(
    key: PRNGKey,
    inner: Algorithm,
    space: AnySpace,
    variation: Variation,
    memory: Memory,
    generations: int,
    judge: Callable[[Genomes], tuple[Fitness, Kept]],
) -> tuple[Genomes, Kept]:
    """All candidates of a search on models, and what is kept of each generation.

    Its first population is the best observed, as one half; mutants of the best as a quarter; and
    random ones. `judge` gives the fitness that the inner algorithm is told, and what is kept.
    """
    init_key, search_key, random_key, mutation_key = jax.random.split(key, 4)
    best = memory.genomes[: inner.population // 2]
    mutants = best[: inner.population // 4]
    mutants = variation.change(mutation_key, space, mutants, jnp.ones(len(mutants), bool))
    others = space.sample(random_key, inner.population - len(best) - len(mutants))
    first = jnp.concatenate([best, mutants, others])
    start = inner.init(init_key, space)
    if hasattr(start, "seen"):
        start = start._replace(seen=memory.seen)

    def generation(state, step):
        asked = inner.ask(jax.random.fold_in(search_key, step), space, state)
        asked = asked._replace(genomes=jnp.where(step == 0, first, asked.genomes))
        fitness, kept = judge(asked.genomes)
        return inner.tell(space, state, asked, fitness), (asked.genomes, kept)

    _, (genomes, kept) = jax.lax.scan(generation, start, jnp.arange(generations, dtype=jnp.int32))
    return genomes.reshape(-1, genomes.shape[-1]), kept
