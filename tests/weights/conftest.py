"""Checkpoints as torch.save writes them, by hand."""

import struct
import zipfile

import numpy as np
import pytest


def pickled(value) -> bytes:
    """A pickle's operations for dicts of names and float32 tensors.

    Each tensor is a storage named by its position.
    """
    if isinstance(value, str):
        return b"X" + struct.pack("<I", len(value)) + value.encode()
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, tuple):
        return b"(" + b"".join(map(pickled, value)) + b"t"
    if isinstance(value, dict):
        return (
            b"}("
            + b"".join(
                pickled(key) + item if isinstance(item, bytes) else pickled(key) + pickled(item)
                for key, item in value.items()
            )
            + b"u"
        )
    raise TypeError(value)


KINDS = {
    "float32": b"ctorch\nFloatStorage\n",
    "float16": b"ctorch\nHalfStorage\n",
    "int32": b"ctorch\nIntStorage\n",
}


def write(path, tensors: dict[str, np.ndarray], beside: dict | None = None):
    """A checkpoint as torch.save writes it, {"state_dict": tensors}."""
    described = {}
    storages = {}
    for i, (name, array) in enumerate(tensors.items()):
        storages[str(i)] = array.tobytes()
        storage = (
            b"("
            + pickled("storage")
            + KINDS[array.dtype.name]
            + b"".join(map(pickled, (str(i), "cpu", array.size)))
            + b"tQ"
        )
        strides = tuple(stride // array.itemsize for stride in array.strides)
        described[name] = (
            b"ctorch._utils\n_rebuild_tensor_v2\n("
            + storage
            + b"".join(map(pickled, (0, array.shape, strides)))
            + b"\x89NtR"
        )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "archive/data.pkl",
            b"\x80\x02" + pickled({**(beside or {}), "state_dict": described}) + b".",
        )
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
    return path


@pytest.fixture(scope="session")
def write_checkpoint():
    """Writes a checkpoint: `write_checkpoint(path, tensors, beside)`."""
    return write
