"""Files of named arrays and texts: safetensors, which jaxnas writes, and npz, which it wrote.

Nothing in a file is executed, and headers can be looked at before any number is read.
"""

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

SUFFIXES = (".safetensors", ".npz")
TEXT_BYTES = 64 << 20  # of the names of a million classes
_NUMPY = {"F32": "float32", "F16": "float16"}  # names of types
# The one entry of the metadata, JSON: safetensors writes several in random order.
_ENTRY = "jaxnas"


class Header(NamedTuple):
    """Type and shape of an array."""

    dtype: str  # as NumPy names it
    shape: tuple[int, ...]


@runtime_checkable
class TensorFile(Protocol):
    """An open file. What is damaged raises one of many exceptions."""

    def header(self, name: str) -> Header | None:
        """An array's, of which no number is read; None where it is absent."""
        ...

    def array(self, name: str) -> np.ndarray: ...

    def said(self, name: str) -> Any:
        """A text or a list of texts; None where it is absent."""
        ...


def to_bytes(arrays: Mapping[str, np.ndarray], texts: Mapping[str, Any]) -> bytes:
    """A safetensors file of these arrays and texts; the same ones give the same bytes."""
    checksums = {name: _checksum(array) for name, array in arrays.items()}
    said = json.dumps({"texts": texts, "checksums": checksums}, sort_keys=True)
    return save(dict(arrays), {_ENTRY: said})


@contextmanager
def opened(path: Path) -> Iterator[TensorFile]:
    """A file in the format that its suffix says: .safetensors, or else npz."""
    if not path.is_file():  # a pipe would block
        raise FileNotFoundError(path)
    if path.suffix == ".safetensors":
        with safe_open(path, framework="numpy") as file:
            yield _Safetensors(file)
    else:
        with np.load(path, allow_pickle=False) as archive:
            yield _Npz(archive)


class _Safetensors:
    def __init__(self, file: Any):
        self._file = file
        self._names = set(file.keys())
        said = json.loads((file.metadata() or {}).get(_ENTRY, "{}"))
        self._texts = said.get("texts", {})
        self._checksums = said.get("checksums", {})

    def header(self, name: str) -> Header | None:
        if name not in self._names:
            return None
        found = self._file.get_slice(name)
        dtype = str(found.get_dtype())
        return Header(_NUMPY.get(dtype, dtype), tuple(found.get_shape()))

    def array(self, name: str) -> np.ndarray:
        array = self._file.get_tensor(name)
        if self._checksums.get(name) != _checksum(array):
            raise ValueError(f"{name} does not have its checksum")
        return array

    def said(self, name: str) -> Any:
        return self._texts.get(name)


class _Npz:
    def __init__(self, archive: Any):
        self._archive = archive

    def header(self, name: str) -> Header | None:
        found = self._header(name)
        return None if found is None else Header(str(found[0]), found[1])

    def array(self, name: str) -> np.ndarray:
        return self._archive[name]

    def said(self, name: str) -> Any:
        """None too for what is no text, or would unpack to more than any text needs."""
        dtype, shape = self._header(name) or (np.dtype(object), ())
        if dtype.kind != "U" or prod(shape) * dtype.itemsize > TEXT_BYTES:
            return None
        return self._archive[name].tolist()

    def _header(self, name: str) -> tuple[np.dtype, tuple[int, ...]] | None:
        if name not in self._archive.files:
            return None
        with self._archive.zip.open(f"{name}.npy") as file:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read(file)
        return dtype, shape


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data)
