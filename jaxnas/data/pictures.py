"""Image files that strangers made, as pixels of one size.

Only formats of a short list are opened, and no picture of more pixels than Pillow holds safe.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from jaxnas.errors import choose

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
RESAMPLING = Image.Resampling.BICUBIC
Pixels = UInt8[np.ndarray, "size size 3"]


class PictureError(Exception):
    """Why a file cannot be read as a picture, in a few words."""


def cropped(picture: Image.Image, size: int) -> Image.Image:
    """The square in the middle."""
    return ImageOps.fit(picture, (size, size), RESAMPLING)


def squashed(picture: Image.Image, size: int) -> Image.Image:
    """All of the picture, its sides scaled apart."""
    return picture.resize((size, size), RESAMPLING)


# How a picture that is not square becomes so.
NON_SQUARE: dict[str, Callable[[Image.Image, int], Image.Image]] = {
    "crop": cropped,
    "squash": squashed,
}


@dataclass(frozen=True)
class Reading:
    """How files become pictures of one size."""

    size: int
    non_square: str = "crop"
    """A name of `NON_SQUARE`."""
    scaled: bool = False
    """JPEG files are decoded at a half, a quarter or an eighth, where that is no smaller."""

    def picture(self, path: Path) -> Pixels:
        """A picture; a `PictureError` if it cannot be read."""
        return read_picture(path, self.size, self.non_square, self.scaled)


def read_picture(path: Path, size: int, non_square: str, scaled: bool = False) -> Pixels:
    """A picture as RGB, upright as its EXIF data have it, bicubically scaled to `size` pixels.

    One that has this size keeps its pixels. Grey ones have three equal channels, of 16 bits the
    upper 8 count; transparency is dropped, of several frames the first one taken. `scaled` as in
    `Reading`.

    Raises:
        PictureError: it is damaged, of another format, or has too many pixels.
    """
    square = choose("data.non_square", non_square, NON_SQUARE)
    with _opened(path) as picture:
        if scaled:
            picture.draft(None, (size, size))
        return np.asarray(square(_rgb(ImageOps.exif_transpose(picture)), size))


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width, upright; only the beginning of the file is read.

    Raises:
        PictureError: as `read_picture`.
    """
    with _opened(path) as picture:
        width, height = picture.size
        turned = picture.getexif().get(0x0112, 1) > 4  # the orientations 5 to 8
        return (width, height) if turned else (height, width)


@contextmanager
def pillow_is_strict() -> Iterator[None]:
    """Pillow's warnings of too many pixels become errors, its others are left out.

    Of the whole process, all threads: enter it once, around them.
    """
    with warnings.catch_warnings():
        make_pillow_strict()
        yield


def make_pillow_strict() -> None:
    """The same from now on."""
    warnings.filterwarnings("ignore", module=r"PIL\.")
    warnings.simplefilter("error", Image.DecompressionBombWarning)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A picture; damaged ones fail in a dozen ways, of which this makes one."""
    if not path.is_file():  # a device or a pipe may have no end
        raise PictureError("it is no regular file")
    try:
        with Image.open(path, formats=FORMATS) as picture:
            yield picture
    except Image.UnidentifiedImageError:
        raise PictureError(f"it is none of {', '.join(FORMATS)}") from None
    except MemoryError:
        raise PictureError("it does not fit into memory") from None
    except Exception as error:
        raise PictureError((str(error).splitlines() or [type(error).__name__])[0][:200]) from error


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
        grey = (np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        picture = Image.fromarray(grey)
    return picture.convert("RGB")
