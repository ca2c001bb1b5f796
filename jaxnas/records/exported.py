"""exported.csv: the files of the chosen networks, and the proof of each."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from jaxnas.records.reading import reading
from jaxnas.records.run_directory import RunDirectory
from jaxnas.records.values import cell, filled

EXPORTED = "exported.csv"


@dataclass(frozen=True)
class Exported:
    """The ONNX files of a network, by their names in the run."""

    name: str
    model: str
    int8_model: str = ""  # empty where the target takes none
    max_logit_difference: float = math.nan  # to JAX
    top1_agreement: float = math.nan


def read_exported(run: RunDirectory, names: Sequence[str] = ()) -> dict[str, Exported]:
    """The rows by name; there must be one for each of `names`."""
    rows = run.read_csv(EXPORTED)
    with reading(run, EXPORTED):
        exported = [
            Exported(
                filled(row["name"]),
                filled(row["model"]),
                row["int8_model"],
                cell(row["max_logit_difference"]),
                cell(row["top1_agreement"]),
            )
            for row in rows
        ]
        found = {one.name: one for one in exported}
        if missing := [name for name in names if name not in found]:
            raise ValueError(f"no row of {missing[0]}")
    return found


def write_exported(run: RunDirectory, exported: Sequence[Exported]) -> None:
    """Write all of them."""
    run.write_csv(EXPORTED, [asdict(one) for one in exported])
