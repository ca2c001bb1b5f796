"""Whole searches as one program.

Generations are a scan, seeds a vmap, islands a ring of searches that exchange members.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, Num

from jaxnas.algorithms.algorithm import Algorithm, AnySpace, figures_of
from jaxnas.errors import UserError
from jaxnas.types import Fitness, Genomes


class Archives(NamedTuple):
    """Every candidate evaluated by each search, in order: `population` rows a generation."""

    genomes: Num[Array, "seeds n genes"]
    fitness: Float[Array, "seeds n objectives"]  # minimised; NaN = failed
    generation: Int[Array, "seeds n"]  # 0 is the initial population
    parents: Int[Array, "seeds n 2"]  # rows of the search's own archive; -1 = none
    # What the algorithm says of itself, by name: (seeds, generations, ...).
    figures: Mapping[str, Array] = {}


def search_many(
    algorithm: Algorithm,
    space: AnySpace,
    keys: Key[Array, "seeds"],
    fitness: Callable[[Genomes, Any], Fitness],
    generations: int,
    data: Any = None,
) -> Archives:
    """A whole search for each key, all in one compiled program.

    Equal to `loop.search` with the same key, bit for bit.

    `fitness` (genomes, data) is traced: (population, genes) to (population, objectives). `data` is
    a pytree of arrays that it reads; captured ones would be compiled in. Everything evaluated comes
    back, with a leading axis of seeds.
    """
    if generations < 1:
        raise UserError(
            f"generations must be at least 1, got {generations}; the initial population counts as "
            "one"
        )
    return _search_many(algorithm, space, keys, fitness, generations, data)


@partial(jax.jit, static_argnames=("algorithm", "space", "fitness", "generations"))
def _search_many(
    algorithm: Algorithm, space: AnySpace, keys, fitness, generations: int, data
) -> Archives:
    def one(key):
        init_key, ask_key = jax.random.split(key)

        def generation(state, step):
            asked = algorithm.ask(jax.random.fold_in(ask_key, step), space, state)
            found = fitness(asked.genomes, data).astype(jnp.float32)
            state = algorithm.tell(space, state, asked, found)
            return state, ((asked.genomes, found, asked.parents), figures_of(algorithm, state))

        _, (each, figures) = jax.lax.scan(
            generation, algorithm.init(init_key, space), jnp.arange(generations)
        )
        told = jnp.repeat(jnp.arange(generations, dtype=jnp.int32), algorithm.population)
        genomes, found, parents = (array.reshape(-1, array.shape[-1]) for array in each)
        return Archives(genomes, found, told, parents, figures)

    return jax.vmap(one)(keys)


def in_turn(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of arrays, which a vmap over seeds calls for one seed after another.

    So the seeds of a compiled search are bit for bit those of the loop: matrices side by side are
    multiplied and factorised in another order than one. JAX counts in 32 bits within.
    """

    @jax.custom_batching.sequential_vmap
    def one(*arrays):
        with jax.enable_x64(False):
            return function(*arrays)

    return one
