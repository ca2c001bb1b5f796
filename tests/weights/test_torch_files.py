"""PyTorch checkpoints read as data.

Files written by hand, by an adversary, and by PyTorch where it is installed.
"""

import argparse
import collections
import fractions
import pathlib
import pickle
import struct
import tracemalloc
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.weights import torch_files, torch_pickle

# The operations of a pickle, as torch.save emits them.
TRUE = b"\x88"
FALSE = b"\x89"
NONE = b"N"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    return (
        b"J" + struct.pack("<i", value)
        if abs(value) < 1 << 31
        else b"\x8a\x10" + value.to_bytes(16, "little", signed=True)
    )


def group(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def name(value: str) -> bytes:
    return b"c" + value.replace(" ", "\n").encode() + b"\n"


def call(function: str, *arguments: bytes) -> bytes:
    return name(function) + group(*arguments) + b"R"


def storage(size: int, kind: str = "torch FloatStorage", key: str = "0", *view: bytes) -> bytes:
    return group(text("storage"), name(kind), text(key), text("cpu"), number(size), *view) + b"Q"


def tensor(numbers: bytes, shape=(12,), strides=(1,), offset=0) -> bytes:
    sizes = (group(*map(number, sizes)) for sizes in (shape, strides))
    return call(
        "torch._utils _rebuild_tensor_v2",
        numbers,
        number(offset),
        *sizes,
        FALSE,
        call("collections OrderedDict"),
    )


def mapping(items: dict[str, bytes], start: bytes = b"}") -> bytes:
    return start + b"(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


VALUES = np.arange(12, dtype=np.float32)
X = tensor(storage(12))


def write_zip(
    path, root: bytes, numbers=VALUES, key="0", order=b"little", compression=zipfile.ZIP_STORED
):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + root + b".")
        archive.writestr("archive/byteorder", order)
        archive.writestr(f"archive/data/{key}", numbers.tobytes())
    return path


def write_plain(path, root: bytes, numbers=VALUES, key="0", protocol=1001, little=TRUE, size=None):
    values = (
        number(0x1950A86A20F9469CFC6C),
        number(protocol),
        mapping({"little_endian": little}),
        root,
        b"](" + text(key) + b"e",
    )
    pickles = b"".join(b"\x80\x02" + value + b"." for value in values).replace(
        number(0x1950A86A20F9469CFC6C), b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
    )
    path.write_bytes(
        pickles + struct.pack("<q", numbers.size if size is None else size) + numbers.tobytes()
    )
    return path


@pytest.fixture(params=[write_zip, write_plain], ids=["zip", "plain"])
def write(request, tmp_path):
    """Writes a checkpoint of a root object and one storage, in either form."""
    return lambda *arguments, **options: request.param(
        tmp_path / "checkpoint.pth", *arguments, **options
    )


def refused(path) -> str:
    with pytest.raises(UserError) as error:
        torch_files.read(path)
    message = str(error.value)
    assert message.isprintable() and len(message) < 600  # so it is one line
    return message


def test_offsets_strides_and_shared_storages(write):
    state = {
        "rows": tensor(storage(12), (3, 4), (4, 1)),
        "columns": tensor(storage(12), (4, 3), (1, 4)),
        "part": tensor(storage(12), (2, 2), (4, 2), 1),
        "number": tensor(storage(12), (), (), 5),
        "none": tensor(storage(12), (0, 3), (3, 1)),
    }
    arrays = torch_files.read(write(mapping({"epoch": number(3), "state_dict": mapping(state)})))
    table = VALUES.reshape(3, 4)
    expected = {
        "rows": table,
        "columns": table.T,
        "part": table[:2, 1::2],
        "number": np.float32(5),
        "none": np.zeros((0, 3), np.float32),
    }
    assert list(arrays) == list(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(arrays[key], value, strict=True)
        assert not arrays[key].flags.writeable


def test_the_state_dict_of_a_module(write):
    """An OrderedDict with its modules' versions as a state.

    Parameters, memo, and the storage names of older CUDA files.
    """
    weight = call(
        "torch._utils _rebuild_parameter",
        tensor(storage(12, "torch.cuda FloatStorage", "0", NONE)),
        TRUE,
        NONE,
    )
    state = mapping(
        {"weight": weight + b"q\x05", "again": b"h\x05"}, call("collections OrderedDict")
    )
    versions = mapping({"": mapping({"version": number(1)})}, call("collections OrderedDict"))
    arrays = torch_files.read(write(state + mapping({"_metadata": versions}) + b"b"))
    np.testing.assert_array_equal(arrays["weight"], VALUES)
    np.testing.assert_array_equal(arrays["again"], VALUES)


KINDS = {
    "Double": "f8",
    "Float": "f4",
    "Half": "f2",
    "BFloat16": jnp.bfloat16,
    "Long": "i8",
    "Int": "i4",
    "Short": "i2",
}


@pytest.mark.parametrize(
    "kind, dtype", [*KINDS.items(), ("Char", "i1"), ("Byte", "u1"), ("Bool", "?")]
)
def test_types(write, kind, dtype):
    values = np.array([1, 0, 1], dtype)
    arrays = torch_files.read(
        write(mapping({"x": tensor(storage(3, f"torch {kind}Storage"), (3,))}), values)
    )
    np.testing.assert_array_equal(arrays["x"], values, strict=True)


SHELL = text("touch executed")
HOSTILE = {
    "a call": call("os system", SHELL),
    "built-in": call("builtins eval", SHELL),
    "hidden name": call("torch._utils _rebuild_tensor_v2.__globals__", SHELL),
    "a class": name("utils.config Config") + b")\x81",
    "a class with a state": name("utils.config Config")
    + b")\x81"
    + mapping({"__reduce__": call("os system", SHELL)})
    + b"b",
    "a call of what a call gives": call("os system", SHELL) + group(SHELL) + b"R",
    "a tensor of newer types": call("torch._utils _rebuild_tensor_v3", storage(12)),
    "a tensor of an unknown storage": tensor(storage(12, "torch QInt8Storage")),
}
NAMES = (
    "os.system",
    "builtins.eval",
    "__globals__",
    "utils.config.Config",
    "_v3",
    "torch.QInt8Storage",
)


@pytest.mark.parametrize("root", HOSTILE.values(), ids=HOSTILE)
def test_what_is_unknown_is_named_and_not_executed(write, root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for message in (refused(write(root)), refused(write(mapping({"x": X, "y": root})))):
        assert (
            "expected a state dict, got '" in message
            or "expected only tensors in the state dict, got 'y' of type '" in message
        )
        assert any(word in message for word in NAMES)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("root", HOSTILE.values(), ids=HOSTILE)
def test_what_is_unknown_beside_the_state_dict_is_left_out(tmp_path, root, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arrays = torch_files.read(
        write_zip(tmp_path / "beside.pth", mapping({"args": root, "state_dict": mapping({"x": X})}))
    )
    assert list(arrays) == ["x"]
    assert not (tmp_path / "executed").exists()


BESIDE = {
    "namespace": argparse.Namespace(
        lr=0.1, arch="attentive_nas_dynamic_model", nested=argparse.Namespace(widths=[16, 24])
    ),
    "NumPy number": {"best_acc": np.float64(71.2), "epoch": np.int64(3)},
    "NumPy array": np.arange(3),
    "counter": {"milestones": collections.Counter([30, 60])},
    "set": {1, 2},
    "dict with a default": collections.defaultdict(list, {"a": [1]}),
    "fraction": fractions.Fraction(1, 3),
    "path": pathlib.PurePosixPath("/data/imagenet"),
    "bytes": b"abc",
    "odd keys": {(1, 2): 3, None: 4, 0.5: 5},
    "a function": zipfile.is_zipfile,
}


@pytest.mark.parametrize("value", BESIDE.values(), ids=BESIDE)
def test_what_training_scripts_save_beside_the_state_dict(write, value):
    """Objects as Python's own pickle writes them, where AttentiveNAS's script has its settings."""
    beside = pickle.dumps(value, protocol=2)[2:-1]
    np.testing.assert_array_equal(
        torch_files.read(write(mapping({"args": beside, "state_dict": mapping({"x": X})})))["x"],
        VALUES,
    )


def test_the_key_of_the_state_dict(write):
    state = mapping({"x": X})
    other = mapping({"y": X})
    for key in torch_files.KEYS:
        assert torch_files.read_state(write(mapping({"epoch": number(1), key: state})))[1:] == (
            key,
            (),
        )
    found = torch_files.read_state(write(mapping({"state_dict_ema": other, "state_dict": state})))
    assert list(found.arrays) == ["x"] and found[1:] == ("state_dict", ("state_dict_ema",))
    assert torch_files.read_state(write(state))[1:] == ("", ())
    assert (
        "as state_dict, model_state_dict, model, state_dict_ema, got tensors under 'net'"
        in refused(write(mapping({"net": state})))
    )
    whole = mapping({"model": name("nets Net") + b")\x81", "epoch": number(1)})
    assert "got no tensors under 'model' ('nets.Net'), 'epoch' (int)" in refused(write(whole))


def test_without_numbers_shapes_and_types_are_the_same(write):
    path = write(
        mapping(
            {"x": tensor(storage(12), (4, 3), (1, 4)), "none": tensor(storage(12), (0, 3), (3, 1))}
        )
    )
    whole = torch_files.read(path)
    quick = torch_files.read_state(path, numbers=False).arrays
    assert {name: (one.shape, one.dtype) for name, one in whole.items()} == {
        name: (one.shape, one.dtype) for name, one in quick.items()
    }


def test_the_hostile_pickle_is_hostile(tmp_path, monkeypatch):
    """What the test above must catch.

    The same bytes, in the hands of Python's own reader, run a program.
    """
    monkeypatch.chdir(tmp_path)
    pickle.loads(b"\x80\x02" + HOSTILE["a call"] + b".")
    assert (tmp_path / "executed").exists()


MALFORMED = {
    "a call of a type": name("torch FloatStorage") + b")R",
    "a call of text": text("x") + b")R",
    "a call of a tensor": X + b")R",
    "arguments of the wrong number": call("torch._utils _rebuild_tensor_v2", storage(12)),
    "a dict from items": call("collections OrderedDict", b"](" + group(text("x"), X) + b"e"),
    "a parameter of no tensor": call("torch._utils _rebuild_parameter", number(1), TRUE, NONE),
    "an instance": b"(ios\nsystem\n",
    "an object": b"(" + name("collections OrderedDict") + b"o",
    "a class from the stack": text("os") + text("system") + b"\x93",
    "an extension": b"\x82\x01",
    "a state for a list": b"]" + mapping({"_metadata": number(1)}) + b"b",
    "a state for a tensor": X + mapping({"_metadata": number(1)}) + b"b",
    "another state": b"}" + mapping({"__class__": number(1)}) + b"b",
    "a state of text": b"}" + text("_metadata") + b"b",
    "items in a list": b"](" + text("x") + X + b"u",
    "values in a dict": b"}(" + X + b"e",
    "half an item": b"}(" + text("x") + b"u",
    "a tuple as key": b"}(" + group() + X + b"u",
    "a list as key": b"}(]" + X + b"u",
    "a missing memo": b"h\x07",
    "an empty stack": b"R",
    "too short a stack": b"\x87",
    "no mark": b"t",
    "no value": b"",
    "another persistent name": text("0") + b"Q",
    "a persistent list": b"]Q",
    "a storage of no type":
        group(text("storage"), text("float"), text("0"), text("cpu"), number(12)) + b"Q",
    "a storage that is a view":
        storage(12, "torch FloatStorage", "0", group(text("1"), number(0), number(3))),
    "a storage of less than nothing": storage(-1),
    "a storage of two sizes": mapping({"x": X, "y": tensor(storage(11))}),
    "an unknown storage": mapping({"x": tensor(storage(12, key="../../0"))}),
    "a list": b"](" + X + b"e",
    "a tensor alone": X,
    "a number as state": mapping({"state_dict": number(1)}),
    "a number in the state": mapping({"x": number(1)}),
    "a state in the state": mapping({"state_dict": mapping({"state_dict": mapping({"x": X})})}),
    "a number as name": b"}(" + number(1) + X + b"u",
    "sizes of text": call(
        "torch._utils _rebuild_tensor_v2", storage(12), number(0), text("x"), text("x"),
        FALSE, NONE,
    ),
    "a fractional size": call(
        "torch._utils _rebuild_tensor_v2", storage(12), number(0), group(b"G" + bytes(8)),
        group(number(1)), FALSE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("root", MALFORMED.values(), ids=MALFORMED)
def test_malformed_descriptions(write, root):
    refused(write(root))


BEYOND = {
    "offset": dict(shape=(12,), strides=(1,), offset=1),
    "shape": dict(shape=(13,), strides=(1,)),
    "stride": dict(shape=(2,), strides=(12,)),
    "strides": dict(shape=(2, 2), strides=(6, 6)),
    "before the start": dict(shape=(2,), strides=(-1,)),
    "negative offset": dict(shape=(2,), strides=(1,), offset=-2),
    "negative shape": dict(shape=(-1,), strides=(1,)),
    "huge": dict(shape=(1 << 40,), strides=(1,)),
    "one value a thousand times": dict(shape=(1000,), strides=(0,)),
    "overflowing product": dict(shape=(1 << 62, 4), strides=(0, 0)),
    "overflowing stride": dict(shape=(2,), strides=((1 << 62) + 1,)),
    "beyond an integer": dict(shape=(2,), strides=(1 << 80,)),
    "empty beyond an integer": dict(shape=(0, 1 << 80), strides=(1, 1)),
    "strides of another number": dict(shape=(2, 2), strides=(1,)),
    "dimensions": dict(shape=(1,) * 33, strides=(1,) * 33),
}


@pytest.mark.parametrize("view", BEYOND.values(), ids=BEYOND)
def test_no_tensor_reaches_beyond_its_storage(write, view):
    refused(write(mapping({"x": tensor(storage(12), **view)})))


def test_a_storage_has_the_bytes_it_claims(tmp_path):
    root = mapping({"x": tensor(storage(13))})
    assert "48 bytes, not 13 numbers of float32" in refused(write_zip(tmp_path / "few.pth", root))
    assert "not of the size 13" in refused(write_plain(tmp_path / "few.pth", root))
    assert "cut short" in refused(write_plain(tmp_path / "claimed.pth", root, size=13))
    huge = mapping({"x": tensor(storage(1 << 61))})
    refused(write_zip(tmp_path / "huge.pth", huge))
    assert "cut short" in refused(write_plain(tmp_path / "huge.pth", huge, size=1 << 61))


def test_other_machines(tmp_path):
    assert "little-endian" in refused(
        write_zip(tmp_path / "big.pth", mapping({"x": X}), order=b"big")
    )
    assert "little-endian" in refused(
        write_plain(tmp_path / "big.pth", mapping({"x": X}), little=FALSE)
    )
    assert "protocol" in refused(
        write_plain(tmp_path / "old.pth", mapping({"x": X}), protocol=1000)
    )


def test_truncated_anywhere(write, tmp_path):
    whole = write(mapping({"state_dict": mapping({"x": X})})).read_bytes()
    part = tmp_path / "part.pth"
    for length in range(len(whole)):
        part.write_bytes(whole[:length])
        refused(part)


def test_any_flipped_byte_is_data_or_an_error(write, tmp_path):
    """A damaged file is refused with a `UserError`, or read where the damage hits numbers or names.

    Nothing else happens.
    """
    versions = mapping({"_metadata": mapping({"": mapping({"version": number(1)})})})
    state = (
        mapping(
            {"x": X, "y": tensor(storage(12), (3, 2), (4, 2), 1)}, call("collections OrderedDict")
        )
        + versions
        + b"b"
    )
    whole = np.frombuffer(
        write(mapping({"epoch": number(3), "state_dict": state})).read_bytes(), np.uint8
    )
    generator = np.random.default_rng(0)
    outcomes = []
    for trial in range(800):
        damaged = whole.copy()
        damaged[trial % whole.size] = generator.integers(256)
        (tmp_path / "damaged.pth").write_bytes(damaged.tobytes())
        try:
            arrays = torch_files.read(tmp_path / "damaged.pth")
            outcomes.append(all(array.size <= VALUES.size for array in arrays.values()))
        except UserError as error:
            outcomes.append(None)
            assert str(error).isprintable()
    assert None in outcomes and True in outcomes and False not in outcomes


def test_zip_bombs(tmp_path):
    root = mapping({"x": X})
    assert "uncompressed" in refused(
        write_zip(tmp_path / "deflated.pth", root, compression=zipfile.ZIP_DEFLATED)
    )
    with zipfile.ZipFile(tmp_path / "overlapping.pth", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + root + b".")
        archive.writestr("archive/data/0", bytes(3_000))
        # A hundred entries, the same bytes.
        archive.filelist += [archive.getinfo("archive/data/0")] * 100
    assert "claim more bytes" in refused(tmp_path / "overlapping.pth")
    assert "at most 4194304 bytes" in refused(
        write_zip(tmp_path / "long.pth", b"0" * torch_files.PICKLE_BYTES)
    )


def test_foreign_files(tmp_path):
    np.savez(tmp_path / "arrays.npz", x=VALUES)
    contents = {
        "page.html": b"<!DOCTYPE html><html>",
        "empty": b"",
        "list.pkl": pickle.dumps([1]),
        "image.png": b"\x89PNG\r\n\x1a\n" + bytes(40),
    }
    for file, content in {**contents, "start.zip": b"PK\x03\x04"}.items():
        (tmp_path / file).write_bytes(content)
    assert "another zip archive" in refused(tmp_path / "arrays.npz")
    assert "starts with b'<!DOCTYPE html>" in refused(tmp_path / "page.html")
    for file in ("empty", "list.pkl", "image.png", "start.zip"):
        refused(tmp_path / file)
    assert "no such file" in refused(tmp_path / "absent.pth")
    assert "no such file" in refused(tmp_path)


# A pair of pairs of pairs ...: 2^60 tuples to whoever walks them.
DOUBLED = b")" + b"q\x00h\x00h\x00\x86" * 60
BOMBS = {
    "far memo": b"Nr\xff\xff\xff\xff0",
    "long text": b"X\xff\xff\xff\xff",
    "long number": b"\x8b\xff\xff\xff\x7f",
    "eight exabytes": b"\x8e" + b"\xff" * 7 + b"\x7f",
    "doubled value": mapping({"x": DOUBLED}),
    "doubled root": DOUBLED,
    "doubled key": b"}(" + DOUBLED + X + b"u",
    "doubled call": call("torch._utils _rebuild_tensor_v2", *[DOUBLED] * 6),
    "doubled storage": DOUBLED + b"Q",
    "doubled size": call(
        "torch._utils _rebuild_tensor_v2", storage(12), number(0), DOUBLED, DOUBLED, FALSE, NONE
    ),
    "deep list": b"]" * 3_000 + b"a" * 2_999,
    "deep tuple": b")" + b"\x85" * 3_000,
    "deep dict": (b"}" + text("state_dict")) * 3_000 + b"N" + b"s" * 3_000,
    "a list in itself": b"]q\x00h\x00a",
    "many numbers": b"](" + b"K\x01" * 3_000 + b"e",
}


@pytest.mark.parametrize("root", BOMBS.values(), ids=BOMBS)
def test_no_small_file_takes_much_memory(write, root):
    """Three thousand nested objects may take a few MB, as they would anywhere.

    Nothing multiplies.
    """
    path = write(root)
    tracemalloc.start()
    try:
        refused(path)
        assert tracemalloc.get_traced_memory()[1] < 12e6
    finally:
        tracemalloc.stop()


def test_a_storage_used_often_is_held_once(tmp_path):
    values = np.zeros(1 << 18, np.float32)
    root = mapping({f"x{i}": tensor(storage(values.size), (values.size,)) for i in range(1000)})
    path = write_zip(tmp_path / "shared.pth", root, values)
    tracemalloc.start()
    arrays = torch_files.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(arrays) == 1000 and peak < 10 * values.nbytes


@pytest.fixture(params=[True, False], ids=["zip", "plain"])
def saved(request, tmp_path):
    """Saves with PyTorch, in either form, and reads."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: peers)")

    def save(contents):
        torch.save(contents, tmp_path / "torch.pth", _use_new_zipfile_serialization=request.param)
        return torch_files.read(tmp_path / "torch.pth")

    return save


def torch_states():
    """A training run's checkpoint, and what each of its tensors is."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: peers)")
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.Flatten(),
        torch.nn.Linear(16, 5),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.randn(2, 3, 4, 4)).sum().backward()
    optimizer.step()
    state = model.state_dict()
    base = torch.randn(6, 8)
    state.update(
        {
            "parameter": torch.nn.Parameter(torch.randn(3)),
            "turned": base.T,
            "part": base[1::2, 2:7:3],
            "row": base[3],
            "none": base[:0],
        }
    )
    for dtype in ("float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"):
        state[dtype] = (base * 3).to(getattr(torch, dtype))
    expected = {key: value.detach().numpy() for key, value in state.items()}
    state["bfloat16"] = base.bfloat16()
    expected["bfloat16"] = base.bfloat16().float().numpy().astype(jnp.bfloat16)
    return {
        "epoch": 4,
        "best": 0.5,
        "state_dict": state,
        "optimizer": optimizer.state_dict(),
    }, expected


def compare(arrays, expected):
    assert list(arrays) == list(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(arrays[key], value, strict=True, err_msg=key)


def test_what_torch_saves(saved):
    checkpoint, expected = torch_states()
    compare(saved(checkpoint), expected)
    compare(saved(checkpoint["state_dict"]), expected)


def test_the_comparison_sees_ignored_strides(saved, monkeypatch):
    """A planted bug: tensors read as if they were contiguous."""

    def contiguous(storage, offset, shape, strides, *rest):
        return torch_pickle.Tensor(
            storage, 0, shape, tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
        )

    checkpoint, expected = torch_states()
    monkeypatch.setitem(torch_pickle._GLOBALS, "torch._utils _rebuild_tensor_v2", contiguous)
    with pytest.raises(AssertionError):
        compare(saved(checkpoint), expected)


def test_torch_objects_beyond_tensors(saved):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: peers)")
    state = {"x": torch.ones(3)}
    assert list(
        saved(
            {"state_dict": state, "args": torch.device("cpu"), "arch": argparse.Namespace(lr=0.1)}
        )
    ) == ["x"]
    for contents in (
        torch.nn.Linear(2, 3),
        {"state_dict": state | {"y": torch.zeros(3, dtype=torch.complex64)}},
    ):
        with pytest.raises(UserError, match=r"got '(y' of type ')?torch"):
            saved(contents)
