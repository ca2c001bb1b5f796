"""Training images that come to the device batch by batch."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxnas.data import streamed
from jaxnas.data.dataset import Dataset
from jaxnas.data.streamed import Streamed
from jaxnas.training.class_weights import class_weights
from jaxnas.training.parallel import on_each, own_rows, rows_on_each
from jaxnas.training.views import Images, Orders, Rows, on_device

READ_ROWS = 1 << 22  # of one order that the processes which read are given at a time


@dataclass(frozen=True, eq=False)
class StreamedImages:
    """Images that come to the device when a step needs them, by processes that read ahead."""

    split: Streamed
    about: Images  # without any image: mean, deviation and weights
    mesh: Mesh | None = None  # whose devices share a batch

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self.split)

    def batches(self, epochs: Iterable[Orders]) -> Iterator[tuple[Images, tuple[Rows, ...]]]:
        """The images of each step, and which rows of them are its batches."""
        for orders in _joined(epochs):
            size = orders[0].shape[1]
            rows = tuple(
                jnp.arange(part * size, (part + 1) * size, dtype=jnp.int32)
                for part in range(len(orders))
            )
            whole = np.concatenate(orders, axis=1)
            own = own_rows(self.mesh, whole.shape[1])
            for batch in self.split.batches(whole[:, own]):
                yield self._on_device(batch, own, whole.shape[1]), rows

    def _on_device(self, batch: streamed.Batch, own: np.ndarray, total: int) -> Images:
        # A copy: what grain shares between processes is freed, and JAX on a CPU does not copy.
        held = batch.images.copy(), batch.labels.copy()
        images, labels = rows_on_each(self.mesh, held, own, total)
        return self.about._replace(images=images, labels=labels)


def _joined(epochs: Iterable[Orders]) -> Iterator[tuple[np.ndarray, ...]]:
    """The orders of several epochs as one: to start processes takes seconds."""
    waiting: list[tuple[np.ndarray, ...]] = []
    for orders in epochs:
        waiting.append(tuple(map(np.asarray, orders)))
        if sum(order.size for order, *_ in waiting) >= READ_ROWS:
            yield tuple(map(np.concatenate, zip(*waiting, strict=True)))
            waiting = []
    if waiting:
        yield tuple(map(np.concatenate, zip(*waiting, strict=True)))


TrainingImages = Images | StreamedImages


def training_images(
    data: Dataset, weights: str | None = None, mesh: Mesh | None = None
) -> TrainingImages:
    """The training split on the mesh's devices, or where it is streamed what brings it there.

    `weights` are those of the classes, as `train.class_weights` has them.
    """
    if isinstance(data.train, Streamed):
        none = jnp.zeros((0, *data.train.image_shape), jnp.uint8)
        of_classes = class_weights(weights, data.train.labels, data.classes)
        about = Images(
            none,
            jnp.zeros(0, jnp.int32),
            *map(jnp.asarray, (data.mean, data.deviation)),
            class_weights=None if of_classes is None else jnp.asarray(of_classes),
        )
        return StreamedImages(data.train, on_each(mesh, about), mesh)
    return on_each(mesh, on_device(data, weights))
