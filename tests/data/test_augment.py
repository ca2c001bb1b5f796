from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxnas.data.augment import augment, normalise, resized
from jaxnas.errors import UserError


def images(n=64, size=6, channels=3):
    return np.random.default_rng(0).integers(0, 256, (n, size, size, channels), np.uint8)


def run(seed, batch, crop, flip):
    return np.asarray(
        jax.jit(augment, static_argnums=(2, 3))(
            jax.random.key(seed), jnp.asarray(batch), crop, flip
        )
    )


def views(image, crop, flip):
    """Every image that augmentation may make of this one, by NumPy's own reflecting pad.

    {(row, column, mirrored): bytes}.
    """
    padded = np.pad(image, ((crop, crop), (crop, crop), (0, 0)), mode="reflect")
    size = len(image)
    found = {}
    for row in range(2 * crop + 1):
        for column in range(2 * crop + 1):
            view = padded[row : row + size, column : column + size]
            found[row, column, False] = view.tobytes()
            if flip:
                found[row, column, True] = view[:, ::-1].tobytes()
    return found


def drawn(before, after, crop, flip):
    """Which shift and mirror made each image; KeyError if none did."""
    result = []
    for old, new in zip(before, after, strict=True):
        which = {content: name for name, content in views(old, crop, flip).items()}
        result.append(which[new.tobytes()])
    return result


@pytest.mark.parametrize("crop", [0, 1, 5])
@pytest.mark.parametrize("flip", [False, True])
def test_each_image_is_a_crop_of_its_reflecting_pad(crop, flip):
    batch = images()
    after = run(0, batch, crop, flip)
    assert after.dtype == np.uint8
    names = drawn(batch, after, crop, flip)
    assert len(set(names)) > (1 if crop or flip else 0)
    assert {mirrored for *_, mirrored in names} == ({False, True} if flip else {False})


def test_the_oracle_notices_another_padding_and_a_swapped_image():
    batch = images()
    after = run(0, batch, 2, True)
    with pytest.raises(KeyError):
        drawn(batch, np.roll(after, 1, axis=0), 2, True)
    repeated = np.pad(batch, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="symmetric")[:, :6, :6]
    with pytest.raises(KeyError):
        drawn(batch, repeated, 2, True)


def test_all_shifts_and_mirrors_occur_about_equally_often():
    names = drawn(images(1800), run(1, images(1800), 1, True), 1, True)
    counts = np.array([names.count(name) for name in views(images(1)[0], 1, True)])
    assert len(counts) == 18
    assert counts.sum() == 1800
    assert counts.min() > 60 and counts.max() < 145  # 100 expected, deviation 10


def test_nothing_asked_for_changes_nothing():
    assert (run(0, images(), 0, False) == images()).all()


def test_other_keys_draw_other_shifts():
    assert (run(0, images(), 1, True) == run(0, images(), 1, True)).all()
    assert (run(0, images(), 1, True) != run(1, images(), 1, True)).any()


@pytest.mark.parametrize("crop", [-1, 6, 100])
def test_a_shift_beyond_the_image_is_an_error(crop):
    with pytest.raises(
        UserError, match=f"data.crop must be at least 0 and below the image size 6, got {crop}"
    ):
        run(0, images(), crop, False)


def test_normalise_gives_mean_0_and_deviation_1():
    batch = images()
    scaled = batch / 255
    mean = scaled.mean((0, 1, 2), dtype=np.float32)
    deviation = scaled.std((0, 1, 2), dtype=np.float32)
    result = np.asarray(jax.jit(normalise)(batch, mean, deviation))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, (scaled - mean) / deviation, atol=1e-5)
    np.testing.assert_allclose(result.std((0, 1, 2)), 1, atol=1e-4)
    assert np.abs(result - (scaled - mean)).max() > 0.1  # the comparison can fail


def test_one_program_serves_every_key():
    traces = []

    @jax.jit
    def traced(key, batch):
        traces.append(1)
        return augment(key, batch, 1, True)

    for seed in range(3):
        traced(jax.random.key(seed), jnp.asarray(images()))
    assert len(traces) == 1


def test_resized():
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 3)), jnp.float32)
    np.testing.assert_array_equal(resized(images, 8), images)
    assert resized(images, 6).shape == (2, 6, 6, 3)
    np.testing.assert_allclose(resized(jnp.full((1, 8, 8, 1), 2.5), 12), 2.5, rtol=1e-6)
    assert jax.eval_shape(partial(resized, resolution=24), images).dtype == jnp.float32


def test_a_resized_pixel_by_hand():
    """8 to 16 pixels: the fourth lies a quarter of the way from pixel 1 to pixel 2.

    Keys' kernel with a = -0.75.
    """
    row = np.array([3, -1, 4, 1, -5, 9, 2, 6], np.float32)
    images = jnp.broadcast_to(row[None, :, None, None], (1, 8, 8, 1))
    # At distances 1.25, 0.25, 0.75 and 1.75.
    weights = np.array([-0.10546875, 0.87890625, 0.26171875, -0.03515625])
    np.testing.assert_allclose(
        resized(images, 16, "bicubic")[0, 3, 0, 0], weights @ row[:4], rtol=1e-5
    )


PILLOW = {"antialiased": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@pytest.mark.parametrize("resizing", PILLOW)
@pytest.mark.parametrize("resolution", [5, 24, 31, 40, 51])
def test_resized_as_pillow_does(resizing, resolution):
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 1)).astype(np.float32)
    found = resized(jnp.asarray(images), resolution, resizing)
    for ours, image in zip(found, images, strict=True):
        theirs = Image.fromarray(image[:, :, 0]).resize((resolution, resolution), PILLOW[resizing])
        np.testing.assert_allclose(ours[:, :, 0], np.asarray(theirs), atol=2e-6)
    # The comparison can fail.
    assert np.abs(found - resized(jnp.asarray(images), resolution, "bicubic")).max() > 0.1


def test_an_unknown_resizing_lists_the_known_ones():
    with pytest.raises(
        UserError, match="unknown resizing 'nearest'; known: antialiased, bicubic, bilinear"
    ):
        resized(jnp.zeros((1, 8, 8, 1)), 4, "nearest")


@pytest.mark.parametrize("resolution", [24, 28, 36, 51])
def test_resized_as_pytorch_does(resolution):
    torch = pytest.importorskip("torch", reason="the peer, of the extra peers, is not installed")
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    peer = torch.nn.functional.interpolate(
        torch.tensor(images.transpose(0, 3, 1, 2)), (resolution, resolution), mode="bicubic"
    )
    np.testing.assert_allclose(
        resized(jnp.asarray(images), resolution, "bicubic"),
        peer.numpy().transpose(0, 2, 3, 1),
        atol=2e-5,
    )
