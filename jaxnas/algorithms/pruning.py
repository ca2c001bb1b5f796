"""Which choices of a space its front can do without, by networks that were evaluated."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxnas.algorithms import pareto
from jaxnas.algorithms.indicators import hypervolume
from jaxnas.errors import UserError
from jaxnas.spaces.gene import CHIP
from jaxnas.spaces.pruned import networks_left
from jaxnas.spaces.space import Space

MARGIN = 0.1  # by which the reference lies beyond the worst values, of their range
DIGITS = 5  # of a hypervolume, as float32 has them
PADDED = 64  # masks of a program, or a multiple


class Pruning(NamedTuple):
    """What is left of the choices, and of the hypervolume that the evaluated networks attain."""

    kept: Bool[np.ndarray, "genes choices"]
    networks: int
    hypervolume: float  # as a share of that of all


def without_least_used(
    space: Space,
    genomes: Int[np.ndarray, "n genes"],
    fitness: Float[np.ndarray, "n objectives"],
    share: float,
) -> Pruning:
    """Removes choice after choice, until at most this share of the space's networks is left.

    Each time it is the choice without whose networks the hypervolume loses least: first those that
    no network near the front uses. Where several cost nothing it is the one whose best network has
    the largest rank. Genes of the resolution and of a chip keep all choices.

    Raises:
        UserError: no evaluation succeeded, or genes have too few choices to lose.
    """
    known = np.isfinite(fitness).all(axis=1)
    if not known.any():
        raise UserError("no network was evaluated by which choices could be pruned: search first")
    genomes, fitness = genomes[known], fitness[known]
    users = _users(space, genomes)
    ranks = np.asarray(pareto.rank(fitness))
    kept = np.arange(space.sizes.max()) < space.sizes[:, None]
    most = share * space.size()
    while networks_left(space, kept) > most:
        genes, choices = _to_lose(space, kept)
        if not len(genes):
            raise UserError(
                f"{space.name} cannot be pruned to {share:g} of its {space.size()} networks, for "
                "its genes have no more choices to lose: choose a larger share"
            )
        inside = ~(users & ~kept).any(axis=(1, 2))
        leaving = users[:, genes, choices].T & inside
        volumes = dominated(fitness, inside & ~leaving)
        nearest = np.where(leaving, ranks, len(ranks)).min(axis=1)
        least = np.lexsort((-nearest, -volumes.round(DIGITS)))[0]
        kept[genes[least], choices[least]] = False
    inside = ~(users & ~kept).any(axis=(1, 2))
    before, after = dominated(fitness, np.stack([np.ones_like(inside), inside]))
    return Pruning(kept, networks_left(space, kept), float(after / before) if before else 1.0)


def dominated(
    fitness: Float[np.ndarray, "n objectives"], masks: Bool[np.ndarray, "k n"]
) -> Float[np.ndarray, "k"]:
    """The hypervolume of the networks of each mask.

    The reference lies beyond the worst value of all by a tenth of the range.
    """
    fill = -len(masks) % PADDED
    padded = np.pad(masks, ((0, fill), (0, 0)))
    volumes = _masked_volumes(_scaled(fitness), padded)
    return np.asarray(volumes, np.float64)[: len(masks)]


def _users(
    space: Space, genomes: Int[np.ndarray, "n genes"]
) -> Bool[np.ndarray, "n genes choices"]:
    """Which choices each network depends on."""
    chosen = genomes[..., None] == np.arange(space.sizes.max())
    return chosen & np.asarray(space.alive(genomes))[..., None]


def _to_lose(
    space: Space, kept: Bool[np.ndarray, "genes choices"]
) -> tuple[Int[np.ndarray, "options"], Int[np.ndarray, "options"]]:
    """Genes and choices; the last choice of a gene stays."""
    free = np.array([not gene.static and gene.kind != CHIP for gene in space.genes])
    genes, choices = np.nonzero(kept & (free & (kept.sum(axis=1) > 1))[:, None])
    return genes, choices


def _scaled(fitness: Float[np.ndarray, "n objectives"]) -> Float[np.ndarray, "n objectives"]:
    """From 0, the best value of each objective, to 1, the reference."""
    best = fitness.min(axis=0)
    extent = (1 + MARGIN) * (fitness.max(axis=0) - best)
    scaled = (fitness.astype(np.float64) - best) / np.where(extent > 0, extent, 1)
    return scaled.astype(np.float32)


@jax.jit
def _masked_volumes(
    scaled: Float[Array, "n objectives"], masks: Bool[Array, "k n"]
) -> Float[Array, "k"]:
    reference = jnp.ones(scaled.shape[1], jnp.float32)
    return jax.lax.map(
        lambda mask: hypervolume(jnp.where(mask[:, None], scaled, jnp.nan), reference), masks
    )
