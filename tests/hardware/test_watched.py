"""What the equipment does is no network's failure."""

import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.hardware import watched
from jaxnas.hardware.device import ExportedModel, Identified, Measurement, failed_measurement
from jaxnas.hardware.failures import DeviceError, describe, is_ambiguous, is_equipment
from jaxnas.hardware.measured import Stored
from jaxnas.hardware.watched import MAX_AMBIGUOUS, MAX_ATTEMPTS, Undecided, Watched

LOST = DeviceError("version: driver and library differ")
HANGS = DeviceError("timeout: it did not end")
OWN = ValueError("no such operator")


class Toy:
    """Answers each network with what the test says, in turn; None is a good run."""

    name = "toy"

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def identity(self):
        return {"toy": 1}

    def measure(self, model):
        self.asked.append(bytes(model.model).decode())
        answer = self.answers.pop(0) if self.answers else None
        return (
            failed_measurement("toy", 1, "toy 1", answer)
            if answer
            else Measurement("toy", 1.0, 1.0, 1.0, 20, 1, "toy 1")
        )


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(watched, "PAUSE_S", 0.0)


def model(name):
    return ExportedModel(name.encode(), np.zeros(1, np.int32))


def test_a_network_that_fails_by_itself_is_a_result():
    toy = Toy(OWN)
    assert Watched(toy).measure(model("a")).failure == "ValueError: no such operator"
    assert toy.asked == ["a"]


class Senseless(Toy):
    """Where the test says a number, that is the latency."""

    def measure(self, model):
        latency_ms = self.answers.pop(0) if self.answers else 1.0
        return Measurement("toy", latency_ms, 1.0, 1.0, 20, 1, "toy 1")


@pytest.mark.parametrize("latency_ms", [np.nan, np.inf, -1.0, 0.0])
def test_a_latency_that_is_none_is_no_measurement(latency_ms):
    device = Watched(Senseless(1.0, latency_ms))
    assert device.measure(model("a")).latency_ms == 1.0
    found = device.measure(model("b"))
    assert found.failure == f"answer: a latency of {latency_ms} ms" and np.isnan(found.latency_ms)
    with pytest.raises(UserError, match="does not run any more what it ran before"):
        Watched(Senseless(latency_ms, latency_ms), lambda: model("a")).measure(model("b"))


def test_a_device_that_comes_back_has_lost_nothing():
    toy = Toy(LOST, ConnectionError("gone"))
    assert Watched(toy).measure(model("a")).failure == ""
    assert toy.asked == ["a"] * 3


def test_a_device_that_stays_away_ends_the_run():
    toy = Toy(*[LOST] * 9)
    with pytest.raises(
        UserError,
        match=(
            r"the device toy is lost, at 3 attempts \(version: driver "
            r".*run the same command again"
        ),
    ) as error:
        Watched(toy).measure(model("a"))
    assert toy.asked == ["a"] * MAX_ATTEMPTS and "\n" not in str(error.value)


def test_a_network_that_hangs_on_a_device_that_runs_others_has_failed():
    toy = Toy(None, HANGS, None)
    device = Watched(toy)
    assert [device.measure(model(name)).failure for name in "ab"] == ["", "timeout: it did not end"]
    assert toy.asked == ["a", "b", "a"]


@pytest.mark.parametrize("after", [HANGS, LOST, OWN])
def test_a_device_that_hangs_for_all_ends_the_run(after):
    device = Watched(Toy(None, HANGS, *[after] * MAX_ATTEMPTS))
    device.measure(model("a"))
    with pytest.raises(
        UserError, match=r"the device toy (does not run any more what it ran before|is lost)"
    ):
        device.measure(model("b"))


def test_a_network_that_ran_earlier_tells_as_well():
    toy = Toy(HANGS, None)
    assert (
        Watched(toy, lambda: model("before")).measure(model("a")).failure
        == "timeout: it did not end"
    )
    assert toy.asked == ["a", "before"]


def test_before_any_has_run_nothing_is_decided():
    device = Watched(Toy(HANGS, OWN, HANGS, HANGS))
    for name, failure in (("a", ""), ("b", "ValueError: no such operator"), ("c", ""), ("d", "")):
        if failure:
            assert device.measure(model(name)).failure == failure
            continue
        with pytest.raises(UserError) as error:
            device.measure(model(name))
        assert isinstance(error.value, Undecided) == (name != "d")
    assert f"has not run any of {MAX_AMBIGUOUS} networks" in str(error.value)


def test_what_tells_is_run_and_not_looked_up(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXNAS_CACHE", str(tmp_path))
    toy = Toy(None, HANGS, None)
    device = Stored(Watched(toy))
    assert isinstance(Watched(toy), Identified)
    for name in "ab":
        device.measure(model(name))
    assert toy.asked == ["a", "b", "a"] and device.measure(model("a")).reused


@pytest.mark.parametrize(
    ("error", "equipment", "ambiguous"),
    [
        (ConnectionError("x"), True, False),
        (BrokenPipeError("x"), True, False),
        (TimeoutError("x"), False, True),
        (FileNotFoundError("x"), False, True),
        (MemoryError("x"), False, True),
        (ValueError("x"), False, False),
        (DeviceError("no device: x"), True, False),
        (DeviceError("missing SDK: x"), True, False),
        (DeviceError("crash: x"), False, True),
        (DeviceError("firmware: x"), False, True),
        (DeviceError("allocator: x"), False, False),
        (DeviceError("print: x"), False, False),
    ],
)
def test_whose_failure_it_is(error, equipment, ambiguous):
    assert (is_equipment(describe(error)), is_ambiguous(describe(error))) == (equipment, ambiguous)
