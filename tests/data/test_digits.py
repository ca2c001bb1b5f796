from typing import Any, cast

import numpy as np
import pytest
from sklearn.datasets import load_digits

from jaxnas.data import digits
from jaxnas.errors import UserError

SETTINGS = {"data_dir": None, "calibration_images": 256, "seed": 0}


def bilinear(image):
    """Twice the size, in plain Python.

    The four nearest pixels, weighted by the distance between centres.
    """
    result = np.zeros((16, 16))
    for row in range(16):
        for column in range(16):
            y = np.clip((row - 0.5) / 2, 0, 7)
            x = np.clip((column - 0.5) / 2, 0, 7)
            top = min(int(y), 6)
            left = min(int(x), 6)
            patch = image[top : top + 2, left : left + 2]
            result[row, column] = (
                np.array([top + 1 - y, y - top]) @ patch @ np.array([left + 1 - x, x - left])
            )
    return np.floor(result * 255 / 16 + 0.5).astype(np.uint8)


def test_all_digits_are_there_and_upscaled_bilinearly():
    data = digits.load("", search_images=400, **SETTINGS)
    assert [len(split) for split in (data.train, data.search, data.test)] == [1038, 400, 359]
    assert (data.image_size, data.channels, data.classes) == ((16, 16), 1, 10)
    raw = cast(Any, load_digits())
    found = {}
    for split in (data.train, data.search, data.test):
        found |= {
            image.tobytes(): label
            for image, label in zip(split.images[..., 0], split.labels, strict=True)
        }
    assert len(found) == len(raw.images)
    for image, label in zip(raw.images[:100], raw.target[:100], strict=True):
        assert found[bilinear(image).tobytes()] == label
    assert bilinear(raw.images[0].T).tobytes() not in found  # the comparison can fail


def test_the_test_split_is_a_fifth_of_every_class():
    test = np.bincount(digits.load("", search_images=400, **SETTINGS).test.labels)
    assert np.abs(test - np.bincount(cast(Any, load_digits()).target) / 5).max() <= 1


def test_an_argument_or_too_many_search_images_is_an_error():
    with pytest.raises(UserError, match="digits takes no argument, got digits:8"):
        digits.load("8", search_images=400, **SETTINGS)
    with pytest.raises(
        UserError, match="below half of the 1438 training images, got 719: choose at most 718"
    ):
        digits.load("", search_images=719, **SETTINGS)
