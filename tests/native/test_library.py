import shutil

import jax.numpy as jnp
import pytest

from jaxnas.errors import UserError
from jaxnas.native import library

needs_compiler = pytest.mark.skipif(
    library.compiler() is None, reason="there is no C++ compiler on this machine"
)


def test_other_numbers_sizes_and_strides_have_no_kernel():
    x = jnp.zeros((1, 4, 4, 2), jnp.bfloat16)
    assert not library.supports(x, 3, 1)
    assert not library.supports(x.astype(jnp.float32), 9, 1)
    assert not library.supports(x.astype(jnp.float32), 3, 3)


@pytest.fixture
def afresh(monkeypatch, tmp_path):
    """A cache without a library, and nothing loaded or said yet."""
    monkeypatch.setenv("JAXNAS_CACHE", str(tmp_path))
    library.available.cache_clear()
    yield tmp_path
    library.available.cache_clear()


def test_jaxnas_native_switches_the_kernels_off(monkeypatch, afresh):
    monkeypatch.setenv("JAXNAS_NATIVE", "0")
    assert not library.available()
    assert not list(afresh.iterdir())


def test_jaxnas_native_must_be_0_or_1(monkeypatch, afresh):
    monkeypatch.setenv("JAXNAS_NATIVE", "yes")
    with pytest.raises(UserError, match="JAXNAS_NATIVE must be 0 or 1, got 'yes'"):
        library.available()


def test_without_a_compiler_everything_is_computed_in_jax(monkeypatch, afresh, capsys):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert library.compiler() is None and not library.available()
    assert "CXX must name a program, got 'no-such-compiler'" in capsys.readouterr().err


def test_a_compiler_that_fails_is_named_and_leaves_nothing(monkeypatch, afresh, capsys):
    broken = afresh / "broken"
    broken.write_text('#!/bin/sh\n[ "$2" = -dM ] && exit 0\necho "x.cc: error: bad" >&2; exit 1\n')
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    assert not library.available()
    said = capsys.readouterr().err
    assert "slower convolutions" in said and "x.cc: error: bad" in said
    assert not list((afresh / "native").iterdir())


def test_a_damaged_library_is_named(monkeypatch, afresh, capsys):
    compiler = afresh / "compiler"
    writes = 'while [ "$1" != -o ]; do shift; done; echo no > "$2"'
    compiler.write_text(f'#!/bin/sh\n[ "$2" = -dM ] && exit 0\n{writes}\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    assert not library.available()
    said = capsys.readouterr().err
    assert "cannot load" in said and "remove it" in said


@needs_compiler
def test_the_compiler_is_that_of_cxx(monkeypatch):
    monkeypatch.setenv("CXX", "sh")
    assert library.compiler() == shutil.which("sh")
