"""Kernels in C++ for what XLA's CPU compiler has no fast code for: built once, kept in the cache.

A machine without a compiler, or with JAXNAS_NATIVE=0, computes the same in pure JAX.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path

import jax

from jaxnas.errors import UserError
from jaxnas.progress import log
from jaxnas.records.cache import made_cache_folder

SOURCE = Path(__file__).with_name("depthwise.cc")
# Of the library, and how a program calls them.
TARGETS = {
    "JaxnasDepthwise": "jaxnas_depthwise",
    "JaxnasDepthwiseInput": "jaxnas_depthwise_input",
    "JaxnasDepthwiseWeight": "jaxnas_depthwise_weight",
}
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
        for symbol, name in TARGETS.items():
            jax.ffi.register_ffi_target(
                name, jax.ffi.pycapsule(getattr(symbols, symbol)), platform="cpu"
            )
    except (OSError, AttributeError) as error:
        _warn(f"cannot load {library} ({error}): remove it, to have it built again")
        return False
    return True


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
    folder = None if path is None else made_cache_folder("native")
    if path is None or folder is None:
        return None
    try:
        library = folder / f"depthwise-{_key(path)}.so"
        if not library.exists():
            _compile(path, library)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        _warn(f"{path} could not build {SOURCE.name} ({_first_error(said)})")
        return None
    return library


def _key(path: str) -> str:
    """A digest of the source, JAX's headers, the compiler and the machine that it compiles for."""
    asked = [path, "-march=native", "-dM", "-E", "-x", "c++", os.devnull]
    macros = subprocess.run(asked, capture_output=True, timeout=SECONDS, check=True).stdout
    facts = [SOURCE.read_bytes(), macros, jax.__version__.encode(), " ".join(OPTIONS).encode()]
    return hashlib.sha256(b"\0".join(facts)).hexdigest()[:16]


def _compile(path: str, library: Path) -> None:
    """Whole or not at all: other processes may build it at the same time."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        made = Path(folder) / library.name
        include = f"-I{jax.ffi.include_dir()}"
        command = [path, *OPTIONS, include, str(SOURCE), "-o", str(made)]
        subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
        os.replace(made, library)
    log(f"jaxnas: built fast depthwise convolutions in {time.monotonic() - start:.0f} s, once")


def _first_error(said: str) -> str:
    lines = said.strip().splitlines() or ["it said nothing"]
    return next((line for line in lines if "error" in line), lines[0])


def _warn(what: str) -> None:
    log(f"jaxnas: going on with slower depthwise convolutions: {what}")
