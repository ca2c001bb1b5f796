"""A training split that is read batch by batch, where its pictures do not fit into memory.

grain reads it ahead of the training, in processes of its own. The order is the caller's, so that a
training goes on at any step, with any number of processes, as if it had never been stopped.
"""

import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32, Integer, UInt8

from jaxnas.data.memory import available_memory
from jaxnas.data.pictures import PictureError, make_pillow_strict, pillow_is_strict
from jaxnas.errors import UserError, choose, how_to_install
from jaxnas.progress import log

STREAM = {
    "auto": "where the images do not fit into memory",
    "always": "where they fit as well",
    "never": "not at all",
}
Order = Integer[np.ndarray, "steps batch"]
SHARED_MEMORY = "/dev/shm"
IN_FLIGHT = 4  # batches that a process has in shared memory, at most
MOST_WORKERS = 16
SUBSTITUTES = 100  # pictures that are tried in place of one that cannot be read


@runtime_checkable
class Source(Protocol):
    """Pictures by number. It is pickled once into each process that reads them."""

    def read(self, row: int) -> UInt8[np.ndarray, "height width channels"]:
        """The picture; a `PictureError` if it is damaged."""
        ...

    def name(self, row: int) -> str:
        """What the picture is called, for people."""
        ...


class Batch(NamedTuple):
    """Pictures and their labels, and a line for each that could not be read."""

    images: UInt8[np.ndarray, "batch height width channels"]
    labels: Int32[np.ndarray, "batch"]
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Streamed:
    """Pictures that are read when they are needed, and their labels, which are in memory."""

    title: str  # of the data set, as the user wrote it
    source: Source
    labels: Int32[np.ndarray, "n"]
    image_shape: tuple[int, int, int]  # height, width, channels
    identity: str  # a digest of what the source holds
    workers: int | None = None  # processes that read; 0: threads of this one; None: see `processes`
    named: set[str] = field(default_factory=set)  # damaged pictures, of which the user knows

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> UInt8[np.ndarray, "n height width channels"]:
        """Not there: an error for whoever needs all of them at once."""
        raise UserError(
            f"this takes all training images at once, and those of {self.title} are streamed: set "
            "data.stream never"
        )

    def first(self, n: int) -> "Streamed":
        """The first `n` images, or all if there are fewer."""
        return replace(self, labels=self.labels[:n])

    def batches(self, order: Order) -> Iterator[Batch]:
        """The pictures of each row of `order`, read ahead.

        A damaged one is named once; the nearest before it that is sound takes its place.

        Raises:
            UserError: grain is not installed, or the pictures are not there any more.
        """
        grain = _grain(self.title)
        with pillow_is_strict(), closing(_opened(grain, self, order)) as batches:
            while (batch := self._next(batches)) is not None:
                for line in set(batch.broken) - self.named:
                    log(f"data: {line}: another takes its place")
                self.named.update(batch.broken)
                yield batch

    def _next(self, batches: Iterator[Batch]) -> Batch | None:
        try:
            return next(batches, None)
        except (PictureError, OSError, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise UserError(
                f"{self.title} cannot be read any more ({reason}): restore its files, then run the "
                "same command again"
            ) from error


@dataclass(frozen=True, eq=False)
class _Batches:
    """What grain reads: batches by number."""

    source: Source
    labels: Int32[np.ndarray, "n"]
    image_shape: tuple[int, int, int]
    order: Order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, step: int) -> Batch:
        rows = self.order[step]
        images = np.empty((len(rows), *self.image_shape), np.uint8)
        labels = np.empty(len(rows), np.int32)
        broken: list[str] = []
        for place, row in enumerate(rows.tolist()):
            images[place], labels[place] = self._sound(row, broken)
        return Batch(images, labels, tuple(broken))

    def _sound(self, row: int, broken: list[str]) -> tuple[np.ndarray, int]:
        """A picture, or the nearest before it that can be read."""
        for other in range(row, row - SUBSTITUTES, -1):
            number = other % len(self.labels)
            try:
                return self.source.read(number), int(self.labels[number])
            except PictureError as error:
                broken.append(f"{self.source.name(number)} cannot be read ({error})")
        raise PictureError(f"{broken[-1]}, and neither can {SUBSTITUTES - 1} after it")


def streams(stream: str, needed: int) -> bool:
    """Whether training images that need so many bytes are streamed; see `STREAM`."""
    choose("data.stream", stream, STREAM)
    available = available_memory()
    too_large = available is not None and needed > available
    return stream == "always" or (stream == "auto" and too_large)


def processes(asked: int | None, batch_bytes: int) -> int:
    """How many processes read: by default one a core, as many as shared memory has room for.

    Containers often have little of it. 0: there is too little, threads of this process read.
    """
    if asked is not None:
        return asked
    try:
        room = shutil.disk_usage(SHARED_MEMORY).free // (IN_FLIGHT * max(batch_bytes, 1))
    except OSError:
        room = 0
    return min(len(os.sched_getaffinity(0)), MOST_WORKERS, room)


def _opened(grain: Any, split: Streamed, order: Order) -> Any:
    """grain's iterator over the batches of an order."""
    source = _Batches(split.source, split.labels, split.image_shape, order)
    workers = processes(split.workers, order.shape[1] * int(np.prod(split.image_shape)))
    threads = 1 if workers else len(os.sched_getaffinity(0))
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
    batches = grain.MapDataset.source(source).to_iter_dataset(options)
    reading = grain.MultiprocessingOptions(num_workers=min(workers, len(order)))
    return iter(batches.mp_prefetch(reading, worker_init_fn=_begin_worker))


def _begin_worker(index: int, count: int) -> None:
    """A process that reads ends with its parent, and at no signal before."""
    del index, count
    for number in (signal.SIGINT, signal.SIGTERM):  # a group of processes gets them together
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    make_pillow_strict()


def _grain(title: str) -> Any:
    try:
        import grain
        from absl import flags
    except ImportError as error:
        raise UserError(
            f"{title} is streamed, which needs grain ({error}): {how_to_install('grain')}, or set "
            "data.stream never"
        ) from error
    flags.FLAGS.mark_as_parsed()  # absl's, without which grain starts no process
    return grain
