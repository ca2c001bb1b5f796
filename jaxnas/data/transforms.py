"""What may be done to training images beyond shifting and mirroring, by name.

The names take settings of their own: `cutout:size=0.25`. All of it runs on the device, inside a
training's step, on pixels from 0 to 255 at the size of the data.
"""

from collections.abc import Callable, Sequence
from dataclasses import is_dataclass
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8

from jaxnas.data.cutout import Cutout
from jaxnas.data.mixing import Cutmix, Labels, Mixed, Mixing, Mixup, partners
from jaxnas.data.randaugment import RandAugment
from jaxnas.errors import UserError
from jaxnas.own_settings import build, find_with_settings
from jaxnas.types import PRNGKey


@runtime_checkable
class Transform(Protocol):
    """A way to vary each image by itself."""

    def __call__(
        self, key: PRNGKey, images: Float[Array, "n h w c"], mean: Float[Array, "c"]
    ) -> Float[Array, "n h w c"]:
        """Images with pixels from 0 to 255, of the data's `mean`, which is scaled to [0, 1]."""
        ...


TRANSFORMS: dict[str, Callable[..., Transform | Mixing]] = {
    "cutout": Cutout,
    "randaugment": RandAugment,
    "mixup": Mixup,
    "cutmix": Cutmix,
}


@lru_cache(maxsize=64)
def make_transform(text: str) -> Transform | Mixing:
    """The transform of this name, with the settings that follow it; a user's own likewise."""
    make, own = find_with_settings("transform", text, TRANSFORMS)
    made: Any = build(make, own) if is_dataclass(make) else make()
    if not isinstance(made, Transform | Mixing):
        raise UserError(
            f"data.augmentation.transforms {text} must be a function of key, images and mean, or "
            f"have the method mix, got {made!r:.80}: see data/transforms.py"
        )
    return made


def transformed(
    key: PRNGKey,
    images: UInt8[Array, "n h w c"],
    labels: Int[Array, "n"],
    mean: Float[Array, "c"],
    names: Sequence[str],
) -> tuple[Float[Array, "n h w c"], Labels]:
    """Images varied by all of these, in their order, then mixed by one of those that mix.

    Which one is drawn anew for each batch.
    """
    made = [make_transform(name) for name in names]
    *keys, mix_key, kind_key = jax.random.split(key, len(made) + 2)
    varied = images.astype(jnp.float32)
    for own, one in zip(keys, made, strict=True):
        if not isinstance(one, Mixing):
            varied = one(own, varied, mean)
    mixings = [one.mix for one in made if isinstance(one, Mixing)]
    if not mixings:
        return varied, labels
    drawn = jax.random.randint(kind_key, (), 0, len(mixings), jnp.int32)
    mixtures, share = jax.lax.switch(drawn, mixings, mix_key, varied)
    return mixtures, Mixed(labels, partners(labels), share)
