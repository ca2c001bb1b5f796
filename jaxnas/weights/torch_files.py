"""Read the state dict of a PyTorch checkpoint as NumPy arrays, without PyTorch.

Nothing from the file is executed. Memory stays within a small multiple of the file's size, whatever
sizes the file claims.
"""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from jaxtyping import Shaped

from jaxnas.errors import UserError
from jaxnas.weights.torch_pickle import Machine, Refused, Storage, Tensor, kind_of, short

# Of a state dict in a training script's file; the first wins.
KEYS = ("state_dict", "model_state_dict", "model", "state_dict_ema")
PICKLE_BYTES = 4 << 20  # a thousand tensors are described in a third of a MiB

_ZIP = b"PK\x03\x04"
# A pickle of its own that holds the plain form's magic number.
_PLAIN = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_PLAIN_PROTOCOL = 1001


class State(NamedTuple):
    """A checkpoint's state dict.

    And the key it lies under ("" where the file is one itself), and other keys that have one too.
    """

    arrays: dict[str, Shaped[np.ndarray, "..."]]
    key: str
    others: tuple[str, ...]


def read(path: str | os.PathLike[str]) -> dict[str, Shaped[np.ndarray, "..."]]:
    """The arrays of a checkpoint's state dict by name, in the file's order: see `read_state`."""
    return read_state(path).arrays


def read_state(path: str | os.PathLike[str], numbers: bool = True) -> State:
    """The state dict under the first of `KEYS` that has one, or the whole file where it is one.

    Read-only views; without `numbers` of the right shapes and types, but all 0 and quickly read.
    Reads the zip form (PyTorch 1.6 and later) and the plain form before it, little-endian. Whatever
    else lies beside the state dict is left out. A file that is truncated, damaged, foreign or holds
    anything but tensors in its state dict is a `UserError`.
    """
    try:
        if not Path(path).is_file():
            raise Refused("there is no such file")
        with open(path, "rb") as file:
            start = file.read(len(_PLAIN))
            if start[: len(_ZIP)] == _ZIP:
                return _read_zip(file, numbers)
            if start == _PLAIN:
                return _read_plain(file, numbers)
        raise Refused(
            f"expected a file of torch.save, got one that starts with {start!r}: fetch it anew"
        )
    except Refused as error:
        raise UserError(f"cannot read the checkpoint {path}: {error}") from None
    except OSError as error:
        raise UserError(f"cannot read the checkpoint {path}: {error.strerror or error}") from error
    except Exception as error:
        # A hostile file can break the machine, zipfile and NumPy in many ways.
        reason = f"{type(error).__name__} {error}".splitlines()[0][:120]
        raise UserError(
            f"cannot read the checkpoint {path}: it is damaged or cut short ({reason}): fetch it "
            "anew"
        ) from error


def _read_zip(file: BinaryIO, numbers: bool) -> State:
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise Refused(
                "expected uncompressed entries, as torch.save writes them, got compressed ones: "
                "fetch it anew"
            )
        if sum(entry.file_size for entry in entries) > os.fstat(file.fileno()).st_size:
            raise Refused("its entries claim more bytes than the file has: fetch it anew")
        roots = [
            entry.filename.removesuffix("data.pkl")
            for entry in entries
            if entry.filename.endswith("/data.pkl")
        ]
        if len(roots) != 1:
            raise Refused(
                "expected a file of torch.save, got another zip archive: name a checkpoint"
            )
        if (
            f"{roots[0]}byteorder" in archive.namelist()
            and archive.read(f"{roots[0]}byteorder") != b"little"
        ):
            raise Refused(
                "expected little-endian numbers, got others: save it on an ordinary machine"
            )
        description = archive.read(f"{roots[0]}data.pkl")
        if len(description) > PICKLE_BYTES:
            raise Refused(
                f"expected a description of at most {PICKLE_BYTES} bytes, got {len(description)}: "
                "save the state_dict alone"
            )
        chosen = _chosen(Machine().run(io.BytesIO(description)))
        return _state(
            *chosen,
            (lambda storage: archive.read(f"{roots[0]}data/{storage.key}")) if numbers else None,
        )


def _read_plain(file: BinaryIO, numbers: bool) -> State:
    """Pickles of magic number, protocol, machine, contents and storage keys.

    Then, per key, its int64 size and its numbers.
    """
    file.seek(0)
    head = io.BytesIO(file.read(PICKLE_BYTES))
    machine = Machine()
    places = {}
    _, protocol, computer, root, keys = (machine.run(head) for _ in range(5))
    if (
        type(protocol) is not int
        or protocol != _PLAIN_PROTOCOL
        or not isinstance(computer, dict)
        or not isinstance(keys, list)
    ):
        raise Refused(
            "expected a file of torch.save, got one of another protocol: save it with PyTorch 0.4 "
            "or later"
        )
    if computer.get("little_endian") is not True:
        raise Refused("expected little-endian numbers, got others: save it on an ordinary machine")
    chosen = _chosen(root)
    place = head.tell()
    for key in keys:
        if not isinstance(key, str) or key not in machine.storages:
            raise Refused(f"storage {short(key)} belongs to no tensor: fetch it anew")
        file.seek(place)
        storage = machine.storages[key]
        if int.from_bytes(file.read(8), "little") != storage.size:
            raise Refused(
                f"storage {short(key)} is not of the size {storage.size} its tensors claim: fetch "
                "it anew"
            )
        places[key] = place + 8
        place += 8 + storage.size * storage.dtype.itemsize
    if place > os.fstat(file.fileno()).st_size:
        raise Refused("it is cut short: fetch it anew")

    def load(storage: Storage) -> bytes:
        file.seek(places[storage.key])
        return file.read(storage.size * storage.dtype.itemsize)

    return _state(*chosen, load if numbers else None)


def _chosen(root: Any) -> tuple[dict[str, Tensor], str, tuple[str, ...]]:
    """The state dict of a file's root, its key, and the other keys that have one."""
    if not isinstance(root, dict):
        raise Refused(f"expected a state dict, got {kind_of(root)}: save the model's state_dict()")
    found = [key for key in KEYS if _has_tensors(root.get(key))]
    if not found and root and not _has_tensors(root):
        elsewhere = [key for key, value in root.items() if _has_tensors(value)]
        there = (
            f"tensors under {', '.join(map(short, elsewhere[:3]))}"
            if elsewhere
            else f"no tensors under {_listed(root)}"
        )
        raise Refused(
            f"expected a state dict, or a dict that has one as {', '.join(KEYS)}, got {there}: "
            "save the model's state_dict()"
        )
    state = root[found[0]] if found else root
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            what = f"{short(name)} of type {kind_of(tensor)}"
            raise Refused(
                f"expected only tensors in the state dict, got {what}: save the model's "
                "state_dict()"
            )
    return state, found[0] if found else "", tuple(found[1:])


def _has_tensors(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(one, Tensor) for one in value.values())


def _listed(root: dict) -> str:
    """What a file's first keys hold: 'model' (torch.nn.modules.linear.Linear)."""
    return ", ".join(f"{short(key)} ({kind_of(value)})" for key, value in list(root.items())[:3])


def _state(
    state: dict[str, Tensor],
    key: str,
    others: tuple[str, ...],
    load: Callable[[Storage], bytes] | None,
) -> State:
    """The tensors as arrays; NumPy checks offsets and strides against the storage's true bytes."""
    if load is None:
        return State(
            {
                name: np.broadcast_to(np.zeros((), one.storage.dtype), one.shape)
                for name, one in state.items()
            },
            key,
            others,
        )
    arrays = {}
    loaded = {}
    for name, tensor in state.items():
        storage = tensor.storage
        if storage.key not in loaded:
            loaded[storage.key] = load(storage)
        if len(loaded[storage.key]) != storage.size * storage.dtype.itemsize:
            raise Refused(
                f"{short(name)} has {len(loaded[storage.key])} bytes, not {storage.size} numbers "
                f"of {storage.dtype}: fetch it anew"
            )
        size = storage.dtype.itemsize
        strides = tuple(size * stride for stride in tensor.strides)
        arrays[name] = np.ndarray(
            tensor.shape, storage.dtype, loaded[storage.key], size * tensor.offset, strides
        )
    return State(arrays, key, others)
