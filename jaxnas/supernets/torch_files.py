"""Read the state dict of a PyTorch checkpoint as NumPy arrays: no PyTorch, and nothing from the file is executed.

Memory stays within a small multiple of the file's size, whatever sizes the file claims.
"""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Shaped

from jaxnas.errors import UserError
from jaxnas.supernets.torch_pickle import Machine, Refused, Storage, Tensor, short

PICKLE_BYTES = 4 << 20  # a thousand tensors are described in a third of a MiB

_ZIP = b"PK\x03\x04"
_PLAIN = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # a pickle of its own that holds the plain form's magic number
_PLAIN_PROTOCOL = 1001


def read(path: str | os.PathLike[str]) -> dict[str, Shaped[np.ndarray, "..."]]:
    """The arrays of a checkpoint's "state_dict", or of the whole file where it is one, by name, in the file's order.

    Read-only views. Reads the zip form (PyTorch 1.6 and later) and the plain form before it, little-endian. A file that
    is truncated, damaged, foreign or holds anything but tensors in its state dict is a `UserError`.
    """
    try:
        if not Path(path).is_file():
            raise Refused("there is no such file")
        with open(path, "rb") as file:
            start = file.read(len(_PLAIN))
            if start[: len(_ZIP)] == _ZIP:
                return _read_zip(file)
            if start == _PLAIN:
                return _read_plain(file)
        raise Refused(f"expected a file of torch.save, got one that starts with {start!r}: fetch it anew")
    except Refused as error:
        raise UserError(f"cannot read the checkpoint {path}: {error}") from None
    except OSError as error:
        raise UserError(f"cannot read the checkpoint {path}: {error.strerror or error}") from error
    except Exception as error:  # a hostile file can break the machine, zipfile and NumPy in many ways
        reason = f"{type(error).__name__} {error}".splitlines()[0][:120]
        raise UserError(f"cannot read the checkpoint {path}: it is damaged or cut short ({reason}): fetch it anew") from error


def _read_zip(file: BinaryIO) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise Refused("expected uncompressed entries, as torch.save writes them, got compressed ones: fetch it anew")
        if sum(entry.file_size for entry in entries) > os.fstat(file.fileno()).st_size:
            raise Refused("its entries claim more bytes than the file has: fetch it anew")
        roots = [entry.filename.removesuffix("data.pkl") for entry in entries if entry.filename.endswith("/data.pkl")]
        if len(roots) != 1:
            raise Refused("expected a file of torch.save, got another zip archive: name a checkpoint")
        if f"{roots[0]}byteorder" in archive.namelist() and archive.read(f"{roots[0]}byteorder") != b"little":
            raise Refused("expected little-endian numbers, got others: save it on an ordinary machine")
        description = archive.read(f"{roots[0]}data.pkl")
        if len(description) > PICKLE_BYTES:
            raise Refused(f"expected a description of at most {PICKLE_BYTES} bytes, got {len(description)}: save the state_dict alone")
        root = Machine().run(io.BytesIO(description))
        return _arrays(root, lambda storage: archive.read(f"{roots[0]}data/{storage.key}"))


def _read_plain(file: BinaryIO) -> dict[str, np.ndarray]:
    """Pickles of magic number, protocol, machine, contents and storage keys; then, per key, its int64 size and its numbers."""
    file.seek(0)
    head, machine, places = io.BytesIO(file.read(PICKLE_BYTES)), Machine(), {}
    _, protocol, computer, root, keys = (machine.run(head) for _ in range(5))
    if type(protocol) is not int or protocol != _PLAIN_PROTOCOL or not isinstance(computer, dict) or not isinstance(keys, list):
        raise Refused("expected a file of torch.save, got one of another protocol: save it with PyTorch 0.4 or later")
    if computer.get("little_endian") is not True:
        raise Refused("expected little-endian numbers, got others: save it on an ordinary machine")
    place = head.tell()
    for key in keys:
        if not isinstance(key, str) or key not in machine.storages:
            raise Refused(f"storage {short(key)} belongs to no tensor: fetch it anew")
        file.seek(place)
        storage = machine.storages[key]
        if int.from_bytes(file.read(8), "little") != storage.size:
            raise Refused(f"storage {short(key)} is not of the size {storage.size} its tensors claim: fetch it anew")
        places[key] = place + 8
        place += 8 + storage.size * storage.dtype.itemsize
    if place > os.fstat(file.fileno()).st_size:
        raise Refused("it is cut short: fetch it anew")

    def load(storage: Storage) -> bytes:
        file.seek(places[storage.key])
        return file.read(storage.size * storage.dtype.itemsize)

    return _arrays(root, load)


def _arrays(root: Any, load: Callable[[Storage], bytes]) -> dict[str, np.ndarray]:
    """The tensors of a state dict as arrays; NumPy checks offsets and strides against the storage's true bytes."""
    state = root.get("state_dict", root) if isinstance(root, dict) else None
    if not isinstance(state, dict):
        raise Refused("expected a state dict, or a dict that has one as state_dict: save the model's state_dict()")
    arrays, loaded = {}, {}
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise Refused(
                f"expected only tensors in the state dict, got {short(name)} of type {type(tensor).__name__}: save the model's state_dict()"
            )
        storage = tensor.storage
        if storage.key not in loaded:
            loaded[storage.key] = load(storage)
        if len(loaded[storage.key]) != storage.size * storage.dtype.itemsize:
            raise Refused(
                f"{short(name)} has {len(loaded[storage.key])} bytes, not {storage.size} numbers of {storage.dtype}: fetch it anew"
            )
        size = storage.dtype.itemsize
        strides = tuple(size * stride for stride in tensor.strides)
        arrays[name] = np.ndarray(tensor.shape, storage.dtype, loaded[storage.key], size * tensor.offset, strides)
    return arrays
