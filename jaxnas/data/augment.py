"""Pixels to floats, and random shifts and mirror images; pure, jitted by their caller, on the device."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from jaxnas.errors import UserError
from jaxnas.types import PRNGKey


@dataclass(frozen=True)
class Augmentation:
    """How training images are varied."""

    crop: int = 1
    """Shift each image by up to this many pixels along both axes."""
    flip: bool = False
    """Mirror every other image left-right."""


def normalise(
    images: UInt8[Array | np.ndarray, "*n height width channels"],
    mean: Float[Array | np.ndarray, "channels"],
    deviation: Float[Array | np.ndarray, "channels"],
) -> Float[Array, "*n height width channels"]:
    """Images scaled to [0, 1], less `mean`, over `deviation`, float32."""
    return (jnp.asarray(images, jnp.float32) / 255 - mean) / deviation


@partial(jax.jit, static_argnames="resolution")
def resized(images: Float[Array, "n h w c"], resolution: int) -> Float[Array, "n r r c"]:
    """Bicubic, as AttentiveNAS resizes inside its network; the images themselves where they have the resolution already."""
    _, height, width, _ = images.shape
    if height == width == resolution:
        return images
    rows, columns = bicubic_weights(height, resolution), bicubic_weights(width, resolution)
    return jnp.einsum("nhwc,rh,qw->nrqc", images, rows, columns, precision=jax.lax.Precision.HIGHEST)


def bicubic_weights(size: int, resolution: int) -> Float[np.ndarray, "resolution size"]:
    """What each pixel contributes to each of the resized: Keys' kernel with a = -0.75, pixel centres at halves, borders repeated.

    So PyTorch's `interpolate(mode="bicubic")`, which smooths nothing where it shrinks (Keys, "Cubic convolution interpolation", 1981).
    """
    centres = (np.arange(resolution) + 0.5) * size / resolution - 0.5
    first = np.floor(centres).astype(int) - 1
    weights = np.zeros((resolution, size), np.float32)
    for tap in range(4):
        x = np.abs(centres - (first + tap))
        near, far = 1.25 * x**3 - 2.25 * x**2 + 1, -0.75 * (x**3 - 5 * x**2 + 8 * x - 4)
        np.add.at(weights, (np.arange(resolution), np.clip(first + tap, 0, size - 1)), np.where(x <= 1, near, far))
    return weights


def augment(
    key: PRNGKey, images: UInt8[Array, "n height width channels"], crop: int, flip: bool
) -> UInt8[Array, "n height width channels"]:
    """Shift each image by up to `crop` pixels along both axes and, if `flip`, mirror half of them left-right.

    Each image draws its own shift, uniform over -crop..crop per axis, and its own coin. What moves in at a border is the
    image reflected there (the border pixel is not repeated): padding by `crop` in mode "reflect", then a random crop.
    """
    n, height, width, _ = images.shape
    if not 0 <= crop < min(height, width):
        raise UserError(f"data.crop must be at least 0 and below the image size {min(height, width)}, got {crop}: choose a smaller shift")
    shift_key, flip_key = jax.random.split(key)
    shifts = jax.random.randint(shift_key, (2, n, 1), -crop, crop + 1, jnp.int32)
    rows = _reflect(jnp.arange(height, dtype=jnp.int32) + shifts[0], height)
    columns = _reflect(jnp.arange(width, dtype=jnp.int32) + shifts[1], width)
    if flip:
        columns = jnp.where(jax.random.bernoulli(flip_key, jnp.float32(0.5), (n, 1)), columns[:, ::-1], columns)
    # Whole rows, then columns: on a CPU as fast as vmapped slices of a padded copy, and mirroring is free.
    return jax.vmap(lambda image, row, column: image[row][:, column])(images, rows, columns)


def _reflect(index: Int[Array, "n size"], size: int) -> Int[Array, "n size"]:
    """Indices up to one image beyond either border, folded back into it."""
    index = jnp.abs(index)
    return jnp.minimum(index, 2 * (size - 1) - index)
