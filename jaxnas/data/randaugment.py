"""RandAugment: random changes of colours and of shape (Cubuk et al. 2020).

Of its fourteen operations all but the equalisation of histograms, of which each image would need
its own. All run for a whole batch, and each image takes the result of one: there is one program.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Int

from jaxnas.data.cutout import check_number
from jaxnas.types import PRNGKey

STRONGEST = 30  # magnitude
BLEND = 0.9  # of brightness, contrast, saturation and sharpness, more or less, at the most
SHEAR = 0.3
TRANSLATION = 150 / 331  # of the image's side
DEGREES = 30.0
GREY = np.array([299, 587, 114], np.float32) / 1000  # of red, green and blue, as Pillow's "L"
SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13  # Pillow's filter
Images = Float[Array, "n h w c"]
Strengths = Float[Array, "n"]


@dataclass(frozen=True)
class RandAugment:
    """So many changes to each image, drawn from thirteen (Cubuk et al. 2020)."""

    count: int = 2
    """Changes, one after the other; an image may draw that of nothing."""
    magnitude: float = 9.0
    """How strong they are, up to 30."""

    def __post_init__(self):
        check_number("count of randaugment", self.count, 1, 10)
        check_number("magnitude of randaugment", self.magnitude, 0, STRONGEST)

    def __call__(self, key: PRNGKey, images: Images, mean: Float[Array, "c"]) -> Images:
        """Of pixels from 0 to 255; what comes in at a border is the image reflected there."""
        for one in jax.random.split(key, self.count):
            kind_key, sign_key = jax.random.split(one)
            n = len(images)
            kinds = jax.random.randint(kind_key, (n,), 0, KINDS, jnp.int32)
            signs = jnp.where(jax.random.bernoulli(sign_key, jnp.float32(0.5), (n,)), 1.0, -1.0)
            strengths = signs.astype(jnp.float32) * jnp.float32(self.magnitude / STRONGEST)
            images = changed(images, kinds, strengths)
        return images


def changed(images: Images, kinds: Int[Array, "n"], strengths: Strengths) -> Images:
    """Each image after the change of its kind, an index into `COLOURS`, then into `SHAPES`."""
    which = kinds[:, None, None, None]
    results = [colour(images, strengths[:, None, None, None]) for colour in COLOURS]
    coloured = jnp.select([which == i for i in range(len(COLOURS))], results, images)
    size = images.shape[1]
    maps = jnp.stack([shape(strengths, size) for shape in SHAPES])
    shaped = kinds >= len(COLOURS)
    own = maps[jnp.maximum(kinds - len(COLOURS), 0), jnp.arange(len(kinds))]
    same = jnp.eye(2, 3, dtype=jnp.float32)
    return warped(coloured, jnp.where(shaped[:, None, None], own, same))


def warped(images: Images, maps: Float[Array, "n 2 3"]) -> Images:
    """Images that read each pixel at the place that an affine map gives, bilinear.

    Rows and columns from the image's centre; the third column is a shift.
    """
    height, width = images.shape[1:3]
    middle = jnp.array([height - 1, width - 1], jnp.float32) / 2
    grid = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij"), -1)
    centred = grid.astype(jnp.float32) - middle

    def one(image: Array, affine: Array) -> Array:
        at = jnp.einsum("ij,hwj->ihw", affine[:, :2], centred, precision="highest")
        at = at + (affine[:, 2] + middle)[:, None, None]
        read = jax.vmap(lambda band: map_coordinates(band, (at[0], at[1]), 1, "mirror"), -1, -1)
        return read(image)

    return jax.vmap(one)(images, maps)


def _same(images: Images, strengths: Array) -> Images:
    return images


def _stretched(images: Images, strengths: Array) -> Images:
    """Autocontrast: each channel from its darkest to its brightest pixel is stretched to all."""
    least = images.min((1, 2), keepdims=True)
    most = images.max((1, 2), keepdims=True)
    scale = 255 / jnp.maximum(most - least, 1)
    return jnp.where(most > least, (images - least) * scale, images)


def _brighter(images: Images, strengths: Array) -> Images:
    return _blended(jnp.zeros_like(images), images, strengths)


def _contrasted(images: Images, strengths: Array) -> Images:
    return _blended(_grey(images).mean((1, 2, 3), keepdims=True), images, strengths)


def _coloured(images: Images, strengths: Array) -> Images:
    return _blended(_grey(images), images, strengths)


def _sharpened(images: Images, strengths: Array) -> Images:
    """Away from, or to, a smoothed image, whose border is the image's own."""
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    height, width = images.shape[1:3]
    smooth = sum(
        float(SMOOTH[i, j]) * padded[:, i : i + height, j : j + width]
        for i in range(3)
        for j in range(3)
    )
    inside = jnp.zeros((height, width, 1), bool).at[1:-1, 1:-1].set(True)
    return _blended(jnp.where(inside, smooth, images), images, strengths)


def _posterized(images: Images, strengths: Array) -> Images:
    """Fewer levels: from 8 bits down to 4."""
    step = 2 ** jnp.round(4 * jnp.abs(strengths))
    return jnp.floor(images / step) * step


def _solarized(images: Images, strengths: Array) -> Images:
    """The brightest pixels inverted."""
    return jnp.where(images >= 256 * (1 - jnp.abs(strengths)), 255 - images, images)


def _blended(other: Array, images: Images, strengths: Array) -> Images:
    """Images moved away from another, or towards it."""
    return jnp.clip(other + (1 + BLEND * strengths) * (images - other), 0, 255)


def _grey(images: Images) -> Float[Array, "n h w 1"]:
    if images.shape[-1] != len(GREY):
        return images.mean(-1, keepdims=True)
    return (images * GREY).sum(-1, keepdims=True)


def _map(strengths: Strengths, *rows: Array | float) -> Float[Array, "n 2 3"]:
    numbers = [jnp.broadcast_to(jnp.asarray(one, jnp.float32), strengths.shape) for one in rows]
    return jnp.stack(numbers, -1).reshape(-1, 2, 3)


def _rotation(strengths: Strengths, size: int) -> Float[Array, "n 2 3"]:
    angle = strengths * np.float32(np.deg2rad(DEGREES))
    cos = jnp.cos(angle)
    sin = jnp.sin(angle)
    return _map(strengths, cos, sin, 0, -sin, cos, 0)


def _shear_rows(strengths: Strengths, size: int) -> Float[Array, "n 2 3"]:
    return _map(strengths, 1, SHEAR * strengths, 0, 0, 1, 0)


def _shear_columns(strengths: Strengths, size: int) -> Float[Array, "n 2 3"]:
    return _map(strengths, 1, 0, 0, SHEAR * strengths, 1, 0)


def _shift_rows(strengths: Strengths, size: int) -> Float[Array, "n 2 3"]:
    return _map(strengths, 1, 0, TRANSLATION * size * strengths, 0, 1, 0)


def _shift_columns(strengths: Strengths, size: int) -> Float[Array, "n 2 3"]:
    return _map(strengths, 1, 0, 0, 0, 1, TRANSLATION * size * strengths)


COLOURS = (
    _same,
    _stretched,
    _brighter,
    _contrasted,
    _coloured,
    _sharpened,
    _posterized,
    _solarized,
)
SHAPES = (_rotation, _shear_rows, _shear_columns, _shift_rows, _shift_columns)
KINDS = len(COLOURS) + len(SHAPES)
