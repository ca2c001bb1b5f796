"""Images that are prepared a batch at a time: as those that were prepared at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.data.augment import normalise, resized
from jaxnas.data.pixels import Pixels
from jaxnas.networks.chunks import in_batches_of
from jaxnas.networks.op import Op
from jaxnas.networks.subnet import Subnet
from jaxnas.training.evaluate import accuracy

MEAN = np.array([0.4, 0.5, 0.6], np.float32)
DEVIATION = np.array([0.2, 0.3, 0.25], np.float32)


@pytest.fixture(scope="module")
def pixels():
    """70 images, more than a micro-batch; each has one channel that is brighter than the others."""
    images = np.random.default_rng(0).integers(0, 128, (70, 8, 8, 3), np.uint8)
    images[np.arange(70), :, :, np.arange(70) % 3] += 120
    return Pixels(jnp.asarray(images), jnp.asarray(MEAN), jnp.asarray(DEVIATION), 6)


@pytest.fixture(scope="module")
def prepared(pixels):
    return resized(normalise(pixels.images, MEAN, DEVIATION), 6)


def test_its_shape_and_rows_are_those_of_the_prepared(pixels, prepared):
    assert (len(pixels), pixels.shape) == (70, prepared.shape)
    np.testing.assert_allclose(pixels[60:300], prepared[60:], atol=1e-5)


def test_batches_see_what_they_would_see(pixels, prepared):
    found, expected = (
        in_batches_of(32, lambda part: part.mean((1, 2)), images) for images in (pixels, prepared)
    )
    assert found.shape == (70, 3)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (
        jnp.abs(found - in_batches_of(32, lambda part: part.mean((1, 2)), prepared[::-1])).max()
        > 0.1
    )


def test_accuracy_is_the_same_and_takes_it_as_an_argument(pixels, prepared):
    """A network that answers the brightest channel, of normalised images."""
    ops = (Op("pool", "", (-1,), 1, 1, 3, 3), Op("linear", "a", (0,), 1, 1, 3, 3))
    identity = Subnet(ops, {"a": {"kernel": jnp.eye(3, dtype=jnp.float32)}}, {})
    labels = jnp.asarray(np.arange(70) % 3 * (np.arange(70) < 50), jnp.int32)
    found = accuracy(identity, pixels, labels)
    assert found == accuracy(identity, prepared, labels)
    assert 0.7 < found < 0.9
    assert len(jax.tree.leaves(pixels)) == 3
