"""verified.csv and answers.npz: the chosen networks, measured and tested."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from jaxnas.records.arrays import check_kinds
from jaxnas.records.reading import reading
from jaxnas.records.run_directory import RunDirectory
from jaxnas.records.values import CELLS, filled

VERIFIED = "verified.csv"
ANSWERS = "answers.npz"


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A chosen network as exported, measured and tested.

    Accuracies are shares of the images. NaN: not measured, or unknown to an older run.
    """

    name: str
    role: str
    macs: float = math.nan
    params: float = math.nan
    predicted_ms: float = math.nan
    search_accuracy: float = math.nan
    finetuned_search_accuracy: float = math.nan
    genome: str = ""
    # Of the precision that the search predicted (`hardware.device.Measurement`).
    device: str
    measured_ms: float
    p10_ms: float = math.nan
    p90_ms: float = math.nan
    repeats: int = 0
    threads: int
    runtime: str
    failure: str = ""
    noise_floor: float = math.nan
    clock: str = ""
    processor: str = ""
    reused: bool = False
    simulated: bool = False
    warning: str = ""
    median_ms: float = math.nan
    p99_ms: float = math.nan
    test_accuracy: float
    test_balanced_accuracy: float = math.nan
    test_commonest_class: float = math.nan
    float32_ms: float = math.nan
    float32_median_ms: float = math.nan
    float32_p99_ms: float = math.nan
    int8_ms: float = math.nan
    int8_median_ms: float = math.nan
    int8_p99_ms: float = math.nan
    int8_test_accuracy: float = math.nan
    int8_test_balanced_accuracy: float = math.nan
    model: str
    int8_model: str = ""
    max_logit_difference: float = math.nan
    top1_agreement: float = math.nan


FILLED = ("name", "role", "device", "runtime", "model")
SHARES = tuple(
    field.name for field in fields(Verified) if field.name.endswith(("_accuracy", "_agreement"))
)


class Answers(NamedTuple):
    """The class that each network gives each test image; -1 where it has no file."""

    names: list[str]
    labels: Int[np.ndarray, "images"]  # the right ones
    float32: Int[np.ndarray, "networks images"]
    int8: Int[np.ndarray, "networks images"]

    def right(self, name: str, precision: str) -> Bool[np.ndarray, "images"] | None:
        """Which images a network answers right; None where its answers are not there."""
        if name not in self.names:
            return None
        answers = self.int8 if precision == "int8" else self.float32
        return answers[self.names.index(name)] == self.labels


KINDS = {"names": "U", "labels": "iu", "float32": "i", "int8": "i"}


def read_verified(run: RunDirectory) -> dict[str, Verified]:
    """The networks by name; those of older runs have fewer figures."""
    rows = run.read_csv(VERIFIED)
    with reading(run, VERIFIED):
        verified = [_read(row) for row in rows]
    return {one.name: one for one in verified}


def write_verified(run: RunDirectory, verified: Sequence[Verified]) -> None:
    """Write all of them."""
    run.write_csv(VERIFIED, [asdict(one) for one in verified])


def _read(row: dict[str, str]) -> Verified:
    for name in FILLED:
        filled(row[name])
    found = Verified(
        **{
            field.name: CELLS[field.type](row[field.name])
            for field in fields(Verified)
            if field.name in row
        }
    )
    for name in SHARES:
        share = getattr(found, name)
        if not (math.isnan(share) or 0 <= share <= 1):
            raise ValueError(f"{name} must be a share, got {share}")
    return found


def read_answers(run: RunDirectory) -> Answers | None:
    """None for older runs, which have none."""
    if not run.exists(ANSWERS):
        return None
    arrays = run.read_npz(ANSWERS)
    with reading(run, ANSWERS):
        check_kinds(arrays, KINDS)
        names, labels, *answers = (arrays[name] for name in KINDS)
        each = (len(names), len(labels))
        right = names.ndim == labels.ndim == 1 and all(one.shape == each for one in answers)
        if not all(each) or not right:
            raise ValueError(f"arrays of shapes {[arrays[name].shape for name in KINDS]}")
        return Answers(names.tolist(), labels, *answers)


def write_answers(run: RunDirectory, answers: Answers) -> None:
    """Write all of them."""
    run.write_npz(ANSWERS, **{**answers._asdict(), "names": np.array(answers.names)})
