"""The scripts of experiments, imported as they import one another."""

import importlib
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "experiments" / "bench"


@pytest.fixture(scope="session")
def bench_module():
    """Imports one of the scripts by name."""
    sys.path.insert(0, str(BENCH))
    yield importlib.import_module
    sys.path.remove(str(BENCH))


@pytest.fixture(scope="session")
def experiment():
    """Imports one of the experiments by name."""
    sys.path.insert(0, str(BENCH.parent))
    yield importlib.import_module
    sys.path.remove(str(BENCH.parent))


@pytest.fixture(scope="session")
def peer(bench_module):
    """The PyTorch peer; tests that need it are skipped without torch."""
    pytest.importorskip("torch")
    return bench_module("supernet_torch")


@pytest.fixture
def alone(peer, monkeypatch):
    """PyTorch on one thread: two wait for each other where other tests keep the cores busy."""
    monkeypatch.setattr(peer, "CORES", 1)
