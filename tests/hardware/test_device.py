from itertools import count

import numpy as np
import pytest

from jaxnas.hardware import device


@pytest.fixture
def clock(monkeypatch):
    """A clock in ns that only stands still or is moved by the test."""
    now = [0]
    monkeypatch.setattr(device, "perf_counter_ns", lambda: now[0])
    return now


def test_runs_are_timed_one_by_one_after_warm_up(clock):
    number = count()

    def run():
        clock[0] += 9_000_000 if next(number) < 3 else 1_000_000  # the first runs are slow

    times_ms = device.time_runs(run, seconds=0.1)
    np.testing.assert_array_equal(times_ms, np.ones(100))
    assert times_ms.dtype == np.float64


def test_a_slow_network_still_runs_twenty_times(clock):
    def run():
        clock[0] += 50_000_000

    assert device.time_runs(run, seconds=0.1).tolist() == [50.0] * 20


def test_neighbours_leave_the_latency_alone():
    quiet = 1 + 0.01 * np.random.default_rng(0).random(1000)
    busy = quiet * np.where(np.arange(1000) < 900, 1.5, 1)  # slow for nine tenths of the time
    assert device.summarise(busy)[0] == pytest.approx(device.summarise(quiet)[0], rel=0.01)
    assert np.median(busy) > 1.4 * np.median(quiet)  # the statistic that would not do
    latency, p10, p90 = device.summarise(busy)
    assert latency <= p10 <= p90


def test_a_failure_is_one_line():
    measurement = device.failed("toy", 2, "toy 1", ValueError("first\n  second\n"))
    assert measurement.failure == "ValueError: first second"
    assert np.isnan([measurement.latency_ms, measurement.p10_ms, measurement.p90_ms]).all()
    assert (measurement.device, measurement.threads, measurement.runtime, measurement.repeats) == ("toy", 2, "toy 1", 0)
