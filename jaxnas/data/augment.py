"""Pixels to floats, images of another size, and random shifts and mirror images.

Pure, jitted by their caller, on the device.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from jaxnas.errors import UserError, choose
from jaxnas.types import PRNGKey


@dataclass(frozen=True)
class Augmentation:
    """How images come to a network: resized, and in training varied."""

    crop: int = 1
    """Shift each image by up to this many pixels along both axes."""
    flip: bool = False
    """Mirror every other image left-right."""
    resizing: str | None = None
    """How images become as large as a network takes them. antialiased: bicubic as Pillow does,
    smoothed where they shrink; bilinear: Pillow's; bicubic: PyTorch's, which smooths nothing. By
    default as the weights were trained that the supernet starts from (AttentiveNAS: bicubic,
    Once-for-All: bilinear), else antialiased."""
    transforms: tuple[str, ...] = ()
    """What else is done to training images: cutout, randaugment, and of mixup and cutmix, where
    both are named, one for each batch. Settings of their own follow a name: cutout:size=0.25
    cutmix:alpha=1:probability=0.5."""


def normalise(
    images: UInt8[Array | np.ndarray, "*n height width channels"]
    | Float[Array, "*n height width channels"],
    mean: Float[Array | np.ndarray, "channels"],
    deviation: Float[Array | np.ndarray, "channels"],
) -> Float[Array, "*n height width channels"]:
    """Images scaled to [0, 1], less `mean`, over `deviation`, float32."""
    return (jnp.asarray(images, jnp.float32) / 255 - mean) / deviation


@partial(jax.jit, static_argnames=("resolution", "resizing"))
def resized(
    images: Float[Array, "n h w c"], resolution: int, resizing: str | None = None
) -> Float[Array, "n r r c"]:
    """The images at another size, by one of `RESIZINGS` (None: antialiased).

    Themselves where they have that size already.
    """
    _, height, width, _ = images.shape
    if height == width == resolution:
        return images
    weights = choose("resizing", resizing or "antialiased", RESIZINGS)
    rows = weights(height, resolution)
    columns = weights(width, resolution)
    return jnp.einsum(
        "nhwc,rh,qw->nrqc", images, rows, columns, precision=jax.lax.Precision.HIGHEST
    )


def bicubic_weights(size: int, resolution: int) -> Float[np.ndarray, "resolution size"]:
    """What each pixel contributes to each of the resized.

    Keys' kernel with a = -0.75, pixel centres at halves, borders repeated.

    So PyTorch's `interpolate(mode="bicubic")`, by which AttentiveNAS resizes inside its network. It
    smooths nothing where it shrinks (Keys, "Cubic convolution interpolation", 1981).
    """
    centres = (np.arange(resolution) + 0.5) * size / resolution - 0.5
    first = np.floor(centres).astype(int) - 1
    weights = np.zeros((resolution, size), np.float32)
    for tap in range(4):
        x = np.abs(centres - (first + tap))
        np.add.at(
            weights, (np.arange(resolution), np.clip(first + tap, 0, size - 1)), _keys(x, -0.75)
        )
    return weights


def smoothed_weights(
    kernel: Callable[[np.ndarray], np.ndarray], size: int, resolution: int
) -> Float[np.ndarray, "resolution size"]:
    """The same with a kernel as wide as what it shrinks.

    Weights sum to 1 at the borders too, as Pillow resizes.
    """
    step = size / resolution
    centres = (np.arange(resolution) + 0.5) * step
    weights = kernel(np.abs(np.arange(size) + 0.5 - centres[:, None]) / max(step, 1))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _keys(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic kernel at distances x."""
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, np.where(x <= 2, far, 0))


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - x, 0)


RESIZINGS: dict[str, Callable[[int, int], Float[np.ndarray, "resolution size"]]] = {
    "antialiased": partial(smoothed_weights, partial(_keys, a=-0.5)),
    "bilinear": partial(smoothed_weights, _triangle),
    "bicubic": bicubic_weights,
}


def augment(
    key: PRNGKey, images: UInt8[Array, "n height width channels"], crop: int, flip: bool
) -> UInt8[Array, "n height width channels"]:
    """Shift each image by up to `crop` pixels along both axes.

    If `flip`, mirror half of them left-right.

    Each image draws its own shift, uniform over -crop..crop per axis, and its own coin. What moves
    in at a border is the image reflected there (the border pixel is not repeated): padding by
    `crop` in mode "reflect", then a random crop.
    """
    height, width = images.shape[1:3]
    if not 0 <= crop < min(height, width):
        raise UserError(
            f"data.crop must be at least 0 and below the image size {min(height, width)}, got "
            f"{crop}: choose a smaller shift"
        )
    return shifted(key, images, crop, flip)


def shifted(
    key: PRNGKey,
    images: UInt8[Array, "n height width channels"],
    crop: int,
    flip: bool,
    padded: bool = False,
) -> UInt8[Array, "n height width channels"]:
    """`augment`; with `padded`, black moves in at the borders.

    As torchvision's RandomCrop has it.
    """
    n, height, width, _ = images.shape
    shift_key, flip_key = jax.random.split(key)
    shifts = jax.random.randint(shift_key, (2, n, 1), -crop, crop + 1, jnp.int32)
    rows = jnp.arange(height, dtype=jnp.int32) + shifts[0]
    columns = jnp.arange(width, dtype=jnp.int32) + shifts[1]
    if flip:
        columns = jnp.where(
            jax.random.bernoulli(flip_key, jnp.float32(0.5), (n, 1)), columns[:, ::-1], columns
        )
    inside = ((rows >= 0) & (rows < height))[:, :, None, None] & (
        (columns >= 0) & (columns < width)
    )[:, None, :, None]
    # Whole rows, then columns: on a CPU as fast as vmapped slices of a padded copy, and mirroring
    # is free.
    moved = jax.vmap(lambda image, row, column: image[row][:, column])(
        images, _reflect(rows, height), _reflect(columns, width)
    )
    return jnp.where(inside, moved, jnp.uint8(0)) if padded else moved


def _reflect(index: Int[Array, "n size"], size: int) -> Int[Array, "n size"]:
    """Indices up to one image beyond either border, folded back into it."""
    index = jnp.abs(index)
    return jnp.minimum(index, 2 * (size - 1) - index)
