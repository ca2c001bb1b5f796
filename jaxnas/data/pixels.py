"""Images that are kept as they come, one byte a value.

They become a network's input a batch at a time.
"""

from dataclasses import dataclass, field

import jax
from jaxtyping import Array, Float, UInt8

from jaxnas.data.augment import normalise, resized


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Pixels:
    """A split on the device.

    It is in the place of its images as a network sees them, which take 4 times the memory and more.

    `shape` is that of those; rows of it are those. A pytree: pass it to a compiled program as an
    argument.
    """

    images: UInt8[Array, "n height width c"]
    mean: Float[Array, "c"]
    deviation: Float[Array, "c"]
    resolution: int = field(metadata={"static": True})
    resizing: str | None = field(default=None, metadata={"static": True})

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self), self.resolution, self.resolution, self.images.shape[-1]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: slice) -> Float[Array, "m r r c"]:
        return self.prepared(self.images[rows])

    def prepared(self, images: UInt8[Array, "m height width c"]) -> Float[Array, "m r r c"]:
        """Images as the network sees them."""
        return resized(normalise(images, self.mean, self.deviation), self.resolution, self.resizing)
