"""One NumPy archive with MedMNIST's keys: {train,val,test}_images, {train,val,test}_labels, and class_names if known."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from jaxnas.data.dataset import Dataset, Pair, make_dataset
from jaxnas.errors import UserError

SPLITS = ("train", "val", "test")


def load(argument: str, *, data_dir: str | None, search_images: int, calibration_images: int, seed: int) -> Dataset:
    """The archive at the path `argument`; its validation split is the search split, whatever its size.

    Images are uint8 (N, H, W), grey, or (N, H, W, 3); labels are integers (N,) or (N, 1), one class per image.
    Nothing is unpickled.
    """
    del data_dir, search_images
    name = f"npz:{argument}"
    arrays = _read(name, argument)
    train, search, test = (_pair(name, split, arrays) for split in SPLITS)
    return make_dataset(name, _class_names(arrays), train=train, search=search, test=test, calibration_images=calibration_images, seed=seed)


def _read(name: str, path: str) -> dict[str, np.ndarray]:
    if not path:
        raise UserError("npz needs the path of an archive, got none: write npz:PATH")
    required = [f"{split}_{kind}" for split in SPLITS for kind in ("images", "labels")]
    try:
        with zipfile.ZipFile(Path(path).expanduser()) as archive:
            present = {member.removesuffix(".npy") for member in archive.namelist()}
            if missing := [key for key in required if key not in present]:
                raise UserError(f"{name} must have MedMNIST's keys, lacks {', '.join(missing)}: write them with numpy.savez")
            return {key: _array(archive, key) for key in [*required, "class_names"] if key in present}
    except FileNotFoundError:
        raise UserError(f"{name}: no such file: check the path, which is relative to the working directory") from None
    except (OSError, EOFError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{name} cannot be read as plain arrays ({reason}): fetch or write it anew, as an .npz with uint8 images and integer labels"
        ) from error


def _array(archive: zipfile.ZipFile, key: str) -> np.ndarray:
    with archive.open(f"{key}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _pair(name: str, split: str, arrays: dict[str, np.ndarray]) -> Pair:
    images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise UserError(f"{name}: {split}_images must be (N, H, W) or (N, H, W, 3), got {images.shape}: reshape or choose channels")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    return images, labels


def _class_names(arrays: dict[str, np.ndarray]) -> tuple[str, ...]:
    """As named in the archive, else numbers from 0 to the largest label."""
    if "class_names" in arrays:
        return tuple(str(name) for name in arrays["class_names"].ravel().astype(str))
    labels = [arrays[f"{split}_labels"] for split in SPLITS]
    largest = max((int(split.max()) for split in labels if split.size and split.dtype.kind in "iu"), default=-1)
    return tuple(str(label) for label in range(largest + 1))
