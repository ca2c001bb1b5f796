"""A space of 31 genes, the shape of AttentiveNAS's, and a latency for it."""

import numpy as np
import pytest

from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space


@pytest.fixture(scope="session")
def space():
    """Resolution, 9 widths, 7 depths, 7 kernels, 7 expands; one gene has a single choice."""
    sizes = (4, 2, 2, 2, 2, 2, 3, 4, 2, 2, 2, 3, 4, 4, 6, 6, 2, *[2] * 7, 1, *[3] * 6)
    genes = tuple(
        Gene(f"g{i}", tuple(range(8, 8 + 4 * size, 4)), static=i == 0)
        for i, size in enumerate(sizes)
    )
    return Space("toy", genes)


@pytest.fixture(scope="session")
def latency_ms(space):
    """Additive: every choice of every gene has a price; `noise` is relative."""
    draw = np.random.default_rng(1)
    rises = (
        draw.uniform(0.2, 1, (31, space.sizes.max()))
        * draw.uniform(0.2, 2, (31, 1))
        / space.sizes[:, None]
    )

    def measure(genomes, noise=0.0):
        exact = np.cumsum(rises, axis=1)[np.arange(31), np.asarray(genomes)].sum(axis=1)
        return (exact * np.random.default_rng(0).normal(1, noise, len(exact))).astype(np.float32)

    return measure
