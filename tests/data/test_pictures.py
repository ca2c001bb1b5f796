"""Pictures of any format, size, orientation and depth, and files that are none."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from jaxnas.data.pictures import (
    NON_SQUARE,
    PictureError,
    picture_size,
    pillow_is_strict,
    read_picture,
)


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.fixture
def save(tmp_path):
    def write(picture, name="a.png", **settings):
        picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        picture.save(tmp_path / name, **settings)
        return tmp_path / name

    return write


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "wrong ending.jpg"])
def test_a_picture_of_the_right_size_keeps_its_pixels(save, name):
    given = noise(8, 8, 3)
    path = save(given, name, format="PNG" if name.endswith("jpg") else None)
    for way in NON_SQUARE:
        assert (read_picture(path, 8, way) == given).all()


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.gif"])
def test_lossy_formats_come_near(save, name):
    smooth = np.add.outer(np.arange(16), np.arange(16)).astype(np.uint8)[..., None] * [8, 4, 1]
    given = smooth.astype(np.uint8)
    found = read_picture(save(given, name), 16, "crop").astype(int)
    assert np.abs(found - given).mean() < 8


def test_grey_palette_transparent_and_16_bit_pictures_become_rgb_alike(save):
    grey = noise(8, 8)
    expected = np.repeat(grey[..., None], 3, -1)
    assert (read_picture(save(grey), 8, "crop") == expected).all()
    deep = (grey.astype(np.uint16) << 8) + 77
    assert (read_picture(save(deep), 8, "crop") == expected).all()
    colours = Image.fromarray(grey).convert("P")
    assert (read_picture(save(colours), 8, "crop") == expected).all()
    clear = np.dstack([expected, np.zeros((8, 8), np.uint8)])
    assert (read_picture(save(clear), 8, "crop") == expected).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_is_put_upright(save, orientation):
    """As ITU-T T.81's EXIF numbers them: what has to be done to what is stored."""
    stored = noise(6, 8, 3)
    undo = {
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.swapaxes(0, 1),
        6: lambda x: np.rot90(x, -1),
        7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(stored, exif=exif)
    upright = undo(stored)
    assert picture_size(path) == upright.shape[:2]
    plain = save(np.ascontiguousarray(upright), "b.png")
    assert (read_picture(path, 6, "squash") == read_picture(plain, 6, "squash")).all()


def test_crop_keeps_the_middle_and_squash_all(save):
    bands = np.zeros((8, 24, 3), np.uint8)
    bands[:, 8:16] = 255
    path = save(bands)
    assert read_picture(path, 8, "crop").min() == 255
    squashed = read_picture(path, 9, "squash")
    assert squashed[:, 4].min() > 250 and squashed[:, [0, 8]].max() < 5


def bomb(side):
    """A PNG of so many black pixels a side, a kilobyte for each million."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def refused(path):
    with pillow_is_strict(), pytest.raises(PictureError) as caught:
        read_picture(path, 8, "crop")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("side", [10_000, 1 << 16])
def test_a_decompression_bomb_is_refused_by_its_head(tmp_path, side):
    (tmp_path / "bomb.png").write_bytes(bomb(side))
    assert "decompression bomb" in refused(tmp_path / "bomb.png")


def test_files_that_are_no_pictures_are_refused(save, tmp_path):
    path = tmp_path / "a.jpg"
    for content in (b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n"):
        path.write_bytes(content)
        assert "it is none of JPEG, PNG" in refused(path)
    save(noise(8, 8, 3), "a.tif").rename(path)
    assert "it is none of JPEG, PNG" in refused(path)
    path.unlink()
    assert "it is no regular file" in refused(path)
    os.mkfifo(path)
    assert "it is no regular file" in refused(path)


def test_damaged_files_are_refused_or_read_but_never_crash(tmp_path):
    path = tmp_path / "a"
    rng = np.random.default_rng(0)
    errors = 0
    for kind in ("JPEG", "PNG", "WEBP", "BMP", "GIF"):
        file = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6
        settings = {} if kind in ("BMP", "GIF") else {"exif": exif}
        Image.fromarray(noise(8, 8, 3)).save(file, kind, **settings)
        whole = file.getvalue()
        for position in rng.integers(0, len(whole), 40):
            damaged = bytearray(whole)
            damaged[position] ^= int(rng.integers(1, 256))
            length = rng.integers(1, len(whole)) if position % 2 else len(whole)
            path.write_bytes(bytes(damaged[:length]))
            try:
                with pillow_is_strict():
                    assert read_picture(path, 4, "crop").shape == (4, 4, 3)
            except PictureError:
                errors += 1
    assert errors > 80
