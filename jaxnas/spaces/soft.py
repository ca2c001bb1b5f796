"""Soft genomes: probabilities of every gene's choices, of genes that are independent of each other.

What is computed here of a soft genome is the mean over the genomes that it draws, and of a one-hot
one the figure of its genome. All is multilinear: linear in the row of each gene.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnas.errors import UserError
from jaxnas.spaces.encodings import (
    FeatureFunction,
    gene_features,
    gene_values,
    one_hot,
    without_order,
)
from jaxnas.spaces.space import Space
from jaxnas.types import SoftGenome


def softened(
    space: Space, genomes: Int[Array | np.ndarray, "*n genes"]
) -> Float[Array, "*n genes choices"]:
    """Genomes as soft ones, float32: one-hot."""
    return jax.nn.one_hot(jnp.asarray(genomes), int(space.sizes.max()), dtype=jnp.float32)


def expected(
    space: Space, genome: SoftGenome, genes: Sequence[int], table: Array | np.ndarray
) -> Float[Array, "..."]:
    """The mean of a table, in the precision of the genome.

    The first axes of `table` are the choices of `genes` (positions); the mean keeps the others.
    """
    table = jnp.asarray(table, genome.dtype)
    for i in genes:
        row = genome[i, : len(space.genes[i].choices)]
        table = jnp.tensordot(row, table, 1, precision="highest")
    return table


def alive(space: Space, genome: SoftGenome) -> Float[Array, "genes"]:
    """The probability that each gene matters: see `Space.alive`."""
    parents, allowed, nesting = space.needs
    rows = genome[:, : allowed.shape[1]][parents]
    own = jnp.sum(rows * jnp.asarray(allowed, genome.dtype), axis=1)
    own = jnp.where(parents == np.arange(len(parents)), jnp.ones((), genome.dtype), own)
    found = own
    for _ in range(nesting):
        found = own * found[parents]
    return found


def expected_values(space: Space, genome: SoftGenome) -> Float[Array, "genes"]:
    """The mean of `encodings.gene_values`."""
    each = [
        expected(space, genome, [i], np.array(gene.choices)) for i, gene in enumerate(space.genes)
    ]
    return alive(space, genome) * jnp.stack(each)


def expected_one_hot(space: Space, genome: SoftGenome) -> Float[Array, "columns"]:
    """The mean of `encodings.one_hot`."""
    rows = alive(space, genome)[:, None] * genome
    return jnp.concatenate([row[:size] for row, size in zip(rows, space.sizes, strict=True)])


def expected_gene_features(space: Space, genome: SoftGenome) -> Float[Array, "features"]:
    """The mean of `encodings.gene_features`."""
    apart = without_order(space)
    chosen = expected_one_hot(space, genome)[np.repeat(apart, space.sizes)]
    return jnp.concatenate([expected_values(space, genome)[~apart], chosen])


EXPECTED_FEATURES: dict[FeatureFunction, Any] = {
    gene_values: expected_values,
    one_hot: expected_one_hot,
    gene_features: expected_gene_features,
}


def expected_features(
    features: FeatureFunction, space: Space, genome: SoftGenome
) -> Float[Array, "features"]:
    """The mean of what a predictor sees; a `UserError` where nobody wrote it down."""
    if features not in EXPECTED_FEATURES:
        known = ", ".join(one.__name__ for one in EXPECTED_FEATURES)
        name = getattr(features, "__name__", repr(features))
        raise UserError(
            f"a predictor that sees {name} of a genome takes no soft genomes: fit one that sees "
            f"one of {known}"
        )
    return EXPECTED_FEATURES[features](space, genome)


def expected_canonical(
    space: Space, genome: SoftGenome, genes: Sequence[int], table: Array | np.ndarray
) -> Float[Array, "..."]:
    """`expected` of a table that is to be read at canonical genomes (`Space.canonical`)."""
    every = _with_ancestors(space, genes)
    sizes = [len(space.genes[i].choices) for i in every]
    genomes = np.zeros((*sizes, len(space.genes)), np.int32)
    genomes[..., every] = np.moveaxis(np.indices(sizes), 0, -1)
    with jax.ensure_compile_time_eval():
        canonical = np.asarray(space.canonical(genomes))
    return expected(space, genome, every, table[tuple(canonical[..., i] for i in genes)])


def _with_ancestors(space: Space, genes: Sequence[int]) -> list[int]:
    """The genes and all that decide whether those matter, in order."""
    parents, _, nesting = space.needs
    found = {*genes}
    for _ in range(nesting + 1):
        found |= {int(parents[i]) for i in found}
    return sorted(found)
