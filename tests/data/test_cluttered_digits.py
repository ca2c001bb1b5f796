"""The digits among fragments of others."""

import numpy as np
import pytest

from jaxnas.data import cluttered_digits
from jaxnas.data.cluttered_digits import cluttered
from jaxnas.errors import UserError

DIGITS = np.random.default_rng(0).uniform(0.5, 1, (20, 8, 8))
LABELS = np.arange(20) % 10


def load(seed=0, search_images=200):
    return cluttered_digits.load(
        "", data_dir=None, search_images=search_images, calibration_images=64, seed=seed
    )


@pytest.fixture(scope="module")
def data():
    return load()


def test_splits_have_the_sizes_asked_for_and_all_classes(data):
    assert data.train.images.shape[1:] == (32, 32, 1) and data.train.images.dtype == np.uint8
    assert len(data.search.images) == 200 and len(data.test.images) == 3 * 359
    assert len(data.train.images) == 3 * (1797 - 359 - 67)
    for split in (data.train, data.search, data.test):
        counts = np.bincount(split.labels, minlength=10)
        assert counts.min() > 0.7 * counts.mean()


def test_the_test_split_is_one_for_all_seeds_and_the_others_are_not(data):
    other = load(seed=1)
    np.testing.assert_array_equal(other.test.images, data.test.images)
    assert not np.array_equal(other.search.images, data.search.images)
    assert (load().train.images == data.train.images).all()


def test_the_digit_stands_whole_over_the_fragments():
    """Its ink is there wherever it would be on an empty image, but for the noise."""
    images, labels = cluttered(DIGITS, LABELS, 2, seed=0)
    assert (labels == np.tile(LABELS, 2)).all() and images.shape == (40, 32, 32, 1)
    ink = (images > 255 * (cluttered_digits.CONTRAST * 0.5 - 4 * cluttered_digits.NOISE)).sum(
        axis=(1, 2, 3)
    )
    assert (ink > 0.8 * cluttered_digits.SIZES[0] ** 2).all()
    assert (images[:20] != images[20:]).any(axis=(1, 2, 3)).all()  # each copy is another image


def test_an_argument_is_refused():
    with pytest.raises(UserError, match="takes no argument"):
        cluttered_digits.load("3", data_dir=None, search_images=9, calibration_images=9, seed=0)
