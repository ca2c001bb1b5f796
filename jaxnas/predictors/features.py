"""What a predictor sees of a genome."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.spaces.space import Space
from jaxnas.types import Genomes

Features = Float[Array, "n genes"]


def gene_values(space: Space, genomes: Genomes) -> Features:
    """The genes' values (16 channels, kernel 5, ...), float32, 0 where a gene does not matter (Once-for-All's convention); traceable."""
    return jnp.where(space.alive(genomes), space.values(genomes), 0).astype(jnp.float32)


def standardisation(features: Features) -> tuple[Float[Array, "genes"], Float[Array, "genes"]]:
    """Mean and standard deviation of each gene over the training genomes; a gene that never changes gets deviation 1."""
    deviation = features.std(axis=0)
    return features.mean(axis=0), jnp.where(deviation > 0, deviation, 1.0)
