"""Fit the latency predictor to the measurements."""

import jax.numpy as jnp
import numpy as np

from jaxnas.errors import UserError
from jaxnas.predictors import mlp
from jaxnas.predictors.ensemble import interval_factor
from jaxnas.predictors.metrics import coverage, summary
from jaxnas.progress import log
from jaxnas.records.files import made_by
from jaxnas.records.measurements import Profiled, by_network, read_measurements
from jaxnas.records.predictor import (
    Predicted,
    write_predictions,
    write_predictor,
    write_quality,
)
from jaxnas.records.reading import SPLITS
from jaxnas.spaces.encodings import gene_values
from jaxnas.stages.job import Job
from jaxnas.stages.plan import unmeasured

# Of the intervals, which the errors on the validation networks set; the test networks say whether
# it holds.
COVERAGE = 0.9
# On test: below it the predictor explains less than a quarter of the variance (0.5 squared).
LEAST_PEARSON = 0.5


def run_predict(job: Job) -> bool:
    """Write predictor.npz, and how good it is: predictions.csv and predictor.json.

    False if they are there.
    """
    run = job.run
    fit = job.config.predict
    if all(map(run.exists, made_by("predict"))):
        return False
    if unmeasured(job)[0]:
        raise UserError(
            f"measurements.csv in {run.root} is not complete: run `jaxnas profile` first"
        )
    networks = [
        one for one in by_network(read_measurements(run, job.space)) if not np.isnan(one.latency_ms)
    ]
    rows = {split: [one for one in networks if one.split == split] for split in SPLITS}
    if min(map(len, rows.values())) < 2:
        advice = "mend what its column failure says, delete the file and run `jaxnas profile` again"
        raise UserError(
            f"measurements.csv in {run.root} needs 2 networks per split that were measured: "
            f"{advice}"
        )
    features = {
        split: gene_values(job.space, jnp.asarray(np.array([one.genome for one in rows[split]])))
        for split in SPLITS
    }
    measured = {
        split: np.array([one.latency_ms for one in rows[split]], np.float32) for split in SPLITS
    }
    train, validation = ((features[split], measured[split]) for split in ("train", "validation"))
    model = mlp.fit(
        job.key("predict"), *train, *validation, fit.steps, fit.learning_rate, fit.weight_decay
    )
    predicted = {split: np.asarray(mlp.predict(model, features[split])) for split in SPLITS}
    if not all(np.isfinite(one).all() for one in [*predicted.values(), *model]):
        raise UserError(
            "the predictor's training diverged, its latencies are not finite: lower "
            f"predict.learning_rate ({fit.learning_rate:g}) or predict.weight_decay "
            f"({fit.weight_decay:g})"
        )
    write_predictor(run, model)
    factor = interval_factor(measured["validation"], predicted["validation"], COVERAGE)
    compared = [
        row
        for split in SPLITS
        for row in _compared(split, rows[split], measured[split], predicted[split], factor)
    ]
    write_predictions(run, compared)
    quality = {split: _quality(measured[split], predicted[split], factor) for split in SPLITS}
    write_quality(run, quality)
    figures = quality["test"]
    log(
        f"predict: Pearson {figures['pearson']:.3f} on test, {figures['within_10_percent']:.0%} of "
        "it within 10 % of the measurement"
    )
    if figures["pearson"] < LEAST_PEARSON:
        log(_weak(figures, run.path("measurements.csv")))
    return True


def _weak(figures: dict[str, float], file: object) -> str:
    """What a predictor means whose search would not know fast networks from slow ones."""
    return (
        f"predict: WARNING: on the {figures['count']} test networks measured and predicted latency "
        f"agree with a Pearson correlation of only {figures['pearson']:.2f}; below {LEAST_PEARSON} "
        "the predictor explains less than a quarter of the variance, and the search goes by it. "
        f"Look at {file}: a busy device wants more profile.rounds or profile.seconds, few networks "
        "more profile.train; networks that all take as long leave nothing to predict"
    )


def _quality(measured, predicted, factor: float) -> dict[str, float]:
    return {
        **summary(measured, predicted),
        "within_interval": coverage(measured, predicted / factor, predicted * factor),
    }


def _compared(
    split: str, rows: list[Profiled], measured, predicted, factor: float
) -> list[Predicted]:
    return [
        Predicted(split, one.genome, float(m), float(p), float(p / factor), float(p * factor))
        for one, m, p in zip(rows, measured, predicted, strict=True)
    ]
