"""What a predictor sees of a genome."""

import itertools
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxnas.spaces.box import Box
from jaxnas.spaces.nasbench201 import CONV1, EDGES, NONE, OPERATIONS, POOL, SKIP
from jaxnas.spaces.nasbench201_network import NasBench201
from jaxnas.spaces.space import Space

Features = Float[Array, "n features"]
FeatureFunction = Callable[[Space, Int[Array | np.ndarray, "n genes"]], Features]
# From the input to the output of a NAS-Bench-201 cell, as edges.
ROUTES = ((3,), (0, 4), (1, 5), (0, 2, 5))
# What a route computes, its skips left out: operations from conv 1x1 on, 0 to 3 of them.
PATHS = tuple(
    path for length in range(4) for path in itertools.product(range(CONV1, POOL + 1), repeat=length)
)
SAMPLE = 1024  # genomes that say how features vary over a space


def gene_values(
    space: Space, genomes: Int[Array | np.ndarray, "*n genes"]
) -> Float[Array, "*n genes"]:
    """The genes' values (16 channels, kernel 5, ...), float32.

    0 where a gene does not matter (Once-for-All's convention); traceable.
    """
    return jnp.where(space.alive(genomes), space.values(genomes), 0).astype(jnp.float32)


def one_hot(
    space: Space, genomes: Int[Array | np.ndarray, "*n genes"]
) -> Float[Array, "*n choices"]:
    """A column for each choice of each gene, 1 where it is the chosen one, float32.

    For genes whose values have no order.

    All columns of a gene are 0 where it does not matter. Traceable.
    """
    chosen = jnp.where(space.alive(genomes), genomes, -1)
    gene = np.repeat(np.arange(len(space.genes)), space.sizes)
    choice = np.concatenate([np.arange(size) for size in space.sizes])
    return (chosen[..., gene] == choice).astype(jnp.float32)


def gene_features(
    space: Space, genomes: Int[Array | np.ndarray, "*n genes"]
) -> Float[Array, "*n features"]:
    """Values of genes whose choices have an order, and a column for each choice of the others.

    Of a space whose genes all have one: `gene_values`. Traceable.
    """
    values = gene_values(space, genomes)
    apart = without_order(space)
    if not apart.any():
        return values
    chosen = one_hot(space, genomes)[..., np.repeat(apart, space.sizes)]
    return jnp.concatenate([values[..., ~apart], chosen], axis=-1)


def without_order(space: Space) -> Bool[np.ndarray, "genes"]:
    """Genes of more than two choices that have no order: of two, a number tells them apart."""
    return np.array([not gene.ordered and len(gene.choices) > 2 for gene in space.genes])


def cell_operations(
    space: Space, genomes: Int[Array | np.ndarray, "*n 6"]
) -> Float[Array, "*n 60"]:
    """`one_hot` of NAS-Bench-201's cells.

    And again with `none` on edges without a way from the input or to the output.

    PyTorch runs such edges for nothing; a compiler leaves them out.
    """
    on = jnp.asarray(genomes) != NONE
    reached, needed = (
        [jnp.ones(on.shape[:-1], bool)] + [jnp.zeros(on.shape[:-1], bool)] * 3 for _ in range(2)
    )
    needed.reverse()
    for edge, (source, target) in enumerate(EDGES):
        reached[target] |= on[..., edge] & reached[source]
    for edge, (source, target) in reversed(list(enumerate(EDGES))):
        needed[source] |= on[..., edge] & needed[target]
    alive = jnp.stack(
        [
            on[..., edge] & reached[source] & needed[target]
            for edge, (source, target) in enumerate(EDGES)
        ],
        axis=-1,
    )
    return jnp.concatenate(
        [one_hot(space, genomes), one_hot(space, jnp.where(alive, genomes, NONE))], axis=-1
    )


def cell_counts(space: Space, genomes: Int[Array | np.ndarray, "*n 6"]) -> Float[Array, "*n 10"]:
    """How many edges of a NAS-Bench-201 cell have each operation.

    Of all edges and of those as `cell_operations` has them.
    """
    columns = cell_operations(space, genomes).reshape(
        *genomes.shape[:-1], 2, len(EDGES), len(OPERATIONS)
    )
    return columns.sum(axis=-2).reshape(*genomes.shape[:-1], 2 * len(OPERATIONS))


def cell_paths(space: Space, genomes: Int[Array | np.ndarray, "*n 6"]) -> Float[Array, "*n 40"]:
    """How many live routes of a NAS-Bench-201 cell compute each of `PATHS`.

    A route from the input to the output is live where none of its edges is `none`; its skips are
    left out. Traceable.
    """
    genomes = jnp.asarray(genomes)
    kinds = len(OPERATIONS) - CONV1
    # Paths of a length come after all shorter ones, in counting order.
    first = jnp.asarray([sum(kinds**i for i in range(length)) for length in range(4)], jnp.int32)
    counts = jnp.zeros((*genomes.shape[:-1], len(PATHS)), jnp.float32)
    for route in ROUTES:
        chosen = genomes[..., np.array(route)]
        place = length = jnp.zeros(genomes.shape[:-1], jnp.int32)
        for operation in jnp.moveaxis(chosen, -1, 0):
            stays = operation > SKIP
            place = jnp.where(stays, kinds * place + operation - CONV1, place)
            length += stays
        live = (chosen != NONE).all(axis=-1, keepdims=True)
        counts += live & ((first[length] + place)[..., None] == np.arange(len(PATHS)))
    return counts


def cell_shape(space: Space, genomes: Int[Array | np.ndarray, "*n 6"]) -> Float[Array, "*n 5"]:
    """Size of what a NAS-Bench-201 cell computes, each from 0 to about 1.

    Its live routes, the longest of them, the most convolutions of one, the convolutions of all, and
    whether one is 3x3. Error follows these most closely of all that can be said in five numbers.
    """
    counts = cell_paths(space, genomes)
    there = counts > 0
    length = np.array([len(path) for path in PATHS], np.float32)
    convolutions = np.array([sum(one != POOL for one in path) for path in PATHS], np.float32)
    large = np.array([CONV1 + 1 in path for path in PATHS])
    return jnp.stack(
        [
            counts.sum(axis=-1) / 4,
            (there * length).max(axis=-1) / 3,
            (there * convolutions).max(axis=-1) / 3,
            (counts * convolutions).sum(axis=-1) / 6,
            (there & large).any(axis=-1).astype(jnp.float32),
        ],
        axis=-1,
    )


def groups_of_features(
    space: Space | Box, genomes: Float[Array, "n genes"] | Int[Array, "n genes"]
) -> tuple[Features, ...]:
    """What a surrogate sees of a genome, in groups that matter more or less as a whole.

    Of NAS-Bench-201: choices, live choices, operation counts of both, `cell_paths`, `cell_shape`;
    latency follows the first ones, error the last. Of other spaces: each gene of `gene_features`;
    of a box each value. Traceable.
    """
    if isinstance(space, Box):
        return tuple(genomes[:, i : i + 1] for i in range(genomes.shape[1]))
    if isinstance(space.structure, NasBench201):
        choices = jnp.split(cell_operations(space, genomes), 2, axis=-1)
        counts = jnp.split(cell_counts(space, genomes), 2, axis=-1)
        return (*choices, *counts, cell_paths(space, genomes), cell_shape(space, genomes))
    values = gene_values(space, genomes)
    chosen = jnp.split(one_hot(space, genomes), np.cumsum(space.sizes)[:-1], axis=-1)
    return tuple(
        columns if apart else values[:, i : i + 1]
        for i, (columns, apart) in enumerate(zip(chosen, without_order(space), strict=True))
    )


class Scales(NamedTuple):
    """Of all groups of features, side by side."""

    group: Int[np.ndarray, "features"]
    mean: Float[np.ndarray, "features"]  # over the space
    scale: Float[np.ndarray, "features"]  # one of a group


def over_the_space(encoding: Callable[..., Any], space: Space | Box) -> Any:
    """What an encoding gives of `SAMPLE` genomes of a space, as numbers whatever is traced."""
    with jax.ensure_compile_time_eval():
        genomes = space.sample(jax.random.key(0), SAMPLE)
        return jax.jit(lambda genomes: encoding(space, genomes))(genomes)


@cache
def group_scales(space: Space | Box) -> Scales:
    """By the scale features of a group have a variance of 1 in all, unless they never change."""
    parts = [np.asarray(one, np.float64) for one in over_the_space(groups_of_features, space)]
    spreads = [np.sqrt(part.var(axis=0).sum()) or 1.0 for part in parts]
    widths = [part.shape[1] for part in parts]
    return Scales(
        np.repeat(np.arange(len(parts)), widths),
        np.concatenate([part.mean(axis=0) for part in parts]).astype(np.float32),
        np.repeat(spreads, widths).astype(np.float32),
    )


def grouped(
    space: Space | Box, genomes: Float[Array, "n genes"] | Int[Array | np.ndarray, "n genes"]
) -> Features:
    """All groups side by side, centred and scaled by `group_scales`."""
    scales = group_scales(space)
    features = jnp.concatenate(groups_of_features(space, jnp.asarray(genomes)), axis=1)
    return (features - scales.mean) / scales.scale


def standardisation(
    features: Features,
) -> tuple[Float[Array, "features"], Float[Array, "features"]]:
    """Mean and standard deviation of each feature over the training genomes.

    One that never changes gets deviation 1.
    """
    deviation = features.std(axis=0)
    return features.mean(axis=0), jnp.where(deviation > 0, deviation, 1.0)


def columns(space: Space, features: FeatureFunction) -> int:
    """How many features there are of a genome."""
    genome = jax.ShapeDtypeStruct((1, len(space.genes)), jnp.int32)
    return jax.eval_shape(lambda genomes: features(space, genomes), genome).shape[1]
