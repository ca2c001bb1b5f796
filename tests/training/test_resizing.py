"""Whoever trains resizes images as the augmentation says.

At one resolution nobody would notice another.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.data.augment import Augmentation, normalise, resized
from jaxnas.training import population, views
from jaxnas.training.loop import init_state, make_step
from jaxnas.training.method import TrainConfig
from jaxnas.training.sandwich import Sandwich
from jaxnas.training.views import on_device, training_batch

LEFT_ALONE = Augmentation(crop=0)


@pytest.mark.parametrize("resizing", ["antialiased", "bicubic"])
def test_of_one_network_and_of_a_population(digits, resizing):
    images = on_device(digits)
    rows = jnp.arange(6)
    expected = resized(
        normalise(digits.train.images[:6], digits.mean, digits.deviation), 5, resizing
    )
    augmentation = replace(LEFT_ALONE, resizing=resizing)
    found = training_batch(jax.random.key(0), images, rows, augmentation, 5)[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(population._plain(images, 5, augmentation)[:6], expected, atol=1e-6)


def test_of_a_supernet(digits, little, monkeypatch):
    """Its step is traced, not compiled."""
    net = little((6, 8))
    settings = TrainConfig(batch_size=8, random_subnets=1)
    used = []
    monkeypatch.setattr(
        views,
        "resized",
        lambda images, size, resizing: used.append(resizing) or resized(images, size, resizing),
    )
    method = Sandwich()
    step = make_step(net, method, settings, replace(LEFT_ALONE, resizing="bilinear"), 10)
    state = jax.eval_shape(
        lambda key: init_state(net, method, settings, 10, key), jax.random.key(0)
    )
    jax.eval_shape(
        lambda state, images, rows: step(state, jax.random.key(1), images, rows, resolution=6),
        state,
        on_device(digits),
        jnp.arange(8),
    )
    assert used == ["bilinear"]
