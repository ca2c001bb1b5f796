"""Networks shared out among like devices.

In parallel, one at a time each, retried where a device is lost, never mixed.
"""

import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.hardware.device import ExportedModel, Measurement, failed_measurement
from jaxnas.hardware.farm import MAX_ATTEMPTS, MAX_LOSSES, Farm
from jaxnas.hardware.measured import Stored


@dataclass
class Toy:
    """A device that measures a network's number; it is lost in the calls that `lost` names."""

    name: str
    lost: tuple[int, ...] = ()
    processor: str = "abacus"
    threads: int = 1
    runtime: str = "toy 1"
    meet: threading.Barrier | None = None
    seconds: float = 0.0
    done: list[int] = field(default_factory=list)
    busy: int = 0

    def identity(self):
        return {"device": self.name}

    def measure(self, model: ExportedModel) -> Measurement:
        self.busy += 1
        assert self.busy == 1
        try:
            if self.meet:
                self.meet.wait(20)
            time.sleep(self.seconds)
            number = int(model.genome[0])
            self.done.append(number)
            if len(self.done) in self.lost:
                return failed_measurement(
                    self.name, self.threads, "", ConnectionError(f"cannot reach {self.name}")
                )
            if number == 13:
                return failed_measurement(
                    self.name, self.threads, self.runtime, ValueError("no such operator")
                )
            latency = 1.0 + number
            return Measurement(
                self.name,
                latency,
                latency,
                latency,
                20,
                self.threads,
                self.runtime,
                processor=self.processor,
            )
        finally:
            self.busy -= 1


def measure(devices, models):
    return list(Farm(devices).measure(models))


def models(n, start=0):
    return [ExportedModel(b"net%d" % i, np.array([i], np.int32)) for i in range(start, start + n)]


def test_results_are_in_order_and_say_who_measured_them():
    farm = [Toy("a"), Toy("b"), Toy("c")]
    found = measure(farm, models(20, 1))
    assert [one.latency_ms for one in found if not one.failure] == [
        1.0 + i for i in range(1, 21) if i != 13
    ]
    assert found[12].failure == "ValueError: no such operator"
    by_name = {device.name: device.done for device in farm}
    assert all(i in by_name[one.device] for i, one in enumerate(found, 1))
    # Each once, the one that does not run too.
    assert sorted(i for done in by_name.values() for i in done) == list(range(1, 21))


def test_networks_are_made_as_devices_come_free():
    made = []
    found = Farm([Toy("a"), Toy("b")]).measure(
        model for model in models(100, 20) if made.append(model) is None
    )
    for i in range(100):
        assert next(found).latency_ms == 21.0 + i
        assert len(made) <= i + 6
    assert list(found) == []


def test_devices_measure_at_the_same_time():
    meet = threading.Barrier(3)
    found = measure([Toy(name, meet=meet) for name in "abc"], models(3))
    assert {one.device for one in found} == set("abc")


def test_the_network_of_a_lost_device_goes_to_another():
    a = Toy("a", lost=(1,))
    b = Toy("b", seconds=0.02)
    found = measure([a, b], models(12))
    assert [one.latency_ms for one in found] == [1.0 + i for i in range(12)]
    lost = a.done[0]
    assert found[lost].device == "b" and lost in b.done
    assert len(a.done) > 1  # it was given another chance


def test_a_device_that_stays_lost_is_asked_no_more():
    a = Toy("a", lost=tuple(range(1, 99)))
    b = Toy("b", seconds=0.01)
    found = measure([a, b], models(12))
    assert [one.device for one in found] == ["b"] * 12 and not any(one.failure for one in found)
    assert len(a.done) == MAX_LOSSES


def test_losses_that_are_not_in_a_row_are_forgiven():
    a = Toy("a", lost=(1, 3, 5, 7))
    assert not any(one.failure for one in measure([a], models(6)))
    assert len(a.done) == 10


def test_a_network_is_tried_only_so_often():
    farm = [Toy(name, lost=(1,)) for name in "abcde"]
    (found,) = measure(farm, models(1))
    assert found.lost and sum(len(device.done) for device in farm) == MAX_ATTEMPTS
    assert max(len(device.done) for device in farm) == 1  # each time by another


def test_a_farm_without_a_device_left_ends():
    farm = [Toy(name, lost=tuple(range(1, 99))) for name in "ab"]
    found = measure(farm, models(9))
    assert all(one.lost and "\n" not in one.failure for one in found)
    assert "no device of the farm is left" in found[-1].failure
    assert sum(len(device.done) for device in farm) == 2 * MAX_LOSSES


@pytest.mark.parametrize("unlike", [{"processor": "sundial"}, {"threads": 2}, {"runtime": "toy 2"}])
def test_unlike_devices_are_refused(unlike):
    meet = threading.Barrier(2)  # both come to measure
    farm = Farm([Toy("a", meet=meet), Toy("b", meet=meet, **unlike)])
    with pytest.raises(
        UserError,
        match=(
            r"of like devices, got [ab] \(.*\) and [ab] \(.*\): measure each kind in a farm of its "
            r"own"
        ),
    ):
        list(farm.measure(models(2)))


def test_names_must_differ():
    with pytest.raises(UserError, match="of different names, got a, a"):
        Farm([Toy("a"), Toy("a")])
    with pytest.raises(UserError, match=r"one or more devices .*got none"):
        Farm([])


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXNAS_CACHE", str(tmp_path))


def test_what_either_has_measured_is_used_again(cache):
    before = [Toy("a"), Toy("b")]
    first = measure([Stored(device) for device in before], models(8))
    again = [Toy("a"), Toy("b")]
    found = measure([Stored(device) for device in again], models(10))
    assert [(one.device, one.latency_ms, one.reused) for one in found[:8]] == [
        (one.device, one.latency_ms, True) for one in first
    ]
    assert sorted(again[0].done + again[1].done) == [8, 9]


def test_stored_figures_of_an_unlike_device_are_refused_too(cache):
    Stored(Toy("a", processor="sundial")).measure(models(1)[0])
    with pytest.raises(UserError, match="of like devices"):
        measure([Stored(Toy("a")), Stored(Toy("b"))], models(4))


def test_an_error_ends_it_all(cache, monkeypatch):
    def measure_none(toy, model):
        raise UserError("no compiler")

    monkeypatch.setattr(Toy, "measure", measure_none)
    with pytest.raises(UserError, match="no compiler"):
        measure([Stored(Toy("a")), Stored(Toy("b"))], models(6))
