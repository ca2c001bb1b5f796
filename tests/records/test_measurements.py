"""What the device took for networks, written and read as typed lines."""

import math
from dataclasses import replace

import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.hardware.device import Measurement
from jaxnas.records.measurements import (
    MEASURED,
    Asked,
    Measured,
    add_younger_columns,
    append_asked,
    append_measurement,
    by_network,
    read_asked,
    read_measurements,
    write_measurements,
)
from jaxnas.records.run_directory import RunDirectory
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space

SPACE = Space("toy", (Gene("width", (8, 16, 24)), Gene("kernel", (3, 5))))
GOOD = Measurement("toy", 1.0, 1.1, 1.5, 20, 2, "toy 1", clock="2 GHz", simulated=True, p99_ms=2.0)
FAILED = Measurement("toy", math.nan, math.nan, math.nan, 0, 2, "toy 1", "allocator: full")
FIRST, SECOND = (np.array(genome, np.int32) for genome in ([0, 1], [2, 0]))
ROWS = [
    Measured(0, "train", FIRST, GOOD, 10, 20),
    Measured(0, "test", SECOND, FAILED, 30, 40),
    Measured(1, "train", FIRST, replace(GOOD, latency_ms=1.02), 10, 20),
]


@pytest.fixture
def run(tmp_path):
    with RunDirectory(tmp_path / "run") as run:
        for row in ROWS:
            append_measurement(run, row)
        yield run


def same(one, other):
    """Equal in every field; NaN is NaN, and genomes are arrays."""
    return repr(one) == repr(other)


def test_lines_are_read_as_they_were_written(run):
    assert read_asked(run) == []
    assert same(read_measurements(run, SPACE), ROWS)
    asked = Asked(SECOND, FAILED, 30, 40)
    append_asked(run, asked)
    assert same(read_asked(run, SPACE), [asked])
    write_measurements(run, ROWS[:1])
    assert same(read_measurements(run), ROWS[:1])


def test_a_networks_rounds_come_together_and_the_confirmed_one_counts(run):
    first, second = by_network(read_measurements(run))
    assert (first.split, first.macs, first.latencies_ms) == ("train", 10, [1.0, 1.02])
    assert first.latency_ms == 1.0  # which the other round agrees with
    assert second.latencies_ms == [] and math.isnan(second.latency_ms)


def test_a_table_of_an_older_version_opens_and_grows(run):
    lacking = {"noise_floor", "clock", "simulated", "median_ms", "p99_ms", "macs", "params"}
    rows = [
        {name: cell for name, cell in row.items() if name not in lacking}
        for row in run.read_csv(MEASURED)
    ]
    run.write_csv(MEASURED, rows)
    old = read_measurements(run)
    assert (old[0].macs, old[0].measurement.clock, old[0].measurement.simulated) == (0, "", False)
    assert old[0].measurement.latency_ms == 1.0 and math.isnan(old[0].measurement.median_ms)
    run.write_csv(MEASURED, [row | {"macs": 1, "params": 2} for row in rows])
    add_younger_columns(run, MEASURED)
    append_measurement(run, ROWS[2])
    assert same(read_measurements(run)[-1], ROWS[2])


@pytest.mark.parametrize(
    "column, cell",
    [
        ("genome", "0 3"),  # no choice of the space
        ("genome", "0"),
        ("genome", "0 -1"),
        ("split", "val"),
        ("round", "one"),
        ("latency_ms", "0"),
        ("latency_ms", "nan"),
        ("p90_ms", "inf"),
        ("threads", "two"),
        ("macs", "many"),
    ],
)
def test_a_cell_that_no_stage_writes_is_named_in_one_line(run, column, cell):
    rows = run.read_csv(MEASURED)
    run.write_csv(MEASURED, [rows[0] | {column: cell}, *rows[1:]])
    with pytest.raises(UserError, match=r"^corrupt: .*measurements\.csv") as caught:
        read_measurements(run, SPACE)
    assert "\n" not in str(caught.value)


def test_a_failure_has_no_latency(run):
    rows = run.read_csv(MEASURED)
    run.write_csv(MEASURED, [*rows[:1], rows[1] | {"latency_ms": "2.0"}])
    with pytest.raises(UserError, match=r"a failure with the latency 2\.0"):
        read_measurements(run)
