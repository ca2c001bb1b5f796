"""measurements.csv and asked.csv: what the device took for networks, a line a measurement."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Int32

from jaxnas.hardware.device import Measurement
from jaxnas.profiling.rounds import confirmed
from jaxnas.records.reading import reading
from jaxnas.records.run_directory import RunDirectory
from jaxnas.records.values import CELLS, above_0, split
from jaxnas.spaces.genomes import check_genomes, from_text, key_of, to_text
from jaxnas.spaces.space import Space

MEASURED = "measurements.csv"
ASKED = "asked.csv"
Genome = Int32[np.ndarray, "genes"]


@dataclass(frozen=True)
class Measured:
    """One measurement of one network, a line of measurements.csv."""

    turn: int  # 0 for a network's first measurement
    split: str  # of the latency predictor
    genome: Genome
    measurement: Measurement
    macs: int = 0  # 0 where an older run does not say
    params: int = 0


@dataclass(frozen=True)
class Asked:
    """One network that a search has sent to the device, a line of asked.csv."""

    genome: Genome
    measurement: Measurement
    macs: int = 0
    params: int = 0


@dataclass(frozen=True)
class Profiled:
    """A network and all its measurements, in order."""

    genome: Genome
    split: str
    macs: int
    rounds: tuple[Measurement, ...]

    @property
    def latencies_ms(self) -> list[float]:
        """Of the rounds that did not fail."""
        return [one.latency_ms for one in self.rounds if not one.failure]

    @property
    def latency_ms(self) -> float:
        """Of the round that counts; NaN if all failed."""
        latencies_ms = self.latencies_ms
        return latencies_ms[confirmed(latencies_ms)] if latencies_ms else math.nan


def read_measurements(run: RunDirectory, space: Space | None = None) -> list[Measured]:
    """The lines of measurements.csv, none where there is no such file.

    With a `space`, all must be of its networks.
    """
    with reading(run, MEASURED):
        return [
            Measured(int(row["round"]), split(row["split"]), *_measured(row, space))
            for row in _rows(run, MEASURED)
        ]


def read_asked(run: RunDirectory, space: Space | None = None) -> list[Asked]:
    """The lines of asked.csv, none where there is no such file."""
    with reading(run, ASKED):
        return [Asked(*_measured(row, space)) for row in _rows(run, ASKED)]


def by_network(rows: Iterable[Measured]) -> list[Profiled]:
    """The networks in the order in which they were first measured."""
    networks: dict[bytes, list[Measured]] = {}
    for row in rows:
        networks.setdefault(key_of(row.genome), []).append(row)
    return [
        Profiled(
            some[0].genome, some[0].split, some[0].macs, tuple(row.measurement for row in some)
        )
        for some in networks.values()
    ]


def write_measurements(run: RunDirectory, rows: Sequence[Measured]) -> None:
    """Write all of measurements.csv anew."""
    run.write_csv(MEASURED, [_row(row) for row in rows])


def append_measurement(run: RunDirectory, row: Measured) -> None:
    """Add a line to measurements.csv."""
    run.append_csv(MEASURED, _row(row))


def append_asked(run: RunDirectory, row: Asked) -> None:
    """Add a line to asked.csv."""
    run.append_csv(ASKED, _cells(row))


def add_younger_columns(run: RunDirectory, file: str) -> None:
    """Give a table that an older version began the columns that it lacks, so that it can grow.

    Cells of lines that are there get the default of the field: NaN for a figure.
    """
    rows = run.read_csv(file) if run.exists(file) else []
    younger = {
        field.name: field.default for field in fields(Measurement) if field.default is not MISSING
    }
    missing = {name: value for name, value in younger.items() if rows and name not in rows[0]}
    if missing:
        run.write_csv(file, [row | missing for row in rows])


def _row(row: Measured) -> dict[str, Any]:
    return {"round": row.turn, "split": row.split, **_cells(row)}


def _cells(row: Measured | Asked) -> dict[str, Any]:
    costs = {"macs": row.macs, "params": row.params}
    return {"genome": to_text(row.genome), **asdict(row.measurement), **costs}


def _rows(run: RunDirectory, file: str) -> list[dict[str, str]]:
    return run.read_csv(file) if run.exists(file) else []


def _measured(row: Mapping[str, str], space: Space | None) -> tuple[Genome, Measurement, int, int]:
    """What both tables say of a network: its genome, the measurement, MACs and parameters."""
    genome = from_text(row["genome"])
    if space is not None:
        check_genomes(space, genome[None])
    return genome, _measurement(row), int(row.get("macs", 0)), int(row.get("params", 0))


def _measurement(row: Mapping[str, str]) -> Measurement:
    """Refuses one that is neither a failure nor a latency."""
    values = {
        field.name: CELLS[field.type](row[field.name])
        for field in fields(Measurement)
        if field.name in row
    }
    if not row["failure"]:
        for name in ("latency_ms", "p10_ms", "p90_ms"):
            above_0(row[name])
    elif math.isfinite(values["latency_ms"]):
        raise ValueError(f"a failure with the latency {row['latency_ms']}")
    return Measurement(**values)
