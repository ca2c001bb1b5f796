"""Baselines with random weights, norms and statistics."""

import jax
import numpy as np
import pytest

from jaxnas.baselines.catalogue import init
from jaxnas.networks.subnet import Subnet


def fresh(key, ops):
    subnet = init(key, ops)
    return subnet.weights, subnet.stats


@pytest.fixture(scope="session")
def random_subnet():
    """(ops, gain) -> Subnet, all its arrays far from those of an initialisation.

    `gain` keeps sums of branches in bounds.
    """

    def draw(ops, gain=1.0):
        shapes = jax.eval_shape(lambda key: fresh(key, ops), jax.random.key(0))
        r = np.random.default_rng(0)
        draws = {
            "kernel": lambda shape: r.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1])),
            "scale": lambda shape: gain * r.uniform(0.5, 1.5, shape),
            "shift": lambda shape: r.normal(size=shape) / 2,
            "bias": lambda shape: r.normal(size=shape) / 3,
            "mean": lambda shape: r.normal(size=shape) / 2,
            "var": lambda shape: r.uniform(0.5, 2, shape),
        }
        arrays = jax.tree.map_with_path(
            lambda path, leaf: np.asarray(draws[path[-1].key](leaf.shape), np.float32), shapes
        )
        return Subnet(ops, *jax.device_put(arrays))

    return draw


@pytest.fixture(scope="session")
def images():
    """Noise around a colour of each image's own, lest the logits hardly differ."""
    r = np.random.default_rng(1)
    return (r.normal(size=(2, 1, 1, 3)) + r.normal(size=(2, 32, 32, 3))).astype(np.float32)
