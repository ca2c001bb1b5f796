"""Mutation of genes: to any other choice, or by steps along ordered ones."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, UInt

from jaxnas.types import Genomes


def mutated(
    draws: UInt[Array, "n genes"],
    genomes: Genomes,
    sizes: Int[np.ndarray, "genes"],
    steps: Bool[np.ndarray, "genes"],
) -> Genomes:
    """Genomes with a different choice of every gene that has more than one; `sizes` counts them.

    Of a gene without `steps` it is uniform over the others; of one with them it lies j choices away
    with a probability that falls as 1/j, up or down alike (harmonic mutation: Doerr, Doerr &
    Koetzing 2018). `draws` are random words of 32 bits, of which the lower 16 decide.
    """
    choices = jnp.asarray(sizes)
    others = jnp.maximum(choices - 1, 1).astype(jnp.uint32)
    moved = genomes + 1 + (((draws & 0xFFFF) * others) >> 16).astype(jnp.int32)
    moved = jnp.where(moved >= choices, moved - choices, moved)
    if steps.any():
        moved = jnp.where(jnp.asarray(steps), _stepped(draws, genomes, choices), moved)
    return moved


def _stepped(
    draws: UInt[Array, "n genes"], genomes: Genomes, sizes: Int[Array, "genes"]
) -> Genomes:
    """A bit decides up or down where there is room on both sides, 15 bits the way.

    The logarithm of the step is uniform.
    """
    below = genomes
    above = sizes - 1 - genomes
    up = (above > 0) & ((below == 0) | (draws & 1 == 1))
    room = jnp.where(up, above, below).astype(jnp.float32)
    share = ((draws >> 1) & 0x7FFF).astype(jnp.float32) / 2**15
    step = jnp.clip(jnp.floor(jnp.exp(share * jnp.log(room + 1))), 1, jnp.maximum(room, 1)).astype(
        jnp.int32
    )
    return genomes + jnp.where(up, step, -step)
