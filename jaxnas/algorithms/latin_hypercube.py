"""A first sample that covers every gene evenly (McKay, Beckman & Conover, Technometrics 1979)."""

import jax
import jax.numpy as jnp

from jaxnas.algorithms.algorithm import AnySpace
from jaxnas.spaces.box import Box
from jaxnas.types import Genomes, PRNGKey


def latin_hypercube(key: PRNGKey, space: AnySpace, n: int) -> Genomes:
    """`n` genomes that have each choice of a gene as often as any other, give or take one.

    In a box each of `n` equal slices of a gene's range has one.
    """
    order_key, place_key = jax.random.split(key)
    keys = jax.random.split(order_key, len(space.genes))
    order = jax.vmap(lambda key: jax.random.permutation(key, n))(keys).T.astype(jnp.int32)
    if isinstance(space, Box):
        low, high = (jnp.asarray(end, jnp.float32) for end in (space.low, space.high))
        place = (order + jax.random.uniform(place_key, order.shape, jnp.float32)) / n
        return low + place * (high - low)
    return order * jnp.asarray(space.sizes) // n
