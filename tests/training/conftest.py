"""A small part of the digits, and a supernet that trains on it in seconds."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from jaxnas.data.dataset import make_dataset
from jaxnas.spaces.mobilenet import MobileNet, Stage, mobilenet_space
from jaxnas.supernets.build import build


@pytest.fixture(scope="session")
def digits():
    """320 training images, 8x8 grey."""
    flat, labels = load_digits(return_X_y=True)
    images = np.asarray(15 * flat, np.uint8).reshape(-1, 8, 8, 1)
    parts = {"train": slice(0, 320), "search": slice(320, 400), "test": slice(400, 450)}
    splits = {name: (images[rows], np.asarray(labels)[rows]) for name, rows in parts.items()}
    return make_dataset("digits", tuple("0123456789"), **splits, calibration_images=64, seed=0)


@pytest.fixture(scope="session")
def net():
    """As `little`, of plainer blocks: for what compiles many steps, or whole trainings."""
    stage = Stage((8, 16), (1, 2), (3, 5), (2, 4), 2)
    structure = MobileNet((8,), (8, 16), 1, (stage,), (16,), 1, 10)
    return build(mobilenet_space("little", structure))


@pytest.fixture(scope="session")
def little():
    """A supernet that compiles in seconds: one stage of one or two blocks, `little(resolutions)`.

    12 pixels take all depthwise paths.
    """
    stage = Stage((8, 16), (1, 2), (3, 5), (2, 3, 4), 2, squeeze_excite=True)
    return lambda resolutions: build(
        mobilenet_space("little", MobileNet(resolutions, (8, 16), 1, (stage,), (16,), 1, 10))
    )
