import io
import shutil
import sys
from typing import Any

import numpy as np
import pytest

from jaxnas.data import tfds
from jaxnas.data.streamed import Streamed
from jaxnas.errors import UserError

SETTINGS: dict[str, Any] = {"search_images": 40, "calibration_images": 24, "seed": 0}


def pixels(seed, shape=(8, 8, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def png(image):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image.squeeze()).save(file, "PNG")
    file.seek(0)
    return file


@pytest.fixture(scope="module")
def toy(toy_tfds):
    return toy_tfds({"train": 120, "test": 30})


def load(folder, name="jaxnas_toy"):
    return tfds.load(name, data_dir=None if folder is None else str(folder), **SETTINGS)


def refused(folder, name="jaxnas_toy"):
    with pytest.raises(UserError) as caught:
        load(folder, name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_search_is_held_out_of_train_and_everything_else_is_in_order(toy):
    data = load(toy)
    assert data.name == "tfds:jaxnas_toy"
    assert data.class_names == ("cat", "dog", "eel")
    assert [len(split) for split in (data.train, data.search, data.test)] == [80, 40, 30]
    assert (data.test.images == np.stack([pixels(120 + i) for i in range(30)])).all()
    assert data.test.labels.tolist() == [(120 + i) % 3 for i in range(30)]
    rows = {pixels(i).tobytes(): i for i in range(120)}
    train = [rows.pop(image.tobytes()) for image in data.train.images]
    search = [rows.pop(image.tobytes()) for image in data.search.images]
    assert not rows
    assert train == sorted(train)
    assert [
        i % 3 for i in train + search
    ] == data.train.labels.tolist() + data.search.labels.tolist()


def test_a_validation_split_is_the_search_split(toy_tfds):
    data = load(toy_tfds({"train": 60, "validation": 20, "test": 30}))
    assert [len(split) for split in (data.train, data.search, data.test)] == [60, 20, 30]
    assert {image.tobytes() for image in data.search.images} == {
        pixels(60 + i).tobytes() for i in range(20)
    }


def test_more_than_one_chunk_is_read_in_order(toy, monkeypatch):
    expected = load(toy).fingerprint()
    monkeypatch.setattr(tfds, "CHUNK", 7)
    assert load(toy).fingerprint() == expected


def test_a_version_and_the_folder_in_the_environment(toy, monkeypatch):
    assert load(toy, "jaxnas_toy:1.0.0").fingerprint() == load(toy).fingerprint()
    from tensorflow_datasets.core import constants

    monkeypatch.setattr(constants, "DATA_DIR", str(toy))  # read from TFDS_DATA_DIR when imported
    assert load(None).fingerprint() == load(toy).fingerprint()


def test_nothing_is_written_where_it_reads(toy):
    def state():
        return {path: path.stat().st_mtime_ns for path in toy.rglob("*")}

    before = state()
    load(toy)
    assert state() == before


def test_the_package_is_optional(monkeypatch, toy):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    assert "run `pip install -e '.[tfds]'` in a checkout of jaxnas" in refused(toy)


def test_what_is_not_there_is_named_with_its_folder(toy, tmp_path):
    assert "write tfds:NAME" in refused(toy, "")
    for folder in (tmp_path, tmp_path / "absent"):
        text = refused(folder, "cifar10")
        assert f"tfds:cifar10 is not prepared as array_record in {folder}" in text
        assert (
            f"tfds.builder('cifar10', data_dir='{folder}', "
            "file_format='array_record').download_and_prepare()"
        ) in text
    assert not (tmp_path / "absent").exists()
    assert (
        f"tfds:no_such_set cannot be opened in {tmp_path} (Dataset no_such_set not found"
        in refused(tmp_path, "no_such_set")
    )
    assert f"cannot be opened in {toy}" in refused(toy, "jaxnas_toy:9.9.9")
    assert f"cannot be opened in {toy}" in refused(toy, "not a name")


def test_a_damaged_file_is_named(toy, tmp_path):
    shutil.copytree(toy, tmp_path, dirs_exist_ok=True)
    (file,) = tmp_path.glob("jaxnas_toy/1.0.0/*test*")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert "tfds:jaxnas_toy: test cannot be read" in refused(tmp_path)
    file.unlink()
    assert "tfds:jaxnas_toy: test cannot be read" in refused(tmp_path)


def test_splits_and_features_that_it_needs_are_named(toy_tfds):
    import tensorflow_datasets

    feature = tensorflow_datasets.features
    image = feature.Image(shape=(8, 8, 3))
    label = feature.ClassLabel(num_classes=3)
    assert "lacks test, has train" in refused(toy_tfds({"train": 9}))
    folder = toy_tfds(
        {"train": 9, "test": 9},
        {"picture": image, "label": label},
        lambda i: {"picture": png(pixels(i)), "label": i % 3},
    )
    assert "must have the features image and label, lacks image, has label, picture" in refused(
        folder
    )
    number = {"image": image, "label": feature.Scalar(np.int64)}
    folder = toy_tfds(
        {"train": 9, "test": 9}, number, lambda i: {"image": png(pixels(i)), "label": i % 3}
    )
    assert "the feature label must be a class, got Scalar" in refused(folder)
    sizes = {"image": feature.Image(shape=(None, None, 3)), "label": label}
    folder = toy_tfds(
        {"train": 9, "test": 9},
        sizes,
        lambda i: {"image": png(pixels(i, (8 + i % 2, 8, 3))), "label": i % 3},
    )
    assert "train images must all have one size, got (8, 8, 3) and (9, 8, 3)" in refused(folder)
    folder = toy_tfds(
        {"train": 90, "test": 9},
        sizes,
        lambda i: {"image": png(pixels(i, (6, 8, 3))), "label": i % 3},
    )
    assert "train images must be square, height == width, got 6x8" in refused(folder)


def test_grey_images_keep_their_channel(toy_tfds):
    import tensorflow_datasets

    features = {
        "image": tensorflow_datasets.features.Image(shape=(8, 8, 1)),
        "label": tensorflow_datasets.features.ClassLabel(num_classes=3),
    }
    folder = toy_tfds(
        {"train": 90, "test": 9},
        features,
        lambda i: {"image": png(pixels(i, (8, 8, 1))), "label": i % 3},
    )
    data = load(folder)
    assert data.channels == 1
    assert (data.test.images == np.stack([pixels(90 + i, (8, 8, 1)) for i in range(9)])).all()
    assert data.class_names == ("0", "1", "2")
    assert "tensorflow" not in sys.modules


@pytest.mark.parametrize("parts, workers", [({}, 1), ({"validation": 20}, 0)])
def test_streamed_it_is_the_same_data_as_in_memory(toy_tfds, parts, workers):
    folder = toy_tfds({"train": 60, "test": 9, **parts})
    held, data = (
        tfds.load("jaxnas_toy", data_dir=str(folder), **(SETTINGS | {"search_images": 20}), **more)
        for more in ({}, {"stream": "always", "workers": workers})
    )
    for name in ("search", "test", "calibration"):
        assert (getattr(data, name).images == getattr(held, name).images).all()
        assert (getattr(data, name).labels == getattr(held, name).labels).all()
    assert (data.mean == held.mean).all() and (data.train.labels == held.train.labels).all()
    order = np.arange(len(held.train))[::-1].reshape(-1, 10)
    assert isinstance(data.train, Streamed)
    for rows, batch in zip(order, data.train.batches(order), strict=True):
        assert (batch.images == held.train.images[rows]).all()
        assert (batch.labels == held.train.labels[rows]).all()
