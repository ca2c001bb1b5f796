"""Kernels in C++ for what XLA's CPU compiler has no fast code for: built once, kept in the cache.

NHWC float32, "same" padding of size // 2, sizes of 3, 5 and 7, strides of 1 and 2. A machine
without a compiler, or with JAXNAS_NATIVE=0, computes the same in pure JAX.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxnas.errors import UserError
from jaxnas.progress import log
from jaxnas.records.cache import made_cache_folder

SOURCES = tuple(Path(__file__).with_name(f"{name}.cc") for name in ("convolution", "depthwise"))
HEADER = Path(__file__).with_name("pieces.h")
TARGETS = (
    "JaxnasConvolution",
    "JaxnasConvolutionInput",
    "JaxnasConvolutionWeight",
    "JaxnasDepthwise",
    "JaxnasDepthwiseInput",
    "JaxnasDepthwiseWeight",
)
SIZES = (3, 5, 7)
STRIDES = (1, 2)
COMPILERS = ("g++", "clang++", "c++")
OPTIONS = ("-O3", "-march=native", "-std=c++17", "-fPIC", "-shared", "-pthread", "-w")
SECONDS = 120  # for the compiler


@cache
def available() -> bool:
    """Whether the kernels can be called: the first time, they are built or loaded."""
    if not asked_for():
        return False
    library = _built()
    if library is None:
        return False
    try:
        symbols = ctypes.CDLL(str(library))
        for name in TARGETS:
            capsule = jax.ffi.pycapsule(getattr(symbols, name))
            jax.ffi.register_ffi_target(name, capsule, platform="cpu")
    except (OSError, AttributeError) as error:
        _warn(f"cannot load {library} ({error}): remove it, to have it built again")
        return False
    return True


def supports(x: Array, size: int, stride: int) -> bool:
    """Whether there is a kernel for these images, on this machine.

    Not for a batch that several processes share: XLA would give the whole of it to each.
    """
    return (
        jax.default_backend() == "cpu"
        and x.dtype == jnp.float32
        and size in SIZES
        and stride in STRIDES
        and jax.process_count() == 1
        and available()
    )


def call(name: str, shape: Sequence[int], left: Array, right: Array, stride: int) -> Array:
    """A kernel's float32 result of this shape; under `vmap` one call for all."""
    result = jax.ShapeDtypeStruct(tuple(shape), jnp.float32)
    made = jax.ffi.ffi_call(name, result, vmap_method="broadcast_all")
    return made(left, right, stride=np.int64(stride))


def asked_for() -> bool:
    """What JAXNAS_NATIVE says: 1, which is the default, or 0.

    Raises:
        UserError: it says something else.
    """
    said = os.environ.get("JAXNAS_NATIVE", "1")
    if said not in ("0", "1"):
        raise UserError(f"JAXNAS_NATIVE must be 0 or 1, got {said!r}")
    return said == "1"


def compiler() -> str | None:
    """The path of the C++ compiler: CXX, or the first of the usual ones; None without any."""
    named = os.environ.get("CXX")
    names = (named,) if named else COMPILERS
    return next((path for name in names if (path := shutil.which(name))), None)


def _built() -> Path | None:
    """The library for this machine, from the cache or the compiler."""
    path = compiler()
    if path is None and "CXX" in os.environ:
        _warn(f"CXX must name a program, got {os.environ['CXX']!r}")
    folder = None if path is None else made_cache_folder("native")
    if path is None or folder is None:
        return None
    try:
        library = folder / f"convolutions-{_key(path)}.so"
        if not library.exists():
            _compile(path, library)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        _warn(f"{path} could not build the kernels ({_first_error(said)})")
        return None
    return library


def _key(path: str) -> str:
    """A digest of the source, JAX's headers, the compiler and the machine that it compiles for."""
    asked = [path, "-march=native", "-dM", "-E", "-x", "c++", os.devnull]
    macros = subprocess.run(asked, capture_output=True, timeout=SECONDS, check=True).stdout
    sources = [file.read_bytes() for file in (*SOURCES, HEADER)]
    facts = [*sources, macros, jax.__version__.encode(), " ".join(OPTIONS).encode()]
    return hashlib.sha256(b"\0".join(facts)).hexdigest()[:16]


def _compile(path: str, library: Path) -> None:
    """Whole or not at all: other processes may build it at the same time."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        made = Path(folder) / library.name
        include = f"-I{jax.ffi.include_dir()}"
        command = [path, *OPTIONS, include, *map(str, SOURCES), "-o", str(made)]
        subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
        os.replace(made, library)
    log(f"jaxnas: built fast convolutions in {time.monotonic() - start:.0f} s, once")


def _first_error(said: str) -> str:
    lines = said.strip().splitlines() or ["it said nothing"]
    return next((line for line in lines if "error" in line), lines[0])


def _warn(what: str) -> None:
    log(f"jaxnas: going on with slower convolutions: {what}")
