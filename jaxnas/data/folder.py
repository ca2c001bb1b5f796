"""A folder of pictures: a sub-folder for each class, or these in train, val and test."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxnas.data.class_folders import Classes, class_folders, relative
from jaxnas.data.dataset import (
    BROKEN_SHARE,
    Dataset,
    Pair,
    hold_out,
    make_dataset,
    take_out,
)
from jaxnas.data.memory import available_memory, require_memory
from jaxnas.data.pictures import PictureError, Reading, picture_size, pillow_is_strict
from jaxnas.data.streamed import Streamed, streams
from jaxnas.data.streamed_folder import streamed_files
from jaxnas.errors import UserError, printable

TEST_SHARE = 5  # a fifth is the test split where there is no folder for it
SHOWN = 3  # of them that are named
COPIED = 1.5  # times the images: while splits are taken out of them

Splits = tuple[Pair | Streamed, Pair, Pair]  # train, search and test


class Files(NamedTuple):
    """The files of a split."""

    paths: list[Path]
    labels: np.ndarray


def load(
    argument: str,
    *,
    data_dir: str | None,
    search_images: int,
    calibration_images: int,
    seed: int,
    image_size: int | None = None,
    non_square: str = "crop",
    scaled_decoding: bool = False,
    stream: str = "auto",
    workers: int | None = None,
) -> Dataset:
    """The pictures in the folder `argument`, as RGB of `image_size` pixels.

    The classes are the names of sub-folders, in alphabetical order. Where these lie in train, val
    and test, they are the splits. Without val the search split is held out of train; without any
    of the three a fifth is the test split, stratified, the same for every seed. Files that are
    hidden or no pictures are left out, and so are damaged ones, which `notes` names; a tenth of
    them at the most. Without `image_size` all must be squares of one size. Training pictures that
    do not fit into memory are streamed, with `stream` "always" those that fit as well: each file is
    then read when it is needed.
    """
    del data_dir
    name = f"folder:{argument}"
    if not argument:
        raise UserError("folder needs the path of a folder, got none: write folder:PATH")
    folders, notes = class_folders(name, Path(argument))
    class_names = tuple(folders["train"])
    files = {split: _labelled(classes) for split, classes in folders.items()}
    with pillow_is_strict():
        reading = Reading(image_size or _common_size(name, files), non_square, scaled_decoding)
        count = sum(len(one.paths) for one in files.values())
        needed = round(COPIED * count * 3 * reading.size**2)
        if streams(stream, needed):
            root = Path(argument).expanduser()
            splits, broken = _streamed(name, root, files, reading, search_images, seed, workers)
        else:
            require_memory(name, needed, available_memory())
            splits, broken = _in_memory(name, files, class_names, reading, search_images, seed)
    if broken:
        notes.append(f"{len(broken)} of {count} pictures cannot be read, {_shown(broken)}")
    train, search, test = splits
    data = make_dataset(
        name,
        class_names,
        train=train,
        search=search,
        test=test,
        calibration_images=calibration_images,
        seed=seed,
    )
    return replace(data, notes=(*data.notes, *(f"{note}: left out" for note in notes)))


def _labelled(classes: Classes) -> Files:
    paths = [path for files in classes.values() for path in files]
    sizes = [len(files) for files in classes.values()]
    return Files(paths, np.repeat(np.arange(len(sizes), dtype=np.int64), sizes))


def _common_size(name: str, files: dict[str, Files]) -> int:
    """The size of all pictures, where they are squares of one size."""

    def size(path: Path) -> tuple[int, int] | None:
        try:
            return picture_size(path)
        except PictureError:
            return None

    with _threads() as threads:
        paths = [path for one in files.values() for path in one.paths]
        sizes = {one for one in threads.map(size, paths) if one is not None}
    if not sizes:
        raise UserError(f"{name}: none of {len(paths)} pictures can be read: check one of them")
    height, width = min(sizes)
    if len(sizes) > 1 or height != width:
        shown = f"{height}x{width}" + (f" and {len(sizes) - 1} more" if len(sizes) > 1 else "")
        raise UserError(
            f"{name}: pictures must be squares of one size, got {shown}: say the size that they "
            "are to have, --data.image-size 64"
        )
    return height


def _in_memory(
    name: str,
    files: dict[str, Files],
    class_names: Sequence[str],
    reading: Reading,
    search_images: int,
    seed: int,
) -> tuple[Splits, list[str]]:
    """All splits, and a line for each picture that cannot be read."""
    pairs, broken = _read(name, files, reading)
    for split, (_, labels) in pairs.items():
        if len(lost := np.setdiff1d(files[split].labels, labels)):
            known = printable(class_names[int(lost[0])])
            raise UserError(
                f"{name}: {split}: no picture of the class {known!r} can be read, "
                f"{_shown(broken)}: fetch them anew"
            )
    return _divided(pairs, search_images, seed), broken


def _streamed(
    name: str,
    root: Path,
    files: dict[str, Files],
    reading: Reading,
    search_images: int,
    seed: int,
    workers: int | None,
) -> tuple[Splits, list[str]]:
    """The same, of the same pictures, but those of the training are not read here."""
    unread = {split: (np.array(one.paths), one.labels) for split, one in files.items()}
    (paths, labels), *others = _divided(unread, search_images, seed)
    train = streamed_files(name, root, paths.tolist(), labels, reading, workers)
    parts = {
        split: Files(paths.tolist(), labels)
        for split, (paths, labels) in zip(("search", "test"), others, strict=True)
    }
    needed = sum(len(one.paths) for one in parts.values()) * 3 * reading.size**2
    require_memory(f"{name}: search and test", needed, available_memory())
    pairs, broken = _read(name, parts, reading)
    return (train, pairs["search"], pairs["test"]), broken


def _read(
    name: str, files: dict[str, Files], reading: Reading
) -> tuple[dict[str, Pair], list[str]]:
    """Images and labels of each split, and a line for each picture that cannot be read."""
    pairs = {}
    broken: list[str] = []
    for split, (paths, labels) in files.items():
        images = np.empty((len(paths), reading.size, reading.size, 3), np.uint8)
        with _threads() as threads:
            reasons = list(threads.map(partial(_fill, images, paths, reading), range(len(paths))))
        sound = [row for row, reason in enumerate(reasons) if reason is None]
        broken += [
            f"{relative(path, path.parents[1])} ({reason})"
            for path, reason in zip(paths, reasons, strict=True)
            if reason is not None
        ]
        if len(sound) < len(paths):
            for row, old in enumerate(sound):  # a row's place is never behind the row
                images[row] = images[old]
        pairs[split] = images[: len(sound)], labels[sound]
    count = sum(len(paths) for paths, _ in files.values())
    if len(broken) > BROKEN_SHARE * count:
        raise UserError(
            f"{name}: {len(broken)} of {count} pictures cannot be read, more than "
            f"{BROKEN_SHARE:.0%}, {_shown(broken)}: fetch them anew, or remove them"
        )
    return pairs, broken


def _fill(images: np.ndarray, paths: Sequence[Path], reading: Reading, row: int) -> str | None:
    """Read a picture into its row; why that cannot be."""
    try:
        images[row] = reading.picture(paths[row])
    except PictureError as error:
        return printable(str(error))
    return None


def _divided(pairs: dict[str, Pair], search_images: int, seed: int) -> tuple[Pair, Pair, Pair]:
    """Train, search and test; a class is never taken out of train altogether."""
    train = pairs["train"]
    if "test" in pairs:
        test = pairs["test"]
    else:
        train, test = take_out(*train, len(train[1]) // TEST_SHARE, seed=0)
    if "val" in pairs:
        return train, pairs["val"], test
    train, search = hold_out(*train, search_images, seed)
    return train, search, test


def _threads() -> ThreadPoolExecutor:
    """One a core; Pillow decodes outside Python's lock."""
    return ThreadPoolExecutor(len(os.sched_getaffinity(0)))


def _shown(broken: Sequence[str]) -> str:
    more = f" and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
    return ", ".join(broken[:SHOWN]) + more
