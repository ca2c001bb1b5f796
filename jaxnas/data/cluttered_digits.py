"""Handwritten digits among fragments of others, made of those that come with scikit-learn.

About 4,000 grey images to train on, no download. Larger networks are visibly better on them.
"""

from typing import Any, cast

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy import ndimage

from jaxnas.data.dataset import Dataset, Pair, hold_out, make_dataset, take_out
from jaxnas.errors import UserError

PIXELS = 32
COPIES = 3  # of each digit in train and search, each placed and cluttered anew
SIZES = (18.0, 27.0)  # pixels of a digit's height, least and most
TURN = 15.0  # degrees to either side, at most
FRAGMENTS = 4  # of other digits, an image
FRAGMENT = 8  # pixels of its side
CONTRAST = 0.6  # of the faintest digit; fragments have no less
NOISE = 0.08  # standard deviation, of the brightest digit's ink


def load(
    argument: str, *, data_dir: str | None, search_images: int, calibration_images: int, seed: int
) -> Dataset:
    """Digits at 32x32x1, turned, scaled and cluttered.

    A fifth of the written digits is the test split, the same for every seed. No digit stands, whole
    or in fragments, in two splits.
    """
    del data_dir
    if argument:
        raise UserError(
            f"cluttered_digits takes no argument, got cluttered_digits:{argument}: write "
            "cluttered_digits"
        )
    from sklearn.datasets import load_digits  # a second of import, only for those who want it

    digits = cast(Any, load_digits())
    rest, test = take_out(digits.images / 16, digits.target, len(digits.target) // 5, seed=0)
    train, search = hold_out(*rest, -(-search_images // COPIES), seed)
    return make_dataset(
        "cluttered_digits",
        tuple(str(name) for name in digits.target_names),
        train=cluttered(*train, COPIES, seed=1),
        search=_first(cluttered(*search, COPIES, seed=2), search_images),
        test=cluttered(*test, COPIES, seed=3),
        calibration_images=calibration_images,
        seed=seed,
    )


def cluttered(
    digits: Float[np.ndarray, "n 8 8"], labels: Int[np.ndarray, "n"], copies: int, seed: int
) -> tuple[UInt8[np.ndarray, "m 32 32 1"], Int[np.ndarray, "m"]]:
    """So many images of each of the digits, whose ink is from 0 to 1."""
    draw = np.random.default_rng(seed)
    order = np.tile(np.arange(len(digits)), copies)
    images = np.stack([_image(draw, digits[row], digits) for row in order])
    return np.rint(255 * images).astype(np.uint8)[..., None], labels[order]


def _image(draw: np.random.Generator, digit: np.ndarray, digits: np.ndarray) -> np.ndarray:
    """One digit, whole, over fragments of others."""
    canvas = np.zeros((PIXELS, PIXELS))
    for other in draw.integers(0, len(digits), FRAGMENTS):
        whole = _placed(draw, digits[other])
        y, x = draw.integers(0, PIXELS - FRAGMENT + 1, 2)
        from_y, from_x = draw.integers(4, PIXELS - FRAGMENT - 3, 2)
        cut = whole[from_y : from_y + FRAGMENT, from_x : from_x + FRAGMENT]
        canvas[y : y + FRAGMENT, x : x + FRAGMENT] = np.maximum(
            canvas[y : y + FRAGMENT, x : x + FRAGMENT], cut
        )
    canvas = np.maximum(canvas, _placed(draw, digit))
    return np.clip(canvas + draw.normal(0, NOISE, canvas.shape), 0, 1)


def _placed(draw: np.random.Generator, digit: np.ndarray) -> np.ndarray:
    """A digit on an empty image, turned, scaled and shifted so that all of it is inside."""
    size = draw.uniform(*SIZES)
    turn = np.deg2rad(draw.uniform(-TURN, TURN))
    room = (PIXELS - size) / 2
    centre = PIXELS / 2 - 0.5 + draw.uniform(-room, room, 2)
    back = 8 / size * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    offset = cast(Any, 3.5 - back @ centre)
    placed = ndimage.affine_transform(digit, back, offset, (PIXELS, PIXELS), order=1)
    return placed * draw.uniform(CONTRAST, 1)


def _first(pair: Pair, count: int) -> Pair:
    images, labels = pair
    return images[:count], labels[:count]
