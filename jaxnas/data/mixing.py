"""Mixtures of two images, and of their labels.

The partner of an image is the one before it in the batch, whose order is random.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxnas.data.cutout import check_number, patches
from jaxnas.types import PRNGKey

LARGEST_ALPHA = 100


class Mixed(NamedTuple):
    """The labels of images that are mixtures of two."""

    first: Int[Array, "n"]
    second: Int[Array, "n"]
    share: Float[Array, "n"]  # of the first


Labels = Int[Array, "images"] | Mixed


@runtime_checkable
class Mixing(Protocol):
    """A way to mix each image with its partner."""

    def mix(
        self, key: PRNGKey, images: Float[Array, "n h w c"]
    ) -> tuple[Float[Array, "n h w c"], Float[Array, "n"]]:
        """The mixtures, and the share of each that is the image itself."""
        ...


@dataclass(frozen=True)
class Mixup:
    """Weighted means of two images (Zhang et al. 2018)."""

    alpha: float = 0.2
    """Of the symmetric beta distribution that weights are drawn from."""
    probability: float = 1.0
    """Of an image to be mixed."""

    def __post_init__(self):
        check_number("alpha of mixup", self.alpha, 0.01, LARGEST_ALPHA)
        check_number("probability of mixup", self.probability, 0, 1)

    def mix(
        self, key: PRNGKey, images: Float[Array, "n h w c"]
    ) -> tuple[Float[Array, "n h w c"], Float[Array, "n"]]:
        """See `Mixing.mix`."""
        share = drawn_shares(key, len(images), self.alpha, self.probability)
        weight = share[:, None, None, None]
        return weight * images + (1 - weight) * partners(images), share


@dataclass(frozen=True)
class Cutmix:
    """Puts a patch of one image into another (Yun et al. 2019)."""

    alpha: float = 1.0
    """Of the symmetric beta distribution that the rest's share of the area is drawn from."""
    probability: float = 1.0
    """Of an image to have one."""

    def __post_init__(self):
        check_number("alpha of cutmix", self.alpha, 0.01, LARGEST_ALPHA)
        check_number("probability of cutmix", self.probability, 0, 1)

    def mix(
        self, key: PRNGKey, images: Float[Array, "n h w c"]
    ) -> tuple[Float[Array, "n h w c"], Float[Array, "n"]]:
        """See `Mixing.mix`; the share is that of the pixels, as the patch came to lie."""
        share_key, place_key = jax.random.split(key)
        n, height, width, _ = images.shape
        share = drawn_shares(share_key, n, self.alpha, self.probability)
        inside = patches(place_key, height, width, jnp.sqrt(1 - share))
        mixtures = jnp.where(inside[..., None], partners(images), images)
        return mixtures, 1 - jnp.mean(inside, (1, 2), dtype=jnp.float32)


def partners(rows: Array) -> Array:
    """The row before each; of the first the last."""
    return jnp.roll(rows, 1, axis=0)


def drawn_shares(key: PRNGKey, n: int, alpha: float, probability: float) -> Float[Array, "n"]:
    """Shares by the beta distribution; 1 of those that are not mixed."""
    beta_key, chance_key = jax.random.split(key)
    drawn = jax.random.beta(beta_key, jnp.float32(alpha), jnp.float32(alpha), (n,), jnp.float32)
    mixed = jax.random.bernoulli(chance_key, jnp.float32(probability), (n,))
    return jnp.where(mixed, drawn, jnp.float32(1))
