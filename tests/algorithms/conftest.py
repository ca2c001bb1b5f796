"""A toy problem with a front worth searching for.

Many integer genes, two objectives that conflict.
"""

import numpy as np
import pytest

from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space


@pytest.fixture(scope="session")
def space():
    """31 genes of 1 to 5 choices; genes 0 and 7 have one."""
    sizes = [1 if i in (0, 7) else 2 + i % 4 for i in range(31)]
    return Space("toy", tuple(Gene(f"g{i}", tuple(range(size))) for i, size in enumerate(sizes)))


@pytest.fixture(scope="session")
def small_space():
    """2 * 3 genomes, so that duplicates cannot be avoided."""
    return Space("small", (Gene("a", (0, 1)), Gene("b", (0, 1, 2))))


@pytest.fixture(scope="session")
def evaluate(space):
    """Cost, which rises with every gene, and error, which falls.

    With other weights and interactions.
    """
    draw = np.random.default_rng(0)
    price, worth = draw.uniform(0.5, 2, (2, len(space.genes)))

    def fitness(genomes):
        cost = genomes @ price
        fit = 1 - np.abs(np.diff(genomes, axis=1)).sum(axis=1) / 60
        return np.stack([cost, 100 - fit * (np.sqrt(genomes) @ worth)], axis=1).astype(np.float32)

    return fitness
