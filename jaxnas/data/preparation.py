"""How weights were trained to see images.

How these are resized, and varied where statistics are recalibrated.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxnas.data.augment import RESIZINGS, normalise, resized, shifted
from jaxnas.errors import choose
from jaxnas.types import PRNGKey

RECALIBRATIONS = {
    "plain": "not at all, which serves shifts with reflected borders as well",
    "padded_crop": "shifted by up to an eighth of their size with black borders, and mirrored",
    "resized_crop": "cut out at random, 8 % of the area or more, enlarged again, and mirrored",
}
LEAST_AREA = 0.08  # of a crop, a share of the image
WIDEST = 4 / 3  # width to height of a crop, at most, and height to width


@dataclass(frozen=True)
class Preparation:
    """What images look like to weights, apart from the mean and deviation of their data."""

    resizing: str = "antialiased"
    """A name of `RESIZINGS`."""
    recalibration: str = "plain"
    """How images are varied on which batch norm's statistics are taken anew: a name
    of `RECALIBRATIONS`."""

    def __post_init__(self):
        choose("resizing", self.resizing, RESIZINGS)
        choose("recalibration", self.recalibration, RECALIBRATIONS)


OWN = Preparation()
BEFORE = Preparation(resizing="bicubic")  # of networks of ours from before the choice was recorded
PUBLISHED = {
    "AttentiveNAS / AlphaNet": Preparation("bicubic", "resized_crop"),
    "Once-for-All": Preparation("bilinear", "resized_crop"),
}


def calibration_images(
    key: PRNGKey,
    images: UInt8[Array | np.ndarray, "n h w c"],
    mean: Float[Array | np.ndarray, "c"],
    deviation: Float[Array | np.ndarray, "c"],
    resolution: int,
    prepared: Preparation,
) -> Float[Array, "n r r c"]:
    """Images for recalibration, normalised, as a network of this resolution sees them."""
    size = min(images.shape[1:3])
    if prepared.recalibration == "padded_crop":
        images = shifted(key, jnp.asarray(images), size // 8, flip=True, padded=True)
    normalised = normalise(images, mean, deviation)
    if prepared.recalibration == "resized_crop":
        # The network itself resizes, from the size of the crops.
        inside = prepared.resizing == "bicubic"
        method = "linear" if prepared.resizing == "bilinear" else "cubic"
        normalised = resized_crops(key, normalised, size if inside else resolution, method)
    return resized(normalised, resolution, prepared.resizing)


@partial(jax.jit, static_argnames=("size", "method"))
def resized_crops(
    key: PRNGKey, images: Float[Array, "n h w c"], size: int, method: str = "linear"
) -> Float[Array, "n s s c"]:
    """A random part of each image, `size` pixels large, half of them mirrored.

    As torchvision's RandomResizedCrop.

    Its area is uniform over `LEAST_AREA` of the image to all of it, the logarithm of its shape over
    `WIDEST`; what is wider or higher than the image is cut to it (where torchvision draws again).
    """
    n, height, width, channels = images.shape
    keys = jax.random.split(key, 5)
    area = jax.random.uniform(keys[0], (n,), jnp.float32, LEAST_AREA, 1) * height * width
    shape = jnp.exp(jax.random.uniform(keys[1], (n,), jnp.float32, -np.log(WIDEST), np.log(WIDEST)))
    high = jnp.minimum(jnp.sqrt(area / shape), height)
    wide = jnp.minimum(jnp.sqrt(area * shape), width)
    top = jax.random.uniform(keys[2], (n,), jnp.float32) * (height - high)
    left = jax.random.uniform(keys[3], (n,), jnp.float32) * (width - wide)

    def one(row):
        image, sizes, start = row
        scale = size / sizes
        return jax.image.scale_and_translate(
            image, (size, size, channels), (0, 1), scale, -start * scale, method, antialias=True
        )

    crops = jax.lax.map(
        one, (images, jnp.stack([high, wide], 1), jnp.stack([top, left], 1)), batch_size=32
    )
    mirrored = jax.random.bernoulli(keys[4], jnp.float32(0.5), (n, 1, 1, 1))
    return jnp.where(mirrored, crops[:, :, ::-1], crops)
