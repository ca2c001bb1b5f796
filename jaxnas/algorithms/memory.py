"""What a search on models remembers of its evaluations, and what it asks for before it has any."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, UInt

from jaxnas.algorithms.aims import Aims
from jaxnas.algorithms.algorithm import AnySpace, unevaluated
from jaxnas.algorithms.latin_hypercube import latin_hypercube
from jaxnas.algorithms.variation import Variation, nothing_seen, remember, without_duplicates
from jaxnas.types import Fitness, Genomes, PRNGKey


class Memory(NamedTuple):
    """The best candidates observed, best first, and how far the search is."""

    genomes: Genomes  # (rows, genes)
    fitness: Fitness  # NaN where nothing was observed yet
    initial: Genomes  # a Latin hypercube, in whole generations
    seed: UInt[Array, ""]  # of what `tell` draws
    generation: Int[Array, ""]
    seen: UInt[Array, "slots"]  # networks evaluated before (variation.remember)

    def key(self, number: int) -> PRNGKey:
        """Of this generation, of what `tell` draws: number 0 or 1."""
        return jax.random.fold_in(jax.random.key(self.seed), 2 * self.generation + number)


def empty(
    key: PRNGKey, space: AnySpace, rows: int, columns: int, population: int, initial: int
) -> Memory:
    """With at least `initial` candidates to begin with."""
    memory_key, initial_key, seed_key = jax.random.split(key, 3)
    genomes, fitness, _ = unevaluated(memory_key, space, rows, columns)
    return Memory(
        genomes,
        fitness,
        latin_hypercube(initial_key, space, -(-initial // population) * population),
        jax.random.bits(seed_key, (), jnp.uint32),
        jnp.int32(0),
        nothing_seen(population),
    )


def asked(
    key: PRNGKey,
    space: AnySpace,
    variation: Variation,
    memory: Memory,
    population: int,
    propose: Callable[[PRNGKey], Genomes],
) -> Genomes:
    """The next of the initial candidates, after them what is proposed; new ones where there are."""
    propose_key, duplicates_key = jax.random.split(key)
    rounds = len(memory.initial) // population
    first = jnp.minimum(memory.generation, rounds - 1) * population
    genomes = jax.lax.cond(
        memory.generation < rounds,
        lambda: jax.lax.dynamic_slice_in_dim(memory.initial, first, population),
        lambda: propose(propose_key),
    )
    return without_duplicates(duplicates_key, space, variation, genomes, memory.seen)


def updated(
    memory: Memory, space: AnySpace, aims: Aims, genomes: Genomes, fitness: Fitness
) -> Memory:
    """After a generation: the best of all, the newer first among equals."""
    every = jnp.concatenate([genomes, memory.genomes])
    observed = jnp.concatenate([fitness, memory.fitness])
    kept = aims.best(observed, len(memory.genomes))
    return memory._replace(
        genomes=every[kept],
        fitness=observed[kept],
        generation=memory.generation + 1,
        seen=remember(memory.seen, space, genomes),
    )
