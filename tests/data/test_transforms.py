"""What is done to training images, against NumPy and Pillow."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from jaxnas.data import randaugment
from jaxnas.data.cutout import Cutout, patches
from jaxnas.data.mixing import Cutmix, Mixed, Mixup
from jaxnas.data.randaugment import COLOURS, RandAugment, changed, warped
from jaxnas.data.transforms import TRANSFORMS, make_transform, transformed
from jaxnas.errors import UserError

MEAN = jnp.array([0.2, 0.5, 0.8], jnp.float32)
LABELS = jnp.arange(40, dtype=jnp.int32) % 10


def pictures(n=40, size=12):
    """Smooth, as pictures are, with all levels."""
    coarse = np.random.default_rng(0).integers(0, 256, (n, 4, 4, 3), np.uint8)
    big = [Image.fromarray(one).resize((size, size), Image.Resampling.BICUBIC) for one in coarse]
    return np.stack([np.asarray(one) for one in big])


@pytest.fixture(scope="module")
def run():
    """All the names as one step has them: {names: a jitted function of key and images}."""
    made = {}

    def run(key, images, *names):
        if names not in made:
            made[names] = jax.jit(partial(transformed, names=names))
        found, labels = made[names](key, jnp.asarray(images), LABELS, MEAN)
        return np.asarray(found), labels

    return run


@pytest.mark.parametrize("name", TRANSFORMS)
def test_each_repeats_by_its_key_and_changes_most_images_within_their_range(run, name):
    images = pictures()
    found, _ = run(jax.random.key(0), images, name)
    again, _ = run(jax.random.key(0), images, name)
    other, _ = run(jax.random.key(1), images, name)
    assert found.dtype == np.float32 and found.shape == images.shape
    assert found.min() >= 0 and found.max() < 255.001
    np.testing.assert_array_equal(found, again)
    for one in (other, images):
        assert (np.abs(found - one).max((1, 2, 3)) > 1).mean() > 0.6


def test_cutout_blanks_a_square_that_may_lie_beyond_the_border(run):
    images = np.full((40, 12, 12, 3), 255, np.uint8)
    found, labels = run(jax.random.key(0), images, "cutout:size=0.5")
    blank = (found == np.asarray(255 * MEAN)).all(-1)
    assert labels is LABELS or (np.asarray(labels) == np.asarray(LABELS)).all()
    for one in blank:
        rows, columns = (np.flatnonzero(one.any(axis)) for axis in (1, 0))
        assert one.sum() == len(rows) * len(columns)
        for some in (rows, columns):
            cut = some[0] == 0 or some[-1] == 11
            assert len(some) == 6 or (cut and 3 <= len(some) < 6)
    # By chance 5 of 12 centres leave a side whole; of all places about as many occur.
    assert 0.6 < blank.mean() / (6 * 6 / 144) < 1 and len(np.unique(blank, axis=0)) > 30
    chosen, _ = run(jax.random.key(0), images, "cutout:size=0.5:probability=0.3")
    assert 3 <= (chosen != 255).any((1, 2, 3)).sum() <= 22


def test_mixup_is_the_weighted_mean_with_the_image_before(run):
    images = pictures()
    found, labels = run(jax.random.key(0), images, "mixup:alpha=1:probability=0.7")
    assert isinstance(labels, Mixed)
    share = np.asarray(labels.share)[:, None, None, None]
    before = np.roll(images, 1, axis=0)
    np.testing.assert_allclose(found, share * images + (1 - share) * before, atol=1e-3)
    assert (np.asarray(labels.first) == LABELS).all()
    assert (np.asarray(labels.second) == np.roll(LABELS, 1)).all()
    assert 18 <= (share < 1).sum() <= 36
    assert 0.3 < share[share < 1].mean() < 0.7


def test_cutmix_puts_a_patch_of_the_image_before_and_counts_its_pixels(run):
    images = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None, None], (40, 12, 12, 3))
    found, labels = run(jax.random.key(0), images, "cutmix")
    assert isinstance(labels, Mixed)
    own = found[..., 0] == images[..., 0]
    theirs = np.roll(images, 1, 0)[..., 0]
    np.testing.assert_array_equal(found[..., 0], np.where(own, images[..., 0], theirs))
    np.testing.assert_allclose(labels.share, own.mean((1, 2)), atol=1e-6)
    for one in ~own:
        assert one.sum() == one.any(0).sum() * one.any(1).sum()
    assert 0.4 < np.mean(labels.share) < 0.9 and len(np.unique(labels.share)) > 12


def test_of_two_that_mix_each_batch_has_one(run):
    images = pictures()
    names = ("mixup:alpha=1", "cutmix")
    mixed = []
    for seed in range(8):
        found, _ = run(jax.random.key(seed), images, *names)
        known = {found.tobytes() for found in (images.astype(np.float32), np.roll(images, 1, 0))}
        pixels = (found == images) | (found == np.roll(images, 1, 0))
        mixed.append(pixels.all() and found.tobytes() not in known)
    assert 0 < sum(mixed) < 8


OF_PILLOW = {
    "_same": lambda image, strength: image,
    "_stretched": lambda image, strength: ImageOps.autocontrast(image),
    "_brighter": lambda image, strength: ImageEnhance.Brightness(image).enhance(1 + strength),
    "_contrasted": lambda image, strength: ImageEnhance.Contrast(image).enhance(1 + strength),
    "_coloured": lambda image, strength: ImageEnhance.Color(image).enhance(1 + strength),
    "_sharpened": lambda image, strength: ImageEnhance.Sharpness(image).enhance(1 + strength),
    "_posterized": lambda image, strength: ImageOps.posterize(image, 6),
    "_solarized": lambda image, strength: ImageOps.solarize(image, 128),
}


@pytest.fixture(scope="module")
def change():
    return jax.jit(changed)


@pytest.mark.parametrize("sign", [1, -1])
def test_colours_change_as_pillow_changes_them(change, sign):
    images = pictures(8)
    strengths = jnp.full(8, 0.5 * sign, jnp.float32)
    for kind, colour in enumerate(COLOURS):
        kinds = jnp.full(8, kind, jnp.int32)
        found = change(jnp.asarray(images, jnp.float32), kinds, strengths)
        theirs = OF_PILLOW[colour.__name__]
        expected = [theirs(Image.fromarray(one), 0.45 * sign) for one in images]
        expected = np.stack([np.asarray(one, np.float32) for one in expected])
        assert np.abs(found - expected).max() <= 2, colour.__name__  # Pillow rounds on the way


def test_shapes_change_about_the_centre(change):
    images = pictures(4, 13).astype(np.float32)

    def mapped(*rows):
        maps = jnp.broadcast_to(jnp.array(rows, jnp.float32), (4, 2, 3))
        return np.asarray(jax.jit(warped)(jnp.asarray(images), maps))

    np.testing.assert_allclose(mapped((1, 0, 0), (0, 1, 0)), images, atol=1e-3)
    turned = mapped((0, 1, 0), (-1, 0, 0))
    np.testing.assert_allclose(turned, np.rot90(images, 1, (1, 2)), atol=0.05)
    shifted = mapped((1, 0, 2), (0, 1, 0))
    np.testing.assert_allclose(shifted[:, :-2], images[:, 2:], atol=1e-3)
    np.testing.assert_allclose(shifted[:, -1], images[:, -3], atol=1e-3)  # reflected
    for kind, moves in ((11, (1, 0)), (12, (0, 1))):
        kinds = jnp.full(4, kind, jnp.int32)
        pixels = 3 / (13 * randaugment.TRANSLATION)
        found = change(jnp.asarray(images), kinds, jnp.full(4, pixels, jnp.float32))
        rows, columns = (slice(None, -3) if move else slice(None) for move in moves)
        expected = np.roll(images, [-3 * move for move in moves], (1, 2))
        np.testing.assert_allclose(found[:, rows, columns], expected[:, rows, columns], atol=0.05)


def test_rotations_and_shears_read_where_their_maps_say(change):
    images = pictures(4, 13).astype(np.float32)

    def changed_by(kind, strength):
        kinds = jnp.full(4, kind, jnp.int32)
        return np.asarray(change(jnp.asarray(images), kinds, jnp.full(4, strength, jnp.float32)))

    quarter = np.rot90(images, 1, (1, 2))
    np.testing.assert_allclose(changed_by(8, 90 / randaugment.DEGREES), quarter, atol=0.05)
    rows, columns = np.indices((13, 13))
    moved = [np.abs(one) for one in (rows + columns - 6, columns + rows - 6)]
    reflected = [np.minimum(one, 24 - one) for one in moved]
    along_rows = images[:, reflected[0], columns]
    np.testing.assert_allclose(changed_by(9, 1 / randaugment.SHEAR), along_rows, atol=0.05)
    along_columns = images[:, rows, reflected[1]]
    np.testing.assert_allclose(changed_by(10, 1 / randaugment.SHEAR), along_columns, atol=0.05)


def test_magnitude_0_changes_no_shape():
    images = jnp.asarray(pictures(8), jnp.float32)
    found = changed(images, jnp.arange(8, dtype=jnp.int32) % 5 + 8, jnp.zeros(8))
    np.testing.assert_allclose(found, images, atol=1e-3)


def test_a_patch_of_no_side_is_none_and_of_the_whole_side_covers_a_quarter_or_more():
    inside = patches(jax.random.key(0), 6, 8, jnp.array([0.0, 1.0, 2.0]))
    assert inside[0].sum() == 0 and inside[1].sum() >= 12 and inside[2].all()


@pytest.mark.parametrize(
    "text, part",
    [
        ("cutmx", "unknown transform 'cutmx'; known: cutmix, cutout, mixup, randaugment"),
        ("cutout:side=1", "unknown setting 'side' of cutout; known: size, probability"),
        ("cutout:size=2", "size of cutout must be from 0 to 1, got 2"),
        ("cutmix:alpha=0", "alpha of cutmix must be from 0.01 to 100, got 0"),
        ("mixup:probability=-1", "probability of mixup must be from 0 to 1, got -1"),
        ("randaugment:count=0", "count of randaugment must be from 1 to 10, got 0"),
        ("randaugment:magnitude=x", "magnitude of randaugment must be a number"),
    ],
)
def test_names_and_settings_that_make_no_sense_are_refused(text, part):
    with pytest.raises(UserError, match=part):
        make_transform(text)


def test_names_take_settings():
    assert make_transform("cutout:size=0.25") == Cutout(0.25)
    assert make_transform("cutmix:alpha=2:probability=0.5") == Cutmix(2, 0.5)
    assert make_transform("mixup") == Mixup() and make_transform("randaugment") == RandAugment()
