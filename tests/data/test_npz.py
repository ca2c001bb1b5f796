import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from jaxnas.data import archives, memory, npz
from jaxnas.errors import UserError

SETTINGS = {"data_dir": None, "search_images": 1, "calibration_images": 16, "seed": 0}


def arrays(shape=(8, 8), labels_shape=(1,)):
    result = {}
    for seed, (split, n) in enumerate({"train": 60, "val": 30, "test": 21}.items()):
        result[f"{split}_images"] = np.random.default_rng(seed).integers(
            0, 256, (n, *shape), np.uint8
        )
        result[f"{split}_labels"] = (np.arange(n, dtype=np.uint8) % 3).reshape(n, *labels_shape)
    return result


@pytest.fixture
def save(tmp_path):
    def write(**content):
        np.savez_compressed(tmp_path / "toy.npz", **content)
        return tmp_path / "toy.npz"

    return write


def load(path):
    return npz.load(str(path), **SETTINGS)


@pytest.mark.parametrize(("shape", "channels"), [((8, 8), 1), ((8, 8, 1), 1), ((8, 8, 3), 3)])
@pytest.mark.parametrize("labels_shape", [(1,), ()])
def test_the_splits_are_those_of_the_archive(save, shape, channels, labels_shape):
    content = arrays(shape, labels_shape)
    data = load(save(**content))
    assert data.channels == channels
    for split, key in ((data.train, "train"), (data.test, "test")):
        assert (
            split.images.reshape(content[f"{key}_images"].shape) == content[f"{key}_images"]
        ).all()
        assert (split.labels == content[f"{key}_labels"].ravel()).all()

    def pairs(images, labels):
        return {
            image.tobytes(): int(label) for image, label in zip(images, labels.ravel(), strict=True)
        }

    assert pairs(data.search.images, data.search.labels) == pairs(
        content["val_images"], content["val_labels"]
    )
    assert data.class_names == ("0", "1", "2")


@pytest.mark.parametrize("names", [np.array(["ja", "né", "nee"]), np.array([b"ja", b"n", b"nee"])])
def test_class_names_are_text(save, names):
    data = load(save(**arrays(), class_names=names))
    assert data.class_names == tuple(str(name) for name in names.astype(str))


def test_a_path_may_start_at_home(save, monkeypatch):
    path = save(**arrays())
    monkeypatch.setenv("HOME", str(path.parent))
    assert load("~/toy.npz").fingerprint() == load(path).fingerprint()
    assert load("~/toy.npz").name == "npz:~/toy.npz"


def refused(path):
    with pytest.raises(UserError) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_path_no_file_no_archive(tmp_path, save):
    assert refused("") == "npz needs the path of an archive, got none: write npz:PATH"
    assert "no such file" in refused(tmp_path / "absent.npz")
    assert f"is a folder, expected an archive: for pictures in it write folder:{tmp_path}" in (
        refused(tmp_path)
    )
    (tmp_path / "text.npz").write_text("hello")
    assert "File is not a zip file" in refused(tmp_path / "text.npz")
    (tmp_path / "empty.npz").write_bytes(b"")
    assert "cannot be read" in refused(tmp_path / "empty.npz")
    np.save(tmp_path / "array.npy", np.zeros(3))
    assert "cannot be read" in refused(tmp_path / "array.npy")


def test_missing_keys_are_named(save):
    content = arrays()
    del content["val_images"], content["test_labels"]
    assert "lacks val_images, test_labels" in refused(save(**content))


def test_nothing_is_unpickled(save):
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("unpickled",)

    for key in ("train_images", "val_labels", "class_names"):
        trapped = arrays() | {key: np.array([Trap()], object)}
        assert "has Python objects" in refused(save(**trapped))
    with pytest.raises(pytest.fail.Exception, match="unpickled"):  # the trap works
        np.load(save(class_names=np.array([Trap()], object)), allow_pickle=True)["class_names"]


def test_a_truncated_or_damaged_archive_is_refused_wherever_it_is_cut(save):
    path = save(**arrays())
    whole = path.read_bytes()
    for length in np.linspace(1, len(whole) - 1, 25).astype(int):
        path.write_bytes(whole[:length])
        assert "cannot be read" in refused(path)
    assert load(save(**arrays())).classes == 3


def test_damaged_bytes_give_the_right_data_or_an_error_for_the_user(save):
    path = save(**arrays())
    whole = path.read_bytes()
    expected = load(path).fingerprint()
    rng = np.random.default_rng(0)
    errors = 0
    for position in rng.integers(0, len(whole), 150):
        damaged = bytearray(whole)
        damaged[position] ^= int(rng.integers(1, 256))
        path.write_bytes(bytes(damaged))
        try:
            assert load(path).fingerprint() == expected
        except UserError:
            errors += 1
    assert errors > 100


def test_an_array_cut_short_inside_a_sound_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "toy.npz", "w") as archive:
        for key, array in arrays().items():
            file = io.BytesIO()
            np.save(file, array)
            archive.writestr(
                f"{key}.npy", file.getvalue()[:-1] if key == "test_images" else file.getvalue()
            )
    assert "cannot be read" in refused(tmp_path / "toy.npz")


WRONG = {
    "volumes": (
        {"train_images": np.zeros((60, 8, 8, 8), np.uint8)},
        r"train_images must be (N, H, W) or (N, H, W, 3), got (60, 8, 8, 8)",
    ),
    "rows": ({"test_images": np.zeros((21, 64), np.uint8)}, "test_images must be (N, H, W)"),
    "float images": (
        {"val_images": np.zeros((30, 8, 8), np.float32)},
        "search images must be uint8 in 0..255, got float32",
    ),
    "oblong": (
        {"train_images": np.zeros((60, 8, 6), np.uint8)},
        "train images must be square, height == width, got 8x6",
    ),
    "other size": (
        {"val_images": np.zeros((30, 9, 9), np.uint8)},
        "search images must have the shape of those of train",
    ),
    "many labels": (
        {"train_labels": np.zeros((60, 14), np.uint8)},
        "train labels must be one per image, (60,), got (60, 14)",
    ),
    "text labels": (
        {
            f"{split}_labels": np.full(n, "a")
            for split, n in (("train", 60), ("val", 30), ("test", 21))
        },
        "must be integers",
    ),
    "no images": (
        {"test_images": np.zeros((0, 8, 8), np.uint8), "test_labels": np.zeros(0, np.uint8)},
        "test has no images",
    ),
    "one class": (
        {
            f"{split}_labels": np.zeros(n, np.uint8)
            for split, n in (("train", 60), ("val", 30), ("test", 21))
        },
        "at least 2",
    ),
    "few names": (
        {"class_names": np.array(["a", "b"])},
        "train labels must be in 0..1 for 2 classes, got 0..2",
    ),
    "scalar": ({"test_labels": np.uint8(3)}, "test labels must be one per image"),
}


@pytest.mark.parametrize("what", WRONG)
def test_arrays_of_another_kind_are_named(save, what):
    changes, message = WRONG[what]
    path = save(**(arrays() | changes))
    text = refused(path)
    assert message in text
    assert f"npz:{path}" in text


def numbered(change):
    return {key: change(array) if "labels" in key else array for key, array in arrays().items()}


@pytest.mark.parametrize("unlabelled", [255 << 20, 2**31 - 1, 2**32 - 1, 2**62])
def test_a_number_for_unlabelled_images_is_not_a_class(save, unlabelled):
    """A name for each number up to it would eat all memory."""
    content = numbered(lambda labels: labels.astype(np.int64))
    content["val_labels"][3] = unlabelled
    assert f"labels are 0..{unlabelled}, 4 different ones: number the classes from 0" in refused(
        save(**content)
    )


def test_classes_may_have_gaps_and_begin_with_1(save):
    assert load(save(**numbered(lambda labels: labels + 1))).unseen_classes == (0,)
    assert load(save(**numbered(lambda labels: labels * 3))).unseen_classes == (1, 2, 4, 5)
    assert "labels are -1..1" in refused(save(**numbered(lambda labels: labels.astype(int) - 1)))


@pytest.mark.parametrize(
    "names",
    [np.array([b"a", b"\xff\xfe", b"c"]), np.array(["a", "\ud800", "c"]), np.arange(3) * 1j],
)
def test_class_names_that_are_no_text_are_refused(save, names):
    assert "class_names must be" in refused(save(**arrays(), class_names=names))


def with_header(path, text, key="train_images"):
    """The archive with another header before the images, and no images."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays().items():
            file = io.BytesIO()
            np.save(file, array)
            header = f"{text:<117}\n".encode()
            forged = b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(100)
            archive.writestr(f"{name}.npy", forged if name == key else file.getvalue())
    return path


HEADERS = {
    "shape too large": "'|u1', 'fortran_order': False, 'shape': (1000000000000, 16, 16)",
    "items too large": "'|S1000000000', 'fortran_order': False, 'shape': (1000,)",
    "beyond int64": "'|u1', 'fortran_order': False, 'shape': (99999999999999999999999, 2)",
    "booleans": "'|u1', 'fortran_order': False, 'shape': (True, True, True)",
    "floats": "'|u1', 'fortran_order': False, 'shape': (3.0,)",
    "negative": "'|u1', 'fortran_order': False, 'shape': (-5, 16, 16)",
    "no type": "'zz', 'fortran_order': False, 'shape': (3,)",
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_header_that_lies_is_refused_before_anything_is_read(tmp_path, what):
    for key in ("train_images", "test_labels"):
        assert "cannot be read" in refused(
            with_header(tmp_path / "toy.npz", f"{{'descr': {HEADERS[what]}}}", key)
        )


def test_a_header_that_is_no_description_is_refused(tmp_path):
    for text in ("(" * 100, "__import__('os').getcwd()", "[" * 100, ""):
        assert "cannot be read" in refused(with_header(tmp_path / "toy.npz", text))


def test_what_unpacks_to_more_than_it_says_is_refused_unpacked_or_not(save, monkeypatch):
    """2 MB of zeros may unpack to 2 GB.

    Labels and header say first that they are none of these images.
    """
    monkeypatch.setattr(archives.Archive, "read", lambda *_: pytest.fail("unpacked"))
    assert "labels must be one per image, (9999,), got (60,)" in refused(
        save(**(arrays() | {"train_images": np.zeros((9999, 8, 8), np.uint8)}))
    )


def test_devices_are_not_read():
    assert "it is no regular file" in refused("/dev/zero")


def test_images_that_do_not_fit_are_refused_with_figures(save, tmp_path, monkeypatch):
    path = save(**arrays((512, 512)))
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CONTAINER", tmp_path)
    (tmp_path / "meminfo").write_text("MemTotal: 99 kB\nMemAvailable: 30000 kB\n")
    # 141 images, and the search split once more.
    assert "needs 0.0344 GiB of memory, there are 0.0286: take fewer" in refused(path)
    (tmp_path / "meminfo").write_text("MemAvailable: 40000 kB\n")
    assert len(load(path).train) == 60
    for name, text in (
        ("max", "90000000"),
        ("current", "80000000"),
        ("stat", "inactive_file 5000000\n"),
    ):
        (tmp_path / f"memory.{name}").write_text(text)
    assert "there are 0.014" in refused(path)
    (tmp_path / "memory.max").write_text("max\n")
    assert len(load(path).train) == 60


def test_loading_takes_little_more_memory_than_the_images(save):
    path = save(**arrays((256, 256, 3)))
    images = 256 * 256 * 3 * (60 + 30 + 21)
    tracemalloc.start()
    try:
        load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.75 * images  # of them 0.27 the search split in another order, 0.14 calibration
