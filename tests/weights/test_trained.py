"""A supernet in one file, for other runs to start from."""

import json
import os
import zipfile

import jax
import numpy as np
import pytest
from safetensors import safe_open

from jaxnas.config import SPACES
from jaxnas.data.preparation import OWN, Preparation
from jaxnas.errors import UserError
from jaxnas.spaces.published import tiny
from jaxnas.supernets.build import build
from jaxnas.weights import tensor_files
from jaxnas.weights.trained import load, look, shipped, to_bytes

NAMES = tuple("abcd")


@pytest.fixture(scope="module")
def net(small_mobilenet):
    return build(small_mobilenet((8, 12), 1, 4))


@pytest.fixture(params=["safetensors", "npz"])
def saved(net, randomised, tmp_path, request):
    """Saves arrays and texts, changed, as a run does and as older ones did; returns the file."""

    def save(change=lambda content: content, prepared=OWN):
        path = tmp_path / f"supernet.{request.param}"
        path.write_bytes(to_bytes(net, randomised(net), NAMES, prepared))
        with safe_open(path, framework="numpy") as file:
            content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            content |= json.loads(file.metadata()["jaxnas"])["texts"]
        content = change(content)
        if request.param == "npz":
            np.savez(path, allow_pickle=False, **content)
        else:
            arrays = {name: one for name, one in content.items() if isinstance(one, np.ndarray)}
            texts = {name: one for name, one in content.items() if name not in arrays}
            path.write_bytes(tensor_files.to_bytes(arrays, texts))
        return path

    return save


def same(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    return all(
        np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    )


def test_what_is_saved_is_loaded(net, saved, randomised):
    params, names, prepared = load(saved(), net)
    assert same(params, randomised(net)) and names == NAMES and prepared == OWN


def test_what_images_looked_like_to_the_weights_is_kept(net, saved, randomised):
    prepared = Preparation("bilinear", "padded_crop")
    path = saved(prepared=prepared)
    assert look(path, net) == (NAMES, prepared) and load(path, net).prepared == prepared
    older = saved(
        lambda arrays: {
            name: one for name, one in arrays.items() if name not in ("resizing", "recalibration")
        }
    )
    assert look(older, net) == (NAMES, Preparation("bicubic", "plain"))


def test_at_other_sizes_and_for_other_classes_all_but_the_classifier(
    saved, randomised, net, small_mobilenet
):
    params, names, _ = load(saved(), build(small_mobilenet((16,), 1, 7)))
    assert "classifier" not in params and names == NAMES
    assert same(
        params, {name: part for name, part in randomised(net).items() if name != "classifier"}
    )


def test_another_space_is_refused(saved):
    with pytest.raises(UserError, match="supernet of another space than tiny"):
        load(saved(), build(tiny(8, 1, 4)))


@pytest.mark.parametrize(
    "change, complaint",
    [
        (
            lambda arrays: {
                **arrays,
                "mb1/block0/project/kernel": np.full_like(
                    arrays["mb1/block0/project/kernel"], np.nan
                ),
            },
            "mb1/block0/project",
        ),
        (
            lambda arrays: {**arrays, "first_conv/scale": arrays["first_conv/scale"][:1]},
            "first_conv/scale should be finite float32",
        ),
        (
            lambda arrays: {
                name: one for name, one in arrays.items() if name != "last_conv/expand/kernel"
            },
            "found absent",
        ),
        (lambda arrays: {"weights": np.zeros(3)}, "is no supernet of jaxnas"),
        (
            lambda arrays: {**arrays, "resizing": "nearest"},
            "unknown resizing 'nearest'; known: antialiased",
        ),
        (
            lambda arrays: {name: one for name, one in arrays.items() if "classifier" not in name},
            r"classifier/bias should be .* \(4,\)",
        ),
        (
            lambda arrays: {**arrays, "class_names": NAMES[:3]},
            r"classifier/bias should be .* \(3,\)",
        ),
        (lambda arrays: {**arrays, "structure": "[" * 100_000}, "of another space"),
        (lambda arrays: {**arrays, "structure": 5}, "expected structure and class_names as text"),
        (lambda arrays: {**arrays, "class_names": [1, 2, 3, 4]}, "and class_names as text"),
    ],
)
def test_a_damaged_file_is_refused(net, saved, change, complaint):
    with pytest.raises(UserError, match=complaint):
        load(saved(change), net)


@pytest.fixture
def file(net, randomised, tmp_path):
    """As a run leaves it."""
    path = tmp_path / "supernet.safetensors"
    path.write_bytes(to_bytes(net, randomised(net), NAMES))
    return path


def test_equal_weights_are_equal_files(net, randomised, file):
    """So that a run knows them again. Of two entries the order would be random."""
    assert file.read_bytes() == to_bytes(net, randomised(net), NAMES)
    with safe_open(file, framework="numpy") as found:
        assert list(found.metadata()) == ["jaxnas"]


def test_no_damage_goes_unnoticed(net, randomised, file):
    """Whatever byte of the numbers is another one, and wherever the file is cut."""
    data = file.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    for i in [*range(0, start, 97), *range(start, len(data), 1009), len(data) - 1]:
        file.write_bytes(data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :])
        try:
            found = load(file, net).params
        except UserError as error:
            assert "\n" not in str(error)
        else:
            assert i < start and same(found, randomised(net))
        file.write_bytes(data[:i])
        with pytest.raises(UserError, match="cannot read the supernet"):
            look(file, net)


@pytest.mark.parametrize("head", [99 << 20, 1 << 62])
def test_a_header_is_not_larger_than_the_file_and_100_megabytes(net, file, head):
    with open(file, "wb") as hostile:
        hostile.write(head.to_bytes(8, "little") + b"{")
        hostile.truncate(1 << 30)
    with pytest.raises(UserError, match="cannot read the supernet"):
        load(file, net)


@pytest.mark.parametrize("saved", ["npz"], indirect=True)
def test_numbers_are_not_unpacked_before_their_shape_is_known(net, saved):
    """As many as a small file can claim: a gigabyte of zeros."""
    path = saved()
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = np.lib.format.header_data_from_array_1_0(np.zeros((), np.float32)) | {
        "shape": (1 << 28,)
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            if name != "first_conv/scale.npy":
                archive.writestr(name, content)
        with archive.open("first_conv/scale.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(file, header)
            file.write(bytes(1 << 20))
    with pytest.raises(
        UserError,
        match=r"first_conv/scale should be finite float32 \(16,\), found float32 \(268435456,\)",
    ):
        load(path, net)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_file_that_is_no_archive_or_is_not_there(net, tmp_path, suffix):
    path = tmp_path / f"supernet{suffix}"
    for missing in (path, tmp_path):
        with pytest.raises(UserError, match=r"there is no supernet '.*': name the supernet.safet"):
            load(missing, net)
    path.write_bytes(b"nothing at all")
    with pytest.raises(UserError, match="cannot read the supernet"):
        load(path, net)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="there is no supernet"):
        load(path, net)


def test_pickled_objects_are_not_opened(net, tmp_path):
    np.savez(
        tmp_path / "supernet.npz", structure=np.array([{}], object), class_names=np.array(NAMES)
    )
    with pytest.raises(UserError, match="expected structure and class_names as text"):
        load(tmp_path / "supernet.npz", net)


def test_weights_in_float16_are_loaded_as_float32(net, randomised, tmp_path):
    path = tmp_path / "supernet.safetensors"
    path.write_bytes(to_bytes(net, randomised(net), NAMES, dtype=np.float16))
    rounded = jax.tree.map(lambda x: np.asarray(x, np.float16), randomised(net))
    found = load(path, net).params
    assert same(found, rounded)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize("name", shipped())
def test_those_that_come_with_jaxnas_load(name):
    space, data = name.split("_")
    params, names, _ = load(name, build(SPACES[space](32, 3, 7)))
    assert "classifier" not in params and len(names) == int(data.removeprefix("cifar"))
