"""Random patches of images: what cutout blanks, and where cutmix puts another image."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxnas.errors import UserError
from jaxnas.types import PRNGKey


@dataclass(frozen=True)
class Cutout:
    """Blanks a square of each image, in the mean colour (DeVries & Taylor 2017).

    Its centre is uniform over the image, so that a part of it may lie outside.
    """

    size: float = 0.5
    """Its side, as a share of the image's."""
    probability: float = 1.0
    """Of an image to have one."""

    def __post_init__(self):
        check_number("size of cutout", self.size, 0, 1)
        check_number("probability of cutout", self.probability, 0, 1)

    def __call__(
        self, key: PRNGKey, images: Float[Array, "n h w c"], mean: Float[Array, "c"]
    ) -> Float[Array, "n h w c"]:
        """Of pixels from 0 to 255, whose mean colour is 255 times `mean`."""
        place_key, chance_key = jax.random.split(key)
        n, height, width, _ = images.shape
        chosen = jax.random.bernoulli(chance_key, jnp.float32(self.probability), (n,))
        sides = chosen * jnp.float32(self.size)
        inside = patches(place_key, height, width, sides)
        return jnp.where(inside[..., None], 255 * mean, images)


def patches(
    key: PRNGKey, height: int, width: int, sides: Float[Array, "n"]
) -> Bool[Array, "n {height} {width}"]:
    """A rectangle of each image, in its shape: its sides are shares of the image's.

    In whole pixels, rounded; what lies beyond a border is cut off.
    """
    centres = jax.random.uniform(key, (2, len(sides)), jnp.float32)
    rows, columns = (
        _within(size, centre, sides) for size, centre in zip((height, width), centres, strict=True)
    )
    return rows[:, :, None] & columns[:, None, :]


def _within(size: int, centres: Float[Array, "n"], sides: Float[Array, "n"]) -> Bool[Array, "n s"]:
    """Which pixels along an axis lie in a stretch around a centre."""
    length = jnp.round(sides * size)
    start = jnp.floor(centres * size) - jnp.floor(length / 2)
    pixels = jnp.arange(size, dtype=jnp.float32)
    return (pixels >= start[:, None]) & (pixels < (start + length)[:, None])


def check_number(what: str, value: float, least: float, most: float) -> None:
    """Refuses a setting of a transform outside its range."""
    if not least <= value <= most:
        raise UserError(
            f"{what} must be from {least:g} to {most:g}, got {value:g}: choose a number there"
        )
