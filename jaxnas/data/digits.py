"""Handwritten digits that come with scikit-learn.

1,797 grey images, no download, trains in minutes on two cores.
"""

from typing import Any, cast

import numpy as np
from scipy import ndimage

from jaxnas.data.dataset import Dataset, hold_out, make_dataset, take_out
from jaxnas.errors import UserError


def load(
    argument: str, *, data_dir: str | None, search_images: int, calibration_images: int, seed: int
) -> Dataset:
    """The digits at 16x16x1; a fifth is the test split, the same for every seed."""
    del data_dir
    if argument:
        raise UserError(f"digits takes no argument, got digits:{argument}: write digits")
    from sklearn.datasets import load_digits  # a second of import, only for those who want it

    digits = cast(Any, load_digits())
    images = _upscale(digits.images)
    labels = digits.target
    rest, test = take_out(images, labels, len(labels) // 5, seed=0)
    train, search = hold_out(*rest, search_images, seed)
    names = tuple(str(name) for name in digits.target_names)
    return make_dataset(
        "digits",
        names,
        train=train,
        search=search,
        test=test,
        calibration_images=calibration_images,
        seed=seed,
    )


def _upscale(images: np.ndarray) -> np.ndarray:
    """Grey 0..16 (n, 8, 8) to uint8 (n, 16, 16, 1), bilinear between pixel centres."""
    # Twice the size bilinearly means sixteenths: whole numbers, so that rounding is the same on
    # every machine.
    sixteenths = np.asarray(
        ndimage.zoom(16 * images, (1, 2, 2), order=1, mode="nearest", grid_mode=True)
    )
    return ((np.rint(sixteenths).astype(np.int32) * 255 + 128) // 256).astype(np.uint8)[..., None]
