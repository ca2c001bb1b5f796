"""One NumPy archive with MedMNIST's keys.

{train,val,test}_images, {train,val,test}_labels, and class_names if known.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxnas.data.archives import Archive, ArchiveError, Header, opened
from jaxnas.data.dataset import Dataset, Pair, check_images, check_label_shape, make_dataset
from jaxnas.data.memory import available_memory, require_memory
from jaxnas.errors import UserError

SPLITS = ("train", "val", "test")
NAMES_BYTES = 64 << 20  # of the names of a million classes
FEW = 100  # classes that may be numbered with gaps as one likes
GAPS = 10  # times as many classes as there are different labels, beyond that


def load(
    argument: str, *, data_dir: str | None, search_images: int, calibration_images: int, seed: int
) -> Dataset:
    """The archive at the path `argument`.

    Its validation split is the search split, whatever its size.

    Images are uint8 (N, H, W), grey, or (N, H, W, 3); labels are integers (N,) or (N, 1), one class
    per image. Nothing is unpickled; nothing is read before the shapes of all arrays are known to be
    right, and to fit into memory.
    """
    del data_dir, search_images
    name = f"npz:{argument}"
    if not argument:
        raise UserError("npz needs the path of an archive, got none: write npz:PATH")
    try:
        path = Path(argument).expanduser()
        if path.is_dir():
            raise UserError(
                f"{name} is a folder, expected an archive: for pictures in it write "
                f"folder:{argument}"
            )
        with opened(path) as archive:
            pairs, class_names = _read(name, archive)
    except FileNotFoundError:
        raise UserError(
            f"{name}: no such file: check the path, which is relative to the working directory"
        ) from None
    except (ArchiveError, RuntimeError) as error:  # a home that is not known
        raise UserError(
            f"{name} cannot be read as plain arrays ({error}): fetch or write it anew, as an .npz "
            "with uint8 images and integer labels"
        ) from error
    train, search, test = pairs
    return make_dataset(
        name,
        class_names,
        train=train,
        search=search,
        test=test,
        calibration_images=calibration_images,
        seed=seed,
    )


def _read(name: str, archive: Archive) -> tuple[list[Pair], tuple[str, ...]]:
    required = [f"{split}_{kind}" for split in SPLITS for kind in ("images", "labels")]
    if missing := [key for key in required if key not in archive.names]:
        raise UserError(
            f"{name} must have MedMNIST's keys, lacks {', '.join(missing)}: write them with "
            "numpy.savez"
        )
    headers = {key: archive.header(key) for key in required}
    _check(name, headers)
    labels = [_one_per_image(archive.read(f"{split}_labels")) for split in SPLITS]
    class_names = (
        _named(name, archive) if "class_names" in archive.names else _numbered(name, labels)
    )
    images = [archive.read(f"{split}_images") for split in SPLITS]
    return list(zip(map(_with_channels, images), labels, strict=True)), class_names


def _check(name: str, headers: Mapping[str, Header]) -> None:
    """Refuses shapes and types that no data set has, and more than fits into memory."""
    shapes = {split: _shape(name, split, headers[f"{split}_images"].shape) for split in SPLITS}
    for split, shape in shapes.items():
        images = headers[f"{split}_images"]
        labels = headers[f"{split}_labels"]
        where = f"{name}: {split.replace('val', 'search')}"
        check_images(where, shape, images.dtype, shapes["train"])
        single = labels.shape[:1] if labels.shape[1:] == (1,) else labels.shape
        check_label_shape(where, single, labels.dtype, shape[0])
    copied = headers["val_images"].nbytes  # put into another order
    require_memory(
        name, sum(header.nbytes for header in headers.values()) + copied, available_memory()
    )


def _shape(name: str, split: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """With an axis of channels."""
    found = (*shape, 1) if len(shape) == 3 else shape
    if len(found) != 4 or found[-1] not in (1, 3):
        raise UserError(
            f"{name}: {split}_images must be (N, H, W) or (N, H, W, 3), got {shape}: reshape or "
            "choose channels"
        )
    return found


def _one_per_image(labels: np.ndarray) -> np.ndarray:
    return labels[:, 0] if labels.ndim == 2 else labels


def _with_channels(images: np.ndarray) -> np.ndarray:
    return images[..., None] if images.ndim == 3 else images


def _named(name: str, archive: Archive) -> tuple[str, ...]:
    """The classes as the archive names them."""
    header = archive.header("class_names")
    if header.dtype.kind not in "USiu" or header.nbytes > NAMES_BYTES:
        raise UserError(
            f"{name}: class_names must be text, got {header.dtype} {header.shape}: write them as "
            "an array of strings"
        )
    names = archive.read("class_names").ravel()
    try:
        found = [one.decode() if isinstance(one, bytes) else str(one) for one in names.tolist()]
        "".join(found).encode()
    except UnicodeError:
        raise UserError(
            f"{name}: class_names must be UTF-8, got other bytes: write them as an array of strings"
        ) from None
    return tuple(found)


def _numbered(name: str, labels: list[np.ndarray]) -> tuple[str, ...]:
    """Numbers from 0 to the largest label."""
    present = sorted({int(label) for some in labels for label in np.unique(some)})
    classes = present[-1] + 1
    if present[0] < 0 or classes > max(FEW, GAPS * len(present)):
        raise UserError(
            f"{name} labels are {present[0]}..{present[-1]}, {len(present)} different ones: number "
            "the classes from 0, without gaps"
        )
    return tuple(map(str, range(classes)))
