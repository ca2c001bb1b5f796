"""Streamed training images are those of memory, in any order, however they are read."""

import os
import signal
import subprocess
import sys
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxnas.data import folder, memory, streamed
from jaxnas.data.dataset import STREAMED
from jaxnas.data.streamed import Streamed, processes
from jaxnas.errors import UserError

SETTINGS = {"data_dir": None, "search_images": 12, "calibration_images": 16, "seed": 3}
ORDER = np.random.default_rng(1).permutation(60).reshape(5, 12)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """90 pictures of 3 classes, of which 60 are trained on; every third is a JPEG file."""
    root = tmp_path_factory.mktemp("pictures")
    images = np.random.default_rng(0).integers(0, 256, (90, 12, 12, 3), np.uint8)
    for row, image in enumerate(images):
        place = root / f"class {row % 3}"
        place.mkdir(exist_ok=True)
        Image.fromarray(image).save(place / f"bild ü{row:02}.{'png' if row % 3 else 'jpg'}")
    return root


def load(root, **settings):
    return folder.load(str(root), **(SETTINGS | settings))


def source(root):
    train = load(root, stream="always", workers=0).train
    assert isinstance(train, Streamed)
    return train.source


def batches(data, order=ORDER):
    assert isinstance(data.train, Streamed)
    return [(batch.images.copy(), batch.labels.copy()) for batch in data.train.batches(order)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_streamed_folder_is_the_same_data_as_in_memory(pictures, workers):
    held = load(pictures, image_size=8)
    data = load(pictures, image_size=8, stream="always", workers=workers)
    for name in ("search", "test", "calibration"):
        assert (getattr(data, name).images == getattr(held, name).images).all()
        assert (getattr(data, name).labels == getattr(held, name).labels).all()
    assert (data.mean == held.mean).all() and (data.deviation == held.deviation).all()
    assert (data.train.labels == held.train.labels).all() and len(data.train) == 60
    assert (data.image_size, data.channels, data.classes) == ((8, 8), 3, 3)
    found = batches(data)
    assert len(found) == len(ORDER)
    for rows, (images, labels) in zip(ORDER, found, strict=True):
        assert (images == held.train.images[rows]).all()
        assert (labels == held.train.labels[rows]).all()
    assert data.notes == (
        "60 training images are streamed; mean and deviation are those of all of them",
    )
    assert data.fingerprint().startswith(STREAMED) and not held.fingerprint().startswith(STREAMED)


def test_the_fingerprint_is_of_names_and_sizes_and_of_how_files_are_read(pictures, tmp_path):
    def fingerprint(root=pictures, **settings):
        return load(root, stream="always", workers=0, **settings).fingerprint()

    moved = tmp_path / "moved"
    subprocess.run(["cp", "-r", str(pictures), str(moved)], check=True)
    assert fingerprint(moved) == fingerprint()
    others = [fingerprint(image_size=6), fingerprint(image_size=6, non_square="squash")]
    first = source(moved).name(0)
    (moved / first).write_bytes((moved / first).read_bytes() + b"\0")
    others.append(fingerprint(moved))
    assert len({fingerprint(), *others}) == 4


def test_a_damaged_picture_is_named_once_and_the_one_before_it_takes_its_place(
    pictures, tmp_path, capsys
):
    root = tmp_path / "damaged"
    subprocess.run(["cp", "-r", str(pictures), str(root)], check=True)
    held = load(pictures)
    files = source(root)
    for row in (0, 20, 21):
        (root / files.name(row)).write_bytes(b"broken")
    capsys.readouterr()
    data = load(root, stream="always", workers=0)
    order = np.array([[0, 20, 21, 22]] * 3)
    for images, labels in batches(data, order):
        assert (images == held.train.images[[59, 19, 19, 22]]).all()
        assert (labels == held.train.labels[[59, 19, 19, 22]]).all()
    said = capsys.readouterr().err
    assert said.count("another takes its place") == 3
    assert said.count(f"{files.name(20)} cannot be read (it is none of JPEG") == 1
    for row in (30, 31, 32, 33, 34):
        (root / files.name(row)).write_bytes(b"broken")
    with pytest.raises(UserError, match="8 of 60 training pictures cannot be read, more than 10%"):
        load(root, stream="always", workers=0)


def test_what_does_not_fit_is_streamed_unless_the_setting_says_otherwise(
    pictures, tmp_path, monkeypatch
):
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text(
        "MemAvailable: 40 kB\n"
    )  # 57 kB with copies, 13 without train
    assert isinstance(load(pictures, workers=0).train, Streamed)
    with pytest.raises(UserError, match="of memory, there are"):
        load(pictures, stream="never")
    (tmp_path / "meminfo").write_text("MemAvailable: 400 kB\n")
    assert not isinstance(load(pictures).train, Streamed)
    (tmp_path / "meminfo").write_text("MemAvailable: 4 kB\n")
    with pytest.raises(UserError, match="search and test needs"):
        load(pictures)


def test_shared_memory_bounds_the_processes(monkeypatch):
    cores = len(os.sched_getaffinity(0))
    usage = namedtuple("Usage", "free")
    monkeypatch.setattr(streamed.shutil, "disk_usage", lambda path: usage(8_000_000))
    assert processes(None, 1_000_000) == min(2, cores)
    assert processes(None, 3_000_000) == 0
    assert processes(5, 3_000_000) == 5


def test_pictures_that_are_gone_are_an_error_in_one_line(pictures, tmp_path):
    root = tmp_path / "gone"
    subprocess.run(["cp", "-r", str(pictures), str(root)], check=True)
    data = load(root, stream="always", workers=0)
    subprocess.run(["rm", "-r", str(root)], check=True)
    with pytest.raises(UserError, match=r"cannot be read any more .* restore its files"):
        batches(data)


def test_without_grain_it_says_how_to_install_it(pictures, monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(
        UserError, match=r"is streamed, which needs grain .*\[grain\].* or set data.stream never"
    ):
        load(pictures, stream="always")


def test_decoding_at_a_fraction_is_nearly_the_same(tmp_path):
    rows, columns = np.mgrid[:64, :64]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for row in range(8):
            image = np.stack([2 * rows + row, 2 * columns, rows + columns], -1).astype(np.uint8)
            Image.fromarray(image).save(tmp_path / name / f"{row}.jpg", quality=95)
    whole, scaled = (
        load(tmp_path, search_images=4, image_size=8, scaled_decoding=way) for way in (False, True)
    )
    assert whole.fingerprint() != scaled.fingerprint()
    off = np.abs(whole.train.images.astype(int) - scaled.train.images.astype(int))
    assert off.max() <= 6


READER = """
import sys
import numpy as np
from jaxnas.data import folder
data = folder.load(sys.argv[1], data_dir=None, search_images=12, calibration_images=16, seed=3,
                   stream="always", workers=1)
for batch in data.train.batches(np.zeros((1000, 4), int)):
    import multiprocessing
    print(multiprocessing.active_children()[0].pid, flush=True)
    sys.stdin.read()
"""


def test_a_process_that_reads_ignores_ctrl_c_and_ends_with_its_parent(pictures):
    command = [sys.executable, "-c", READER, str(pictures)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(worker, number)
        time.sleep(0.3)
        assert _runs(worker)
        parent.kill()
    deadline = time.monotonic() + 10
    while _runs(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(worker)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_first_images_are_a_split_of_their_own(pictures):
    data = load(pictures, stream="always", workers=0)
    few = replace(data, train=data.train.first(7))
    assert len(few.train) == 7
    (only,) = batches(few, np.array([[6, 0]]))
    held = load(pictures)
    assert (only[0] == held.train.images[[6, 0]]).all()
