"""TensorFlow Datasets, prepared as array_record.

Read without TensorFlow, never downloaded from here.
"""

import math
import os
from typing import Any

import numpy as np

from jaxnas.data.dataset import Dataset, Pair, hold_out, make_dataset
from jaxnas.data.memory import available_memory, require_memory
from jaxnas.data.streamed import Streamed, streams
from jaxnas.data.streamed_tfds import check_shape, labels_of, streamed_records
from jaxnas.errors import UserError, how_to_install

CHUNK = 1000  # images decoded per read; threads would not help, most of it is Python


def load(
    argument: str,
    *,
    data_dir: str | None,
    search_images: int,
    calibration_images: int,
    seed: int,
    stream: str = "auto",
    workers: int | None = None,
) -> Dataset:
    """The data set `argument`, as `tfds.data_source` names it: "cifar10", "name/config:1.0.0".

    Its splits are train and test; its validation split is the search split, else that is held out
    of train. Features are a fixed-size uint8 `image` and a class `label`. Training images that do
    not fit into memory are streamed; with `stream` "always" those that fit as well.
    """
    name = f"tfds:{argument}"
    sources = _open(name, argument, data_dir)
    if missing := [split for split in ("train", "test") if split not in sources]:
        raise UserError(
            f"{name} must have the splits train and test, lacks {missing[0]}, has "
            f"{', '.join(sources)}: choose another data set"
        )
    class_names = _class_names(name, sources["train"].dataset_info.features)
    size = _bytes(sources)
    train: Pair | Streamed
    if streams(stream, size or 0):
        train, search = _streamed(name, sources, search_images, seed, workers)
    else:
        # Where it is not known how large the images are, `_read` asks split by split.
        require_memory(name, size or 0, available_memory())
        train, search = _read(name, "train", sources["train"]), None
        if "validation" not in sources:
            train, search = hold_out(*train, search_images, seed)
    if search is None:
        search = _read(name, "validation", sources["validation"])
    test = _read(name, "test", sources["test"])
    return make_dataset(
        name,
        class_names,
        train=train,
        search=search,
        test=test,
        calibration_images=calibration_images,
        seed=seed,
    )


def _open(name: str, argument: str, data_dir: str | None) -> dict[str, Any]:
    """A random-access source per split."""
    if not argument:
        raise UserError("tfds needs the name of a data set, got none: write tfds:NAME")
    try:
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core import constants

        folder = os.path.expanduser(data_dir or str(constants.DATA_DIR))
        return _prepared(tfds, name, argument, folder)
    except ImportError as error:
        raise UserError(
            f"{name} needs TensorFlow Datasets with array_record ({error}): "
            f"{how_to_install('tfds')}"
        ) from error


def _prepared(tfds: Any, name: str, argument: str, folder: str) -> dict[str, Any]:
    try:
        return dict(tfds.data_source(argument, split=None, data_dir=folder, download=False))
    except NotImplementedError:
        # tfds knows the name, but the data is not there, or in a format for TensorFlow.
        how = (
            f"tfds.builder({argument!r}, data_dir={folder!r}, "
            "file_format='array_record').download_and_prepare()"
        )
        raise UserError(
            f"{name} is not prepared as array_record in {folder}: run {how} once, where TensorFlow "
            "is installed, or set data.data_dir"
        ) from None
    except (AssertionError, OSError, RuntimeError, ValueError) as error:
        # Wrong names, versions, files.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{name} cannot be opened in {folder} ({reason}): check its name, and data.data_dir"
        ) from error


def _class_names(name: str, features: Any) -> tuple[str, ...]:
    if missing := [key for key in ("image", "label") if key not in features]:
        raise UserError(
            f"{name} must have the features image and label, lacks {missing[0]}, has "
            f"{', '.join(sorted(features))}"
        )
    if not hasattr(features["label"], "names"):
        raise UserError(
            f"{name}: the feature label must be a class, got {type(features['label']).__name__}: "
            "choose a classification task"
        )
    return tuple(features["label"].names)


def _bytes(sources: dict[str, Any]) -> int | None:
    """Of all images, where the data set says how large they are."""
    shape = sources["train"].dataset_info.features["image"].shape
    if shape is None or None in shape:
        return None
    images = sum(
        len(sources[split]) for split in ("train", "validation", "test") if split in sources
    )
    return images * math.prod(shape)


def _streamed(
    name: str, sources: dict[str, Any], search_images: int, seed: int, workers: int | None
) -> tuple[Streamed, Pair | None]:
    """The training images, and those held out of them where there is no validation split."""
    source = sources["train"]
    try:
        labels = labels_of(source)
        rows = np.arange(len(labels))
        if "validation" in sources:
            return streamed_records(name, source, rows, labels, workers), None
        (rows, labels), (held_out, classes) = hold_out(rows, labels, search_images, seed)
        images = np.stack([one["image"] for one in source.__getitems__(held_out.tolist())])
        return streamed_records(name, source, rows, labels, workers), (images, classes)
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreadable(f"{name}: train", error) from error


def _unreadable(where: str, error: Exception) -> UserError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(f"{where} cannot be read ({reason}): prepare the data set again")


def _read(name: str, split: str, source: Any) -> Pair:
    """All images and labels of one split, in its order."""
    if len(source) == 0:
        raise UserError(f"{name}: {split} has no images: prepare the data set again")
    images = np.empty(0, np.uint8)
    labels = np.empty(len(source), np.int64)
    try:
        for start in range(0, len(source), CHUNK):
            # source[i] is twice as slow.
            chunk = source.__getitems__(range(start, min(start + CHUNK, len(source))))
            if start == 0:
                first = chunk[0]["image"]
                require_memory(f"{name}: {split}", len(source) * first.nbytes, available_memory())
                images = np.empty((len(source), *first.shape), first.dtype)
            for row, example in enumerate(chunk, start):
                check_shape(f"{name}: {split}", example["image"].shape, images.shape[1:])
                images[row] = example["image"]
                labels[row] = example["label"]
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreadable(f"{name}: {split}", error) from error
    return images, labels
