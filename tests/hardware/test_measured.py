"""Each measurement is made once, for all runs and processes.

What decides a figure decides where it is found.
"""

import hashlib
import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from jaxnas.hardware.device import (
    Device,
    ExportedModel,
    Identified,
    Measurement,
    failed_measurement,
)
from jaxnas.hardware.measured import Stored
from jaxnas.records import cache as caches
from jaxnas.records.cache import Store

GENOME = np.zeros(3, np.int32)
MEASUREMENT = Measurement(
    "toy",
    1.1,
    1.2,
    1.3,
    30,
    1,
    "toy 1",
    noise_floor=0.01,
    clock="1234 MHz",
    processor="abacus",
    median_ms=1.25,
    p99_ms=1.4,
)


@dataclass(frozen=True)
class Toy:
    """A device whose every figure is different."""

    about: tuple | None = ("toy 1", "abacus", 1)
    failing: bool = False
    made: list[int] = field(default_factory=list)
    name = "toy"

    def identity(self):
        return None if self.about is None else dict(zip("abc", self.about, strict=True))

    def measure(self, model):
        self.made.append(model.turn)
        return (
            failed_measurement("toy", 1, "toy 1", ValueError("no"))
            if self.failing
            else replace(MEASUREMENT, latency_ms=1 + len(self.made) / 10)
        )


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXNAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "measurements"


def model(data=b"net", turn=0):
    return ExportedModel(data, GENOME, turn)


def test_what_was_measured_is_used_again_and_says_so(tmp_path):
    toy = Toy()
    first = Stored(toy).measure(model())
    assert first == MEASUREMENT and not first.reused
    other = Toy()
    (tmp_path / "net.onnx").write_bytes(b"net")
    for same in (model(), model(tmp_path / "net.onnx")):
        assert (
            Stored(other).measure(same) == replace(first, reused=True) == Stored(other).find(same)
        )
    assert other.made == []
    assert (
        Stored(toy).name == "toy"
        and isinstance(Stored(toy), Device)
        and isinstance(toy, Identified)
    )


def test_all_that_decides_a_figure_tells_them_apart():
    asked = [(Toy(), model())]
    asked += [
        (Toy(about), model())
        for about in (("toy 2", "abacus", 1), ("toy 1", "other", 1), ("toy 1", "abacus", 2))
    ]
    asked += [(Toy(), model(b"net2")), (Toy(), model(turn=1))]
    for toy, one in asked:
        assert not Stored(toy).measure(one).reused
    for toy, one in asked:
        assert Stored(toy).measure(one).reused
        assert len(toy.made) == 1


def test_a_failure_and_a_device_that_cannot_be_told_are_measured_again(cache):
    class Plain:
        name = "plain"
        measure = Toy.measure
        made, failing = [], False

    for device in (Toy(failing=True), Toy(about=None), Plain()):
        for _ in range(2):
            assert not Stored(device).measure(model()).reused
        assert device.made == [0, 0]
        assert Stored(device).find(model()) is None
    assert not list(cache.iterdir())


def test_a_model_that_is_not_there_is_for_the_device_to_say(tmp_path):
    toy = Toy(failing=True)
    assert Stored(toy).measure(model(tmp_path / "none.onnx")).failure == "ValueError: no"


def test_a_damaged_record_is_measured_again(cache):
    Stored(Toy()).measure(model())
    (path,) = cache.iterdir()
    data = path.read_bytes()
    for i in range(0, len(data), 7):
        path.write_bytes(data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :])
        toy = Toy()
        assert not Stored(toy).measure(model()).reused and toy.made == [0]
        assert Stored(toy).measure(model()).reused


def test_a_record_can_be_read_by_a_person(cache):
    Stored(Toy()).measure(model(turn=3))
    (path,) = cache.iterdir()
    key, record, _ = json.loads(path.read_text())
    assert key == f"{hashlib.sha256(b'net').hexdigest()} 3"
    assert record["identity"] == {"a": "toy 1", "b": "abacus", "c": 1}
    assert (record["measurement"]["clock"], record["measurement"]["latency_ms"]) == (
        "1234 MHz",
        1.1,
    )


def test_a_record_of_another_version_has_the_figures_that_both_know(cache):
    """A figure that is younger than the record is NaN."""
    Stored(Toy()).measure(model())
    (path,) = cache.iterdir()
    key, record, _ = json.loads(path.read_text())
    del record["measurement"]["median_ms"]
    record["measurement"]["of_the_future"] = 1
    path.unlink()
    Store("measurements", path.stem).put({key: record})
    found = Stored(Toy()).find(model())
    assert found is not None and found.latency_ms == 1.1 and math.isnan(found.median_ms)


def test_figures_that_are_nan_come_back(cache):
    class Bare(Toy):
        def measure(self, model):
            return replace(MEASUREMENT, noise_floor=math.nan)

    Stored(Bare()).measure(model())
    found = Stored(Bare()).find(model())
    assert found is not None and math.isnan(found.noise_floor)


WRITER = """
import sys
import numpy as np
from jaxnas.hardware.device import ExportedModel, Measurement
from jaxnas.hardware.measured import Stored
class Toy:
    name = "toy"
    def identity(self): return {"a": "toy 1"}
    def measure(self, model):
        return Measurement("toy", float(sys.argv[1]), 1.2, 1.3, 30, 1, "toy 1")
for i in range(300):
    model = ExportedModel(b"net%d" % (i % 20), np.zeros(3, np.int32), i // 20)
    found = Stored(Toy()).measure(model)
    assert found.latency_ms in (1.0, 2.0), found
"""


def test_processes_share_the_store(cache):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, latency]) for latency in ("1", "2")]
    assert [writer.wait() for writer in writers] == [0, 0]
    (path,) = cache.iterdir()
    assert path.read_bytes().count(b"\n") == 300


def test_a_cache_that_cannot_be_written_is_said_and_measured_without(cache, capsys):
    cache.parent.mkdir()
    cache.write_text("in the way")
    caches._warn.cache_clear()
    for _ in range(2):
        assert Stored(Toy()).measure(model()).latency_ms > 0
    assert capsys.readouterr().err.count("going on without a cache: cannot use") == 1
    assert os.listdir(cache.parent) == ["measurements"]
