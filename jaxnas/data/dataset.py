"""What a data set is: images and labels in three splits kept apart, checked once on the way in."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from jaxnas.data.streamed import Batch, Streamed
from jaxnas.errors import UserError

Pair = tuple[np.ndarray, np.ndarray]  # images and labels as a source brings them, not checked yet
PIECE = 1 << 20  # bytes of images that are moved or summed up at a time
# Streamed images that the mean and deviation are of, drawn in proportion to the classes.
SAMPLE = 4096
READ = 64  # of them that are read at a time
BROKEN_SHARE = 0.1  # of images that may be damaged
STREAMED = "streamed "  # before the fingerprint of a data set that is


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels, on the host."""

    images: UInt8[np.ndarray, "n height width channels"]
    labels: Int32[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        _, height, width, channels = self.images.shape
        return height, width, channels

    def first(self, n: int) -> "Split":
        """The first `n` images, or all if there are fewer."""
        return Split(self.images[:n], self.labels[:n])


@dataclass(frozen=True, eq=False)
class Dataset:
    """Train fits weights, search guides the search, test is used once, at the end.

    Made by `make_dataset`.

    `calibration` is a fixed part of train, for the statistics of batch norm. The rows of `search`
    are ordered such that its first k hold the classes nearly in proportion, for every k. A training
    split that does not fit into memory is streamed; the others are small.
    """

    name: str  # as the user wrote it: "npz:PATH"
    class_names: tuple[str, ...]
    train: Split | Streamed
    search: Split
    test: Split
    calibration: Split
    mean: Float32[np.ndarray, "channels"]  # of the train images scaled to [0, 1]
    deviation: Float32[np.ndarray, "channels"]  # at least one grey level, 1/255
    notes: tuple[str, ...] = ()  # what its source has to say, a line each: files left out

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width."""
        return self.train.image_shape[:2]

    @property
    def channels(self) -> int:
        return self.train.image_shape[2]

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def unseen_classes(self) -> tuple[int, ...]:
        """Numbers of the classes without a training image."""
        return tuple(np.setdiff1d(np.arange(self.classes), self.train.labels).tolist())

    def fingerprint(self) -> str:
        """SHA-256 of all images, labels and class names.

        So a resumed run notices other data (not: another path). Of streamed images what identifies
        them counts: `STREAMED` stands before such a digest.
        """
        digest = hashlib.sha256(json.dumps(self.class_names).encode())
        if isinstance(self.train, Streamed):
            digest.update(self.train.identity.encode())
            digest.update(np.ascontiguousarray(self.train.labels, "<i4").data)
        held = () if isinstance(self.train, Streamed) else (self.train,)
        for split in (*held, self.search, self.test, self.calibration):
            digest.update(repr(split.images.shape).encode())
            digest.update(np.ascontiguousarray(split.images).data)
            digest.update(np.ascontiguousarray(split.labels, "<i4").data)
        return (STREAMED if isinstance(self.train, Streamed) else "") + digest.hexdigest()


def stratified_order(labels: np.ndarray, seed: int) -> np.ndarray:
    """A random order of the rows in which every prefix holds the classes nearly in proportion.

    Webster's method.
    """
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    _, classes, sizes = np.unique(labels[shuffled], return_inverse=True, return_counts=True)
    rank = np.empty(len(labels), np.int64)  # of a row among those of its class
    rank[np.argsort(classes, kind="stable")] = np.arange(len(labels)) - np.repeat(
        np.cumsum(sizes) - sizes, sizes
    )
    return shuffled[np.argsort((rank + 0.5) / sizes[classes], kind="stable")]


def take_out(images: np.ndarray, labels: np.ndarray, count: int, seed: int) -> tuple[Pair, Pair]:
    """The rest in its old order, and `count` rows taken out of it, stratified by class.

    The rest moves together in the memory of `images`, which are used up: a copy of all would double
    what loading takes.
    """
    taken = stratified_order(labels, seed)[:count]
    rest = np.delete(np.arange(len(labels)), taken)
    out = images[taken]
    for piece in _pieces(len(rest), images):  # a row's place is never behind the row
        images[piece] = images[rest[piece]]
    return (images[: len(rest)], labels[rest]), (out, labels[taken])


def hold_out(images: np.ndarray, labels: np.ndarray, count: int, seed: int) -> tuple[Pair, Pair]:
    """Train without the search split, and a search split of `count` images, stratified by class.

    `images` are used up, see `take_out`.
    """
    if not 1 <= count < len(labels) / 2:
        raise UserError(
            f"data.search_images must be at least 1 and below half of the {len(labels)} training "
            f"images, got {count}: choose at most {max((len(labels) - 1) // 2, 0)}"
        )
    return take_out(images, labels, count, seed)


def make_dataset(
    name: str,
    class_names: tuple[str, ...],
    *,
    train: Pair | Streamed,
    search: Pair,
    test: Pair,
    calibration_images: int,
    seed: int,
) -> Dataset:
    """The only way to make a `Dataset`: checks everything that a source can get wrong.

    Images are square, uint8 (n, height, width, channels), the same shape in all splits; labels are
    integers below the number of classes, at least two. The calibration images are drawn from train,
    stratified, no fewer than there are classes; all of it if there are fewer.
    """
    if calibration_images < 1:
        raise UserError(
            f"{name}: data.calibration_images must be at least 1, got {calibration_images}: 256 or "
            "more is advised"
        )
    shape, _, labels = _header(train)
    for split, each in (("train", train), ("search", search), ("test", test)):
        own, dtype, classes = _header(each)
        check_images(f"{name}: {split}", own, dtype, shape)
        _check_labels(f"{name}: {split}", classes, own[0], len(class_names))
    if len(class_names) < 2:
        raise UserError(
            f"{name}: needs at least 2 classes, got {len(class_names)} ({', '.join(class_names)}): "
            "add labelled images"
        )
    drawn = stratified_order(labels, seed)
    count = max(calibration_images, len(class_names))
    if isinstance(train, Streamed):
        calibration, (mean, deviation) = _sampled(train, drawn, count)
    else:
        calibration = _split(train[0][drawn[:count]], labels[drawn[:count]])
        pieces = (train[0][piece] for piece in _pieces(len(labels), train[0]))
        mean, deviation = _moments(pieces, shape[-1])
    order = stratified_order(search[1], seed)
    return Dataset(
        name=name,
        class_names=tuple(class_names),
        train=train if isinstance(train, Streamed) else _split(*train),
        search=_split(search[0][order], search[1][order]),
        test=_split(*test),
        calibration=calibration,
        mean=mean,
        deviation=deviation,
        notes=(_streamed_note(train),) if isinstance(train, Streamed) else (),
    )


def _streamed_note(train: Streamed) -> str:
    sample = f"{SAMPLE} of them" if len(train) > SAMPLE else "all of them"
    return f"{len(train)} training images are streamed; mean and deviation are those of {sample}"


def _header(split: Pair | Streamed) -> tuple[tuple[int, ...], np.dtype, np.ndarray]:
    """The shape and type of a split's images, and its labels."""
    if isinstance(split, Streamed):
        return (len(split), *split.image_shape), np.dtype(np.uint8), split.labels
    images, labels = split
    return images.shape, images.dtype, labels


def _sampled(train: Streamed, drawn: np.ndarray, count: int) -> tuple[Split, Pair]:
    """The first `count` images drawn, and the moments of the first `SAMPLE`.

    Raises:
        UserError: too many of them are damaged.
    """
    rows = drawn[: max(SAMPLE, count)]
    here = replace(train, workers=0)  # to start processes takes longer
    kept: list[Batch] = []

    def pieces() -> Iterator[np.ndarray]:
        seen = 0
        for batch in chain(*(here.batches(order) for order in _orders(rows))):
            if seen < count:
                kept.append(Batch(batch.images.copy(), batch.labels.copy()))
            seen += len(batch.labels)
            yield batch.images

    moments = _moments(pieces(), train.image_shape[-1])
    if len(train.named) > BROKEN_SHARE * len(rows):
        raise UserError(
            f"{train.title}: {len(train.named)} of {len(rows)} training pictures cannot be read, "
            f"more than {BROKEN_SHARE:.0%}, {min(train.named)}: fetch them anew, or remove them"
        )
    images, labels = (np.concatenate(each)[:count] for each in list(zip(*kept, strict=True))[:2])
    return _split(images, labels), moments


def _orders(rows: np.ndarray) -> Iterator[np.ndarray]:
    """All rows in batches of `READ`, and those that are left over in one of their own."""
    whole = len(rows) // READ * READ
    for some, size in ((rows[:whole], READ), (rows[whole:], len(rows) - whole)):
        if len(some):
            yield some.reshape(-1, size)


def _pieces(count: int, images: np.ndarray) -> Iterator[slice]:
    """The first `count` rows, few at a time."""
    rows = max(1, PIECE // images[:1].nbytes)
    for start in range(0, count, rows):
        yield slice(start, min(start + rows, count))


def _split(images: np.ndarray, labels: np.ndarray) -> Split:
    return Split(images, labels.astype(np.int32))


def check_images(
    where: str, shape: tuple[int, ...], dtype: np.dtype, train_shape: tuple[int, ...]
) -> None:
    """Refuses images of a shape or type that no split may have."""
    if dtype != np.uint8:
        raise UserError(
            f"{where} images must be uint8 in 0..255, got {dtype}: scale and convert them"
        )
    if len(shape) != 4:
        raise UserError(
            f"{where} images must be (n, height, width, channels), got {shape}: add or drop axes"
        )
    if 0 in shape:
        raise UserError(f"{where} has no images, got {shape}: every split needs some")
    if shape[1] != shape[2]:
        raise UserError(
            f"{where} images must be square, height == width, got {shape[1]}x{shape[2]}: crop or "
            "resize them"
        )
    if shape[1:] != train_shape[1:]:
        raise UserError(
            f"{where} images must have the shape of those of train, {train_shape[1:]}, got "
            f"{shape[1:]}: resize them"
        )


def check_label_shape(where: str, shape: tuple[int, ...], dtype: np.dtype, count: int) -> None:
    """Refuses labels that are not one whole number for each of `count` images."""
    if dtype.kind not in "iu":
        raise UserError(f"{where} labels must be integers, got {dtype}: number the classes from 0")
    if shape != (count,):
        raise UserError(
            f"{where} labels must be one per image, ({count},), got {shape}: give each image one "
            "class"
        )


def _check_labels(where: str, labels: np.ndarray, count: int, classes: int) -> None:
    check_label_shape(where, labels.shape, labels.dtype, count)
    if labels.min() < 0 or labels.max() >= classes:
        raise UserError(
            f"{where} labels must be in 0..{classes - 1} for {classes} classes, got "
            f"{labels.min()}..{labels.max()}: number the classes from 0 or name the missing ones"
        )


def _moments(pieces: Iterable[np.ndarray], channels: int) -> Pair:
    """Mean and standard deviation per channel, from exact integer sums.

    The same on every machine, and however the images come in pieces.
    """
    sums = squares = np.zeros(channels, np.int64)
    count = 0
    for images in pieces:
        pixels = images.reshape(-1, channels)
        sums = sums + pixels.sum(0, dtype=np.int64)
        squares = squares + np.square(pixels, dtype=np.uint16).sum(0, dtype=np.int64)
        count += len(pixels)
    mean = sums / count / 255
    deviation = np.sqrt(np.maximum(squares / count / 255**2 - mean**2, 0))
    return mean.astype(np.float32), np.maximum(deviation, 1 / 255).astype(np.float32)
