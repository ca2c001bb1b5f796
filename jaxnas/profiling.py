"""Which subnets are measured to learn a device's latency."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jaxnas.errors import UserError
from jaxnas.spaces.space import Space
from jaxnas.types import Genomes, PRNGKey

TILT = 4.0  # at its ends a gene of two choices is drawn small, or large, 98 times in 100
ROUNDS = 100  # of drawing before a sample of different genomes is given up


def covering_sample(key: PRNGKey, space: Space, n: int) -> Genomes:
    """`n` different genomes that reach the whole range from the smallest to the largest, which are the first two rows.

    Uniform draws almost never come near the corners: the sum of thirty genes is close to its mean. So each genome draws
    its own tilt, uniform, and then each gene a choice with probability proportional to exp(tilt * position), position 0
    for the smallest and 1 for the largest choice. Static genes are not tilted; their choices are dealt out evenly.
    Genomes are canonical. Raises a `UserError` where the space does not have `n`.
    """
    corners = np.stack([space.smallest, space.largest])
    return _distinct(key, space, n, corners, corners[:0], _tilted)


def uniform_sample(key: PRNGKey, space: Space, n: int, exclude: Int[Array | np.ndarray, "taken genes"]) -> Genomes:
    """`n` different genomes drawn uniformly, none of them in `exclude`; canonical, and errors as `covering_sample`."""
    return _distinct(key, space, n, space.smallest[None][:0], exclude, _uniform)


@partial(jax.jit, static_argnames=("space", "n"))
def _uniform(key: PRNGKey, space: Space, n: int) -> Genomes:
    return space.sample(key, n)


@partial(jax.jit, static_argnames=("space", "n"))
def _tilted(key: PRNGKey, space: Space, n: int) -> Genomes:
    tilt_key, choice_key, static_key = jax.random.split(key, 3)
    choices = jnp.arange(space.sizes.max())
    sizes = jnp.asarray(space.sizes)[:, None]
    position = choices / jnp.maximum(sizes - 1, 1)
    tilt = jax.random.uniform(tilt_key, (n, 1, 1), minval=-TILT, maxval=TILT)
    logits = jnp.where(choices < sizes, tilt * position, -jnp.inf)  # (n, genes, choices)
    genomes = jax.random.categorical(choice_key, logits).astype(jnp.int32)
    for i, gene in enumerate(space.genes):
        if gene.static:
            even = jnp.arange(n, dtype=jnp.int32) % len(gene.choices)
            genomes = genomes.at[:, i].set(jax.random.permutation(jax.random.fold_in(static_key, i), even))
    return genomes


def _distinct(key: PRNGKey, space: Space, n: int, start, exclude, draw: Callable[[PRNGKey, Space, int], Genomes]) -> Genomes:
    """The first `n` different canonical genomes of `start`, then of rounds of `draw`, that are not in `exclude`."""

    def canonical_rows(genomes) -> np.ndarray:
        return np.asarray(_canonical(space, jnp.asarray(genomes, jnp.int32)))

    seen = {row.tobytes() for row in canonical_rows(exclude)}
    excluded, rows = len(seen), []
    for r in range(ROUNDS if n + excluded <= space.size() else 0):
        batch = start if r == 0 else draw(jax.random.fold_in(key, r), space, n + excluded)
        for row in canonical_rows(batch):
            if len(rows) < n and row.tobytes() not in seen:
                seen.add(row.tobytes())
                rows.append(row)
        if len(rows) == n:
            return jnp.asarray(np.array(rows, np.int32).reshape(n, len(space.genes)))
    raise UserError(
        f"cannot draw {n} different subnets from space {space.name}: it has {space.size()} genomes, "
        f"{excluded} of them already taken; measure fewer subnets"
    )


@partial(jax.jit, static_argnames="space")
def _canonical(space: Space, genomes: Genomes) -> Genomes:
    return jax.vmap(space.canonical)(genomes)
