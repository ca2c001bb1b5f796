"""Fit the latency predictor to the measurements."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from jaxnas.config import PredictConfig, make_predictor
from jaxnas.errors import UserError
from jaxnas.predictors.intervals import with_intervals
from jaxnas.predictors.metrics import coverage, summary
from jaxnas.predictors.predictor import Model, Prediction
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
from jaxnas.stages.job import Job
from jaxnas.stages.plan import unmeasured

# Of the intervals, which the errors on the validation networks set unless the predictor has its
# own; the test networks say whether it holds.
COVERAGE = 0.9
# On test: below it the predictor explains less than a quarter of the variance (0.5 squared).
LEAST_PEARSON = 0.5


class Networks(NamedTuple):
    """The networks of a split that could be measured."""

    genomes: Int[np.ndarray, "n genes"]
    latency_ms: Float[np.ndarray, "n"]


def run_predict(job: Job) -> bool:
    """Write predictor.npz, and how good it is: predictions.csv and predictor.json.

    False if they are there.
    """
    run = job.run
    if all(map(run.exists, made_by("predict"))):
        return False
    networks = measured_networks(job)
    model = fit_predictor(job, networks)
    predict = with_intervals(model, *networks["validation"], COVERAGE)
    predictions = {split: predict(networks[split].genomes) for split in SPLITS}
    quality = {split: _quality(networks[split].latency_ms, predictions[split]) for split in SPLITS}
    write_predictor(run, model)
    write_predictions(
        run,
        [row for split in SPLITS for row in _compared(split, networks[split], predictions[split])],
    )
    write_quality(run, quality)
    _report(job, quality["test"])
    return True


def measured_networks(job: Job) -> dict[str, Networks]:
    """By split; a `UserError` where the profile is not complete, or too much of it failed."""
    run = job.run
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
    return {split: _networks(some) for split, some in rows.items()}


def _networks(rows: list[Profiled]) -> Networks:
    return Networks(
        np.array([one.genome for one in rows]),
        np.array([one.latency_ms for one in rows], np.float32),
    )


def fit_predictor(job: Job, networks: dict[str, Networks]) -> Model:
    """The model of the train and validation networks."""
    settings = job.config.predict
    used = [networks["train"], networks["validation"]]
    genomes, latency_ms = map(np.concatenate, zip(*used, strict=True))
    validation = np.arange(len(genomes)) >= len(networks["train"].genomes)
    predictor = make_predictor(settings)
    model = predictor.fit(job.key("predict"), job.space, genomes, latency_ms, validation)
    _check_traceable(settings, model, genomes)
    _check_finite(settings, model, networks)
    return model


def _check_traceable(settings: PredictConfig, model: Model, genomes: np.ndarray) -> None:
    """Refuses a user's own model that no compiled search could call, before it is searched with."""
    try:
        said = jax.eval_shape(lambda model, genomes: model(genomes), model, genomes)
    except (TypeError, jax.errors.JAXTypeError) as error:
        raise UserError(
            f"predict.method {settings.method} must fit a pytree of arrays that computes with "
            f"jax.numpy, got {type(model).__name__} ({str(error).splitlines()[0]}): see "
            "predictors/predictor.py"
        ) from error
    if not isinstance(model, Model) or said.shape != genomes.shape[:1]:
        raise UserError(
            f"predict.method {settings.method} must fit a model with arrays() that gives a latency "
            f"of each genome, got {type(model).__name__}: see predictors/predictor.py"
        )


def _check_finite(settings: PredictConfig, model: Model, networks: dict[str, Networks]) -> None:
    """Refuses a model that was not learnt: no search could go by it, and no report show it."""
    said = [np.asarray(model(networks[split].genomes)) for split in SPLITS]
    whole = all(np.isfinite(array).all() for array in [*said, *model.arrays().values()])
    if not whole or min(one.min() for one in said) <= 0:
        raise UserError(
            "the predictor's training diverged, its latencies are not finite and above 0 ms: lower "
            f"predict.learning_rate ({settings.learning_rate:g}) or predict.weight_decay "
            f"({settings.weight_decay:g}), or choose another predict.method"
        )


def _report(job: Job, figures: dict[str, float]) -> None:
    log(
        f"predict: Pearson {figures['pearson']:.3f} on test, {figures['within_10_percent']:.0%} of "
        "it within 10 % of the measurement"
    )
    if figures["pearson"] < LEAST_PEARSON:
        log(_weak(figures, job.run.path("measurements.csv")))


def _weak(figures: dict[str, float], file: object) -> str:
    """What a predictor means whose search would not know fast networks from slow ones."""
    return (
        f"predict: WARNING: on the {figures['count']} test networks measured and predicted latency "
        f"agree with a Pearson correlation of only {figures['pearson']:.2f}; below {LEAST_PEARSON} "
        "the predictor explains less than a quarter of the variance, and the search goes by it. "
        f"Look at {file}: a busy device wants more profile.rounds or profile.seconds, few networks "
        "more profile.train; networks that all take as long leave nothing to predict"
    )


def _quality(measured: Float[np.ndarray, "n"], predicted: Prediction) -> dict[str, float]:
    return {
        **summary(measured, predicted.mean_ms),
        "within_interval": coverage(measured, predicted.low_ms, predicted.high_ms),
    }


def _compared(split: str, networks: Networks, predicted: Prediction) -> list[Predicted]:
    return [
        Predicted(split, genome, *map(float, figures))
        for genome, *figures in zip(*networks, *predicted, strict=True)
    ]
