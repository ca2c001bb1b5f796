import dataclasses

import numpy as np
import pytest

from jaxnas.data import dataset
from jaxnas.data.dataset import Dataset, hold_out, make_dataset, stratified_order
from jaxnas.errors import UserError


def pair(n, seed=0, classes=3, size=4, channels=2):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, size, size, channels), np.uint8), np.arange(n) % classes


def make(**changes) -> Dataset:
    arguments = {
        "train": pair(30, 0),
        "search": pair(12, 1),
        "test": pair(9, 2),
        "calibration_images": 8,
        "seed": 0,
    }
    return make_dataset("toy", ("a", "b", "c"), **(arguments | changes))


def rows(images):
    return {image.tobytes() for image in images}


def test_a_dataset_says_what_it_holds():
    data = make()
    assert (data.image_size, data.channels, data.classes) == ((4, 4), 2, 3)
    assert [len(split) for split in (data.train, data.search, data.test, data.calibration)] == [
        30,
        12,
        9,
        8,
    ]
    assert data.train.labels.dtype == data.search.labels.dtype == np.int32
    assert rows(data.search.images) == rows(pair(12, 1)[0])


def test_moments_are_those_of_numpy():
    data = make()
    scaled = data.train.images.astype(np.float64) / 255
    np.testing.assert_allclose(data.mean, scaled.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(data.deviation, scaled.std((0, 1, 2)), rtol=1e-6)
    assert data.mean.dtype == data.deviation.dtype == np.float32
    assert not np.allclose(data.mean, scaled.mean((0, 1, 2)) + 1e-3)  # the comparison can fail


def test_the_deviation_of_a_constant_channel_is_one_grey_level():
    images, labels = pair(30)
    images[..., 1] = 77
    data = make(train=(images, labels))
    assert data.deviation[1] == np.float32(1 / 255)
    assert data.deviation[0] > 0.2


def test_calibration_comes_from_train_and_is_all_of_it_at_most():
    data = make()
    labels = {
        image.tobytes(): label
        for image, label in zip(data.train.images, data.train.labels, strict=True)
    }
    assert all(
        labels[image.tobytes()] == label
        for image, label in zip(data.calibration.images, data.calibration.labels, strict=True)
    )
    assert len(rows(data.calibration.images)) == 8
    assert rows(make(seed=1).calibration.images) != rows(data.calibration.images)
    assert rows(make(calibration_images=999).calibration.images) == rows(data.train.images)


def test_fingerprint_follows_the_content_not_the_name():
    data = make()
    assert len(data.fingerprint()) == 64
    assert make().fingerprint() == data.fingerprint()
    assert dataclasses.replace(data, name="other").fingerprint() == data.fingerprint()
    changed = [
        dataclasses.replace(data, class_names=("a", "b", "d")),
        make(seed=1),
        make(calibration_images=7),
    ]
    for split in ("train", "search", "test"):
        for part in (0, 1):
            other = tuple(
                array.copy() for array in pair({"train": 30, "search": 12, "test": 9}[split])
            )
            other[part].flat[0] ^= 1
            changed.append(make(**{split: other}))
    assert len({data.fingerprint(), *(other.fingerprint() for other in changed)}) == 1 + len(
        changed
    )


IMAGES, LABELS = pair(12, 1)
WRONG = {
    "dtype": (
        (IMAGES.astype(np.float32), LABELS),
        "toy: search images must be uint8 in 0..255, got float32",
    ),
    "axes": (
        (IMAGES[..., 0], LABELS),
        r"toy: search images must be \(n, height, width, channels\), got \(12, 4, 4\)",
    ),
    "empty": ((IMAGES[:0], LABELS[:0]), "toy: search has no images"),
    "oblong": (
        (IMAGES[:, :3], LABELS),
        "toy: search images must be square, height == width, got 3x4",
    ),
    "size": (
        (IMAGES[:, :3, :3], LABELS),
        r"toy: search images must have the shape of those of train, \(4, 4, 2\), got \(3, 3, 2\)",
    ),
    "channels": (
        (IMAGES[..., :1], LABELS),
        r"toy: search images must have the shape of those of train",
    ),
    "float labels": ((IMAGES, LABELS / 2), "toy: search labels must be integers, got float64"),
    "object labels": (
        (IMAGES, LABELS.astype(object)),
        "toy: search labels must be integers, got object",
    ),
    "many labels": (
        (IMAGES, np.eye(12, dtype=np.uint8)),
        r"toy: search labels must be one per image, \(12,\), got \(12, 12\)",
    ),
    "few labels": (
        (IMAGES, LABELS[:-1]),
        r"toy: search labels must be one per image, \(12,\), got \(11,\)",
    ),
    "large label": (
        (IMAGES, LABELS + 1),
        r"toy: search labels must be in 0..2 for 3 classes, got 1..3",
    ),
    "negative label": (
        (IMAGES, LABELS - 1),
        r"toy: search labels must be in 0..2 for 3 classes, got -1..1",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_a_source_gets_wrong_is_named(what):
    search, message = WRONG[what]
    with pytest.raises(UserError, match=message) as caught:
        make(search=search)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("split", ["train", "search", "test"])
def test_every_split_is_checked(split):
    images, labels = pair(12)
    with pytest.raises(UserError, match=f"toy: {split} labels must be in"):
        make(**{split: (images, labels + 1)})


def test_one_class_or_no_calibration_is_an_error():
    with pytest.raises(UserError, match=r"toy: needs at least 2 classes, got 1 \(a\)"):
        make_dataset(
            "toy",
            ("a",),
            **dict.fromkeys(("train", "search", "test"), pair(3, classes=1)),
            calibration_images=1,
            seed=0,
        )
    with pytest.raises(UserError, match=r"data.calibration_images must be at least 1, got 0"):
        make(calibration_images=0)


@pytest.mark.parametrize("sizes", [(60, 30, 10), (50, 50), (95, 1, 4), (1, 1, 1, 7)])
def test_every_prefix_of_the_stratified_order_is_stratified(sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    order = stratified_order(labels, seed=3)
    assert sorted(order) == list(range(len(labels)))

    def worst(order):
        counts = np.cumsum(np.eye(len(sizes))[labels[order]], axis=0)
        share = np.arange(1, len(labels) + 1)[:, None] * np.array(sizes) / len(labels)
        return np.abs(counts - share).max()

    assert worst(order) <= 1.5
    assert worst(np.arange(len(labels))) > 1.5  # as sorted by class: the comparison can fail


def test_stratified_order_is_random_within_a_class_and_follows_the_seed():
    labels = np.zeros(50, int)
    assert (stratified_order(labels, 0) == stratified_order(labels, 0)).all()
    assert (stratified_order(labels, 0) != stratified_order(labels, 1)).any()
    assert (stratified_order(labels, 0) != np.arange(50)).any()


def test_hold_out_parts_train_by_class():
    images, labels = pair(90)
    (train_images, train_labels), (search_images, search_labels) = hold_out(
        images.copy(), labels, 30, seed=0
    )
    assert rows(train_images) | rows(search_images) == rows(images)
    assert not rows(train_images) & rows(search_images)
    assert np.bincount(search_labels).tolist() == [10, 10, 10]
    assert np.bincount(train_labels).tolist() == [20, 20, 20]
    whole = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    assert all(
        whole[image.tobytes()] == label
        for image, label in zip(search_images, search_labels, strict=True)
    )
    again = hold_out(images.copy(), labels, 30, seed=0)[1][0]
    assert (again == search_images).all()
    assert rows(hold_out(images, labels, 30, seed=1)[1][0]) != rows(search_images)


@pytest.mark.parametrize("count", [-1, 0, 45, 90])
def test_hold_out_refuses_half_of_train_or_nothing(count):
    with pytest.raises(
        UserError, match=f"below half of the 90 training images, got {count}: choose at most 44"
    ):
        hold_out(*pair(90), count, seed=0)
    assert len(hold_out(*pair(90), 44, seed=0)[1][1]) == 44


def test_what_is_left_moves_together_in_place(monkeypatch):
    """Over many pieces; every row is right, none is copied anew."""
    images = np.arange(1000, dtype=np.int64).reshape(-1, 1)
    monkeypatch.setattr(dataset, "PIECE", 80)
    labels = images[:, 0] % 4
    (rest, rest_labels), (taken, _) = hold_out(images, labels, 300, seed=0)
    assert np.shares_memory(rest, images) and (rest_labels == rest[:, 0] % 4).all()
    assert (np.diff(rest[:, 0]) > 0).all()
    assert sorted([*rest[:, 0], *taken[:, 0]]) == list(range(1000))


def test_classes_without_a_training_image_are_known():
    images, labels = pair(90)
    splits = {"train": (images, labels * 2), "search": (images, labels), "test": (images, labels)}
    data = make_dataset("toy", tuple("abcdef"), **splits, calibration_images=4, seed=0)
    assert data.unseen_classes == (1, 3, 5)
