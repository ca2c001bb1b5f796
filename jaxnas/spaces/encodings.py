"""What a predictor sees of a genome."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxnas.spaces.nasbench201 import EDGES, NONE, OPERATIONS
from jaxnas.spaces.space import Space

Features = Float[Array, "n features"]
FeatureFunction = Callable[[Space, Int[Array | np.ndarray, "n genes"]], Features]


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
