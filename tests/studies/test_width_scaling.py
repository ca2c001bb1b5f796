"""Every network of a space on a chip, as sums of tables.

Against the chip asked of each, and the front against all pairs.
"""

import jax
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.hardware.memory_chip import RAPTOR
from jaxnas.spaces.mobilenet import mobilenet_space
from jaxnas.spaces.mobilenet_structure import MobileNet, Stage
from jaxnas.spaces.published import attentive_nas
from jaxnas.studies.width_scaling import Grid, every_network, front

STAGES = (
    Stage((8, 16), (1, 2), (3,), (1,), 1),
    Stage((16, 24, 32), (1, 2), (3, 5), (2, 3), 2, squeeze_excite=True),
)


@pytest.fixture(scope="module")
def space():
    return mobilenet_space(
        "small",
        MobileNet((24, 32), (8, 16), 2, STAGES, (32, 64), 3, 10, shortcut="identity", head="v2"),
    )


@pytest.mark.parametrize("choice", [0, 1])
def test_every_network_is_what_the_chip_says_of_it(space, choice):
    grid = every_network(space, RAPTOR, space.resolutions[choice])
    assert len(grid.mu) == space.size() // 2
    genomes = grid.genomes(np.arange(len(grid.mu)))
    assert (genomes[:, 0] == choice).all() and len(np.unique(genomes, axis=0)) == len(genomes)
    each = jax.jit(jax.vmap(lambda genome: RAPTOR(space.layers(genome)).figures))(genomes)
    np.testing.assert_allclose(grid.operations, each["operations"] / 1e6, rtol=1e-5)
    np.testing.assert_allclose(grid.mu, each["mu"], rtol=1e-5)
    np.testing.assert_allclose(grid.latency_ms, each["latency_ms"], rtol=1e-5)


def brute_force(grid: Grid, limit_ms: float):
    """The front, by comparing all pairs."""
    rows = [i for i in range(len(grid.mu)) if grid.latency_ms[i] <= limit_ms]
    ours = [(grid.operations[i], grid.mu[i]) for i in rows]
    return {
        point
        for point in ours
        if not any(a >= point[0] and b >= point[1] and (a, b) != point for a, b in ours)
    }


def test_the_front_is_that_of_all_pairs():
    rng = np.random.default_rng(0)
    for levels in (6, 1000):  # with ties, and without
        figures = (rng.integers(1, levels, 200).astype(np.float32) for _ in range(3))
        grid = Grid((200,), 0, 0, *figures)
        for limit_ms in (np.inf, float(np.median(grid.latency_ms))):
            found = front(grid, limit_ms)
            points = list(zip(grid.operations[found], grid.mu[found], strict=True))
            assert len(points) == len(set(points)) and set(points) == brute_force(grid, limit_ms)
            assert (np.diff(grid.operations[found]) > 0).all()
    assert len(front(grid, 0.5)) == 0


def test_what_cannot_be_tried(space):
    with pytest.raises(UserError, match="small has the resolutions 24, 32, got 28"):
        every_network(space, RAPTOR, 28)
    with pytest.raises(UserError, match="too many to try them all"):
        every_network(attentive_nas(), RAPTOR, 192)
