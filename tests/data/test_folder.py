import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxnas.data import folder, memory, npz, pictures
from jaxnas.errors import UserError
from jaxnas.records.data import read_data
from jaxnas.records.run_directory import RunDirectory

SETTINGS = {"data_dir": None, "calibration_images": 16, "seed": 0}
CLASSES = ("ant", "bee", "cow")


def fill(root: Path, each: int, seed=0, shape=(8, 8, 3), classes=CLASSES) -> np.ndarray:
    """So many pictures of noise of each class, which are returned in the order of their files."""
    images = np.random.default_rng(seed).integers(0, 256, (each * len(classes), *shape), np.uint8)
    for row, image in enumerate(images):
        place = root / classes[row // each]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{row:03}.png")
    return images


def load(root, search_images=12, **settings):
    return folder.load(str(root), search_images=search_images, **(SETTINGS | settings))


def refused(root, **settings):
    with pytest.raises(UserError) as caught:
        load(root, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_same_pictures_as_folder_and_as_archive_are_the_same_data(tmp_path):
    arrays = {}
    for seed, split in enumerate(("train", "val", "test")):
        images = fill(tmp_path / "my pictures" / split, 8, seed)
        arrays |= {f"{split}_images": images, f"{split}_labels": np.repeat(np.arange(3), 8)}
    np.savez(tmp_path / "same.npz", class_names=np.array(CLASSES), **arrays)
    archive = npz.load(str(tmp_path / "same.npz"), search_images=1, **SETTINGS)
    data = load(tmp_path / "my pictures")
    assert data.name == f"folder:{tmp_path / 'my pictures'}" and data.notes == ()
    assert data.fingerprint() == archive.fingerprint()
    assert (data.mean == archive.mean).all() and (data.deviation == archive.deviation).all()


def test_without_folders_of_splits_a_fifth_is_tested_and_search_images_are_held_out(tmp_path):
    images = fill(tmp_path, 30)
    data = load(tmp_path)
    assert [len(split) for split in (data.train, data.search, data.test)] == [60, 12, 18]
    for split, each in ((data.train, 20), (data.search, 4), (data.test, 6)):
        assert np.bincount(split.labels).tolist() == [each] * 3
        for image, label in zip(split.images, split.labels, strict=True):
            (row,) = np.flatnonzero((images == image).all((1, 2, 3)))
            assert row // 30 == label
    os.mkdir(tmp_path / "whole")
    for name in CLASSES:
        (tmp_path / name).rename(tmp_path / "whole" / name)
    (tmp_path / "whole").rename(tmp_path / "train")
    assert load(tmp_path).fingerprint() == data.fingerprint()


def test_without_val_the_search_split_is_held_out_of_train(tmp_path):
    fill(tmp_path / "train", 12)
    test = fill(tmp_path / "test", 4, 1)
    data = load(tmp_path, 6)
    assert [len(split) for split in (data.train, data.search, data.test)] == [30, 6, 12]
    assert (data.test.images == test).all()
    assert load(tmp_path, 6, seed=1).fingerprint() != data.fingerprint()


def test_folders_of_splits_have_other_names_too_but_a_class_may_be_called_train(tmp_path):
    for split in ("Training", "valid", "TEST"):
        fill(tmp_path / split, 8)
    assert load(tmp_path).classes == 3
    fill(tmp_path / "val", 8)
    assert "has two folders for one split, TEST, Training, val, valid" in refused(tmp_path)
    vehicles = tmp_path / ".vehicles"
    fill(vehicles, 20, classes=("bus", "train"))
    assert load(vehicles, 6).class_names == ("bus", "train")


def test_pictures_of_any_size_become_those_that_are_asked_for(tmp_path):
    fill(tmp_path, 20, shape=(10, 14, 3))
    text = refused(tmp_path)
    assert "pictures must be squares of one size, got 10x14: say the size" in text
    fill(tmp_path / "ant", 1, shape=(9, 9, 3), classes=("more",))
    assert "got 9x9 and 1 more: say the size that they are to have, --data.image-size" in refused(
        tmp_path
    )
    cropped, squashed = (load(tmp_path, image_size=6, non_square=way) for way in ("crop", "squash"))
    assert cropped.image_size == squashed.image_size == (6, 6)
    assert cropped.fingerprint() != squashed.fingerprint()


def test_hidden_files_and_notes_are_no_pictures_and_folders_inside_a_class_are_its_own(tmp_path):
    fill(tmp_path, 20)
    before = load(tmp_path)
    for name in (".DS_Store", "ant/._000.png", ".git/a.png", "__MACOSX/a.png", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"no picture")
    assert load(tmp_path).fingerprint() == before.fingerprint()
    (tmp_path / "bee/notes.txt").write_text("sunny")
    (tmp_path / "bee/deep/er").mkdir(parents=True)
    for path in sorted((tmp_path / "bee").glob("0[2-3]*.png")):
        path.rename(tmp_path / "bee/deep/er" / path.name)
    data = load(tmp_path)
    assert data.notes == ("1 file is no picture by name, bee/notes.txt: left out",)
    assert len(data.train) == len(before.train)


def test_damaged_pictures_are_named_counted_and_left_out(tmp_path):
    images = fill(tmp_path, 20)
    for row in (0, 3, 25, 59):
        (tmp_path / CLASSES[row // 20] / f"{row:03}.png").write_bytes(b"broken")
    data = load(tmp_path)
    (note,) = data.notes
    assert note.startswith("4 of 60 pictures cannot be read, ant/000.png (it is none of JPEG")
    assert "bee/025.png" in note and "cow" not in note and note.endswith("and 1 more: left out")
    found = np.concatenate([split.images for split in (data.train, data.search, data.test)])
    sound = np.delete(images, (0, 3, 25, 59), axis=0)
    assert {one.tobytes() for one in found} == {one.tobytes() for one in sound}
    for row in (7, 8, 9):
        (tmp_path / "ant" / f"{row:03}.png").write_bytes(b"broken")
    assert "7 of 60 pictures cannot be read, more than 10%, ant/000.png" in refused(tmp_path)


def test_a_class_without_a_sound_picture_is_refused(tmp_path):
    fill(tmp_path, 20)
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog/a.png").write_bytes(b"broken")
    text = refused(tmp_path)
    assert "train: no picture of the class 'dog' can be read, dog/a.png (it is none" in text


def test_what_is_not_there_is_named(tmp_path):
    assert refused("") == "folder needs the path of a folder, got none: write folder:PATH"
    assert "no such folder: check the path" in refused(tmp_path / "absent")
    assert "got none: sort the pictures into folders" in refused(tmp_path)
    fill(tmp_path, 20, classes=("ant",))
    assert "a sub-folder for each class, at least 2, got ant: sort" in refused(tmp_path)
    (tmp_path / "bee").mkdir()
    assert "the class 'bee' has no pictures (.jpg, " in refused(tmp_path)
    (tmp_path / "bee/a.heic").write_bytes(b"")
    assert ".gif), 1 other files: add some" in refused(tmp_path)


def test_splits_without_a_class_or_with_one_more_are_refused(tmp_path):
    for split in ("train", "val", "test"):
        fill(tmp_path / split, 8)
    (tmp_path / "val/bee").rename(tmp_path / "bee")
    assert "has folders of splits beside others, bee, test, train, val: leave" in refused(tmp_path)
    (tmp_path / "bee").rename(tmp_path / "test/dog")
    assert "val lacks the class 'bee' (1 of 3 classes)" in refused(tmp_path)
    (tmp_path / "val").rename(tmp_path / ".val")
    assert "test has the class 'dog', which train has not" in refused(tmp_path)
    (tmp_path / "test").rename(tmp_path / "val")
    assert "has val but no test, which is used once, at the end: rename val" in refused(tmp_path)


def test_the_only_picture_of_a_class_is_trained_on(tmp_path):
    fill(tmp_path, 20)
    fill(tmp_path, 1, classes=("dog",))
    for seed in range(5):
        assert np.bincount(load(tmp_path, 24, seed=seed).train.labels)[3] == 1
    assert "data.search_images must be at least 1 and below half of the 49" in refused(
        tmp_path, search_images=400
    )


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    fill(tmp_path, 20)

    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", forbidden)
    assert "Permission denied; check its permissions" in refused(tmp_path)


def test_pictures_that_do_not_fit_are_refused_before_any_is_read(tmp_path, monkeypatch):
    fill(tmp_path, 20)
    monkeypatch.setattr(pictures, "read_picture", lambda *_: pytest.fail("read"))
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemAvailable: 100000 kB\n")
    assert "GiB of memory, there are 0.0954" in refused(tmp_path, image_size=1000, stream="never")


def test_a_run_keeps_class_names_and_says_what_was_left_out(cli, micro, tmp_path):
    fill(tmp_path / "here/my pictures", 20)
    (tmp_path / "here/my pictures/bee/020.png").write_bytes(b"broken")
    arguments = ("data", micro, "--out", "run", "--data.source", "folder:my pictures")
    small = ("--data.search-images", "12", "--data.image-size", "16", "--train.batch-size", "8")
    small += ("--finetune.batch-size", "8")
    code, lines = cli(*arguments, *small)
    assert code == 0
    (said,) = (line for line in lines if "1 of 60 pictures cannot be read" in line)
    record = read_data(RunDirectory(tmp_path / "here/run"))
    assert record.class_names == list(CLASSES)
    assert record.height == 16 and record.notes == [said.partition("data: ")[2]]
    code, (line,) = cli("data", micro, "--data.image-size", "16")
    assert code == 2 and "is not read with data.source 'digits', but with folder:PATH" in line
    code, (line,) = cli(*arguments, "--data.non-square", "cut")
    assert code == 2 and "unknown data.non_square 'cut'; known: crop, squash" in line
