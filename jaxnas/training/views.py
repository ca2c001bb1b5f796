"""The training split on the device, and what a step makes of its images."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8

from jaxnas.data.augment import Augmentation, augment, normalise, resized
from jaxnas.data.batches import Order
from jaxnas.data.dataset import Dataset
from jaxnas.data.mixing import Labels, Mixed
from jaxnas.data.transforms import transformed
from jaxnas.training.class_weights import class_weights
from jaxnas.training.method import Batch
from jaxnas.types import PRNGKey

T = TypeVar("T")
Rows = Int[Array, "batch"]
# Of an epoch, or what is left of it: the batches of the weights, and of images kept from these.
Orders = tuple[Order, ...]


class Images(NamedTuple):
    """The training split on the device: an argument of the step, for what it captured would be
    compiled in."""

    images: UInt8[Array, "n h w c"]
    labels: Int[Array, "n"]
    mean: Array
    deviation: Array
    class_weights: Float[Array, "classes"] | None = None

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self.labels)

    def batches(self, epochs: Iterable[Orders]) -> Iterator[tuple["Images", tuple[Rows, ...]]]:
        """The images of each step, and which rows of them are its batches."""
        for orders in epochs:
            for step in range(len(orders[0])):
                yield self, tuple(order[step] for order in orders)

    def weights(self, labels: Int[Array, "*n"]) -> Float[Array, "*n"] | None:
        """Of images with these labels, in a loss."""
        return None if self.class_weights is None else self.class_weights[labels]

    def weighted(self, labels: Labels) -> tuple[Labels, Float[Array, "n"] | None]:
        """Labels as a loss takes them, and the weights of their images.

        Of a mixture each part counts by its share and its class's weight: together they weigh
        what the mixture does, and their shares are of that.
        """
        if not isinstance(labels, Mixed):
            return labels, self.weights(labels)
        first = self.weights(labels.first)
        second = self.weights(labels.second)
        if first is None or second is None:
            return labels, None
        part = labels.share * first
        whole = part + (1 - labels.share) * second
        share = jnp.where(whole > 0, part / jnp.where(whole > 0, whole, 1), labels.share)
        return labels._replace(share=share), whole


def on_device(data: Dataset, weights: str | None = None) -> Images:
    """The training split of a data set, uint8, and how to normalise it.

    `weights` are those of the classes, as `train.class_weights` has them.
    """
    of_classes = class_weights(weights, data.train.labels, data.classes)
    return Images(
        *map(jnp.asarray, (data.train.images, data.train.labels, data.mean, data.deviation)),
        class_weights=None if of_classes is None else jnp.asarray(of_classes),
    )


def training_batch(
    key: PRNGKey,
    images: Images,
    rows: Int[Array, "batch"],
    augmentation: Augmentation,
    resolution: int,
    spread: Callable[[Array], Array] = lambda rows: rows,
) -> Batch:
    """Some images, varied, normalised and resized, and their labels.

    `spread` says which device has which of the rows.
    """
    own = spread(images.images[rows])
    if not augmentation.transforms:
        shifted = augment(key, own, augmentation.crop, augmentation.flip)
        normal = normalise(shifted, images.mean, images.deviation)
        batch = resized(normal, resolution, augmentation.resizing)
        labels = images.labels[rows]
        return Batch(batch, labels, images.weights(labels))
    shift_key, transform_key = jax.random.split(key)
    shifted = augment(shift_key, own, augmentation.crop, augmentation.flip)
    varied, labels = transformed(
        transform_key, shifted, images.labels[rows], images.mean, augmentation.transforms
    )
    normal = normalise(varied, images.mean, images.deviation)
    batch = resized(normal, resolution, augmentation.resizing)
    return Batch(batch, *images.weighted(labels))
