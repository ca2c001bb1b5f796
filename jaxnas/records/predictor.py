"""predictor.npz, predictions.csv and predictor.json: the latency predictor, and how good it is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Int32

from jaxnas.predictors.predictor import Model, Predictor
from jaxnas.records.line_files import corrupt
from jaxnas.records.reading import SPLITS, reading
from jaxnas.records.run_directory import RunDirectory
from jaxnas.records.values import above_0, named, number, split
from jaxnas.spaces.genomes import from_text, to_text
from jaxnas.spaces.space import Space

PREDICTOR = "predictor.npz"
PREDICTIONS = "predictions.csv"
QUALITY = "predictor.json"
FIGURES = ("pearson", "spearman", "kendall", "within_10_percent")


@dataclass(frozen=True)
class Predicted:
    """A network that was measured, and what the predictor says of it."""

    split: str
    genome: Int32[np.ndarray, "genes"]
    measured_ms: float
    predicted_ms: float
    low_ms: float = math.nan  # of the interval, which may be without end; NaN in older runs
    high_ms: float = math.nan


def read_predictor(run: RunDirectory, space: Space, predictor: Predictor) -> Model:
    """The model that this predictor has fitted; one of another space or predictor is refused."""
    with reading(run, PREDICTOR):
        return predictor.from_arrays(space, run.read_npz(PREDICTOR))


def write_predictor(run: RunDirectory, model: Model) -> None:
    """Write the fitted model."""
    run.write_npz(PREDICTOR, **{name: np.asarray(part) for name, part in model.arrays().items()})


def read_predictions(run: RunDirectory) -> list[Predicted]:
    """What was measured and predicted, of networks of each split."""
    rows = run.read_csv(PREDICTIONS)
    if not rows:
        raise corrupt(run.path(PREDICTIONS), "no row in ")
    with reading(run, PREDICTIONS):
        return [
            Predicted(
                split(row["split"]),
                from_text(row["genome"]),
                above_0(row["measured_ms"]),
                above_0(row["predicted_ms"]),
                float(row.get("low_ms", "nan")),
                float(row.get("high_ms", "nan")),
            )
            for row in rows
        ]


def write_predictions(run: RunDirectory, predictions: Sequence[Predicted]) -> None:
    """Write all of them."""
    run.write_csv(
        PREDICTIONS, [asdict(one) | {"genome": to_text(one.genome)} for one in predictions]
    )


def read_quality(run: RunDirectory) -> dict[str, dict[str, Any]]:
    """Figures of the predictor by split, None where one is not defined."""
    with reading(run, QUALITY):
        quality = named(run.read_json(QUALITY))
        for part in SPLITS:
            number(named(quality[part]), "count")
            for name in FIGURES:
                if quality[part][name] is not None:
                    number(quality[part], name)
    return {part: quality[part] for part in SPLITS}


def write_quality(run: RunDirectory, quality: Mapping[str, Mapping[str, float]]) -> None:
    """Write the figures by split."""
    run.write_json(QUALITY, quality)
