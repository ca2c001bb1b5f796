"""Images for recalibration, varied as published weights were trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.data.augment import normalise, resized
from jaxnas.data.preparation import (
    LEAST_AREA,
    RECALIBRATIONS,
    WIDEST,
    Preparation,
    calibration_images,
    resized_crops,
)

MEAN = np.array([0.5, 0.4, 0.3], np.float32)
DEVIATION = np.array([0.2, 0.3, 0.4], np.float32)
IMAGES = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), np.uint8)


def prepared(resolution: int, resizing: str, recalibration: str):
    return np.asarray(
        calibration_images(
            jax.random.key(0),
            IMAGES,
            MEAN,
            DEVIATION,
            resolution,
            Preparation(resizing, recalibration),
        )
    )


def test_plain_images_are_resized_alone():
    expected = resized(normalise(IMAGES, MEAN, DEVIATION), 12, "bilinear")
    np.testing.assert_array_equal(prepared(12, "bilinear", "plain"), expected)


def test_padded_crops_have_black_borders():
    """Each is a part of NumPy's own padded image.

    Shifted by two pixels at most, mirrored or not.
    """
    found = np.round((prepared(16, "bicubic", "padded_crop") * DEVIATION + MEAN) * 255).astype(
        np.uint8
    )
    shifts = []
    for before, after in zip(IMAGES, found, strict=True):
        padded = np.pad(before, ((2, 2), (2, 2), (0, 0)))
        views = {
            (i, j, m): padded[i : i + 16, j : j + 16][:, :: -1 if m else 1]
            for i in range(5)
            for j in range(5)
            for m in (False, True)
        }
        shifts += [name for name, view in views.items() if np.array_equal(view, after)]
    assert (
        len(shifts) == len(IMAGES)
        and len({(i, j) for i, j, _ in shifts}) > 20
        and {m for *_, m in shifts} == {False, True}
    )


def test_resized_crops_are_parts_of_the_right_sizes_and_shapes():
    """Of an image whose pixels say where they are, a crop's slopes are its sizes.

    And its first pixel its corner.
    """
    place = jnp.arange(32, dtype=jnp.float32) + 0.5
    image = jnp.stack(
        [jnp.broadcast_to(place[:, None], (32, 32)), jnp.broadcast_to(place, (32, 32))], axis=-1
    )
    crops = np.asarray(
        resized_crops(jax.random.key(1), jnp.broadcast_to(image, (400, 32, 32, 2)), 32)
    )
    inner = crops[:, 8:24, 8:24]  # beside the borders, where nothing can be averaged from outside
    high = np.diff(inner[:, :, 0, 0]).mean(1) * 32
    wide = np.diff(inner[:, 0, :, 1]).mean(1) * 32
    area = high * np.abs(wide) / 32**2
    shape = np.abs(wide) / high
    assert (
        LEAST_AREA - 1e-3 < area.min() < 0.12
        and 0.85 < area.max() < 1 + 1e-3
        and abs(area.mean() - 0.53) < 0.05
    )
    assert 1 / WIDEST - 1e-3 < shape.min() < 0.78 and 1.29 < shape.max() < WIDEST + 1e-3
    assert 140 < (wide < 0).sum() < 260  # mirrored
    top = inner[:, 0, 0, 0] - high * 8.5 / 32
    assert (
        top.min() > -1e-2 and (top + high).max() < 32 + 1e-2 and len(np.unique(np.round(top))) > 15
    )


@pytest.mark.parametrize("resizing", ["bicubic", "bilinear"])
def test_crops_are_as_large_as_the_network_takes_them(resizing):
    assert prepared(12, resizing, "resized_crop").shape == (64, 12, 12, 3)
    assert len({prepared(16, resizing, one).tobytes() for one in RECALIBRATIONS}) == 3
