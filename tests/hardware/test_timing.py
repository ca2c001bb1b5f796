from itertools import count

import numpy as np
import pytest

from jaxnas.hardware import timing
from jaxnas.hardware.device import failed_measurement


@pytest.fixture
def clock(monkeypatch):
    """A clock in ns that only stands still or is moved by the test."""
    now = [0]
    monkeypatch.setattr(timing, "perf_counter_ns", lambda: now[0])
    return now


def test_runs_are_timed_one_by_one_after_warm_up(clock):
    number = count()

    def run():
        clock[0] += 9_000_000 if next(number) < 3 else 1_000_000  # the first runs are slow

    times_ms = timing.time_runs(run, seconds=0.1)
    np.testing.assert_array_equal(times_ms, np.ones(100))
    assert times_ms.dtype == np.float64


def test_a_slow_network_still_runs_twenty_times(clock):
    def run():
        clock[0] += 50_000_000

    assert timing.time_runs(run, seconds=0.1).tolist() == [50.0] * 20


def test_neighbours_leave_the_latency_alone():
    quiet = 1 + 0.01 * np.random.default_rng(0).random(1000)
    busy = quiet * np.where(np.arange(1000) < 900, 1.5, 1)  # slow for nine tenths of the time
    assert timing.summarise(busy).latency_ms == pytest.approx(
        timing.summarise(quiet).latency_ms, rel=0.01
    )
    # The statistic that would not do.
    assert timing.summarise(busy).median_ms == np.median(busy) > 1.4 * np.median(quiet)
    assert list(timing.summarise(busy)) == sorted(timing.summarise(busy))


def test_the_99_percent_quantile_is_a_run_and_of_few_runs_the_slowest():
    assert timing.summarise(np.arange(1.0, 1001)).p99_ms == 990
    assert timing.summarise(np.arange(1.0, 101)).p99_ms == 99
    assert timing.summarise(np.array([1.0] * 98 + [50.0])).p99_ms == 50


def test_a_failure_is_one_line():
    measurement = failed_measurement("toy", 2, "toy 1", ValueError("first\n  second\n"))
    assert measurement.failure == "ValueError: first second"
    assert np.isnan([getattr(measurement, name) for name in timing.Summary._fields]).all()
    assert (measurement.device, measurement.threads, measurement.runtime, measurement.repeats) == (
        "toy",
        2,
        "toy 1",
        0,
    )
    assert (
        not measurement.lost and failed_measurement("toy", 2, "toy 1", ConnectionError("gone")).lost
    )


def half_and_half(first, second):
    return np.repeat([first, second], 50)


def test_the_noise_floor_sees_a_slow_phase_and_a_single_fast_run_but_no_neighbours():
    assert (
        timing.noise_floor(half_and_half(2.0, 3.0))
        == timing.noise_floor(half_and_half(3.0, 2.0))
        == 0.5
    )
    lone = np.full(100, 2.0)
    lone[70] = 1.0
    assert timing.noise_floor(lone) == 1.0
    assert timing.noise_floor(np.where(np.arange(100) % 10 == 0, 2.0, 90.0)) == 0.0


def measured(*passes):
    """What the measurements, one after the other, come to; and how many of them were made."""
    made = iter(passes)
    measurement = timing.measurement_of("toy", 2, "toy 1", lambda: next(made))
    return measurement, len(passes) - len(list(made))


def test_a_noisy_measurement_is_made_again():
    noisy = half_and_half(1.0, 1.5)
    quiet = half_and_half(10.0, 11.0)
    measurement, made = measured(noisy, noisy, quiet, noisy)
    assert made == 3
    assert (measurement.latency_ms, measurement.repeats, measurement.failure) == (10.0, 100, "")
    assert (measurement.p10_ms, measurement.median_ms, measurement.p90_ms, measurement.p99_ms) == (
        10.0,
        10.5,
        11.0,
        11.0,
    )
    assert measurement.noise_floor == 0.1  # the bound itself is good enough
    assert measured(quiet)[1] == 1


def test_a_machine_that_stays_noisy_gets_no_figure():
    measurement, made = measured(
        *(half_and_half(1.0, 1 + noise) for noise in (0.5, 0.25, 0.75, 0.3, 0.4, 0.0))
    )
    assert made == timing.MAX_ATTEMPTS == 5
    assert (
        np.isnan([measurement.latency_ms, measurement.p10_ms, measurement.p90_ms]).all()
        and measurement.repeats == 0
    )
    assert measurement.failure.startswith(
        "TooNoisy: two halves of a measurement differ by 25% at best of 5, the bound is 10%"
    )
    assert (
        "stop what else runs there" in measurement.failure
        and measurement.noise_floor == 0.25
        and not measurement.lost
    )
