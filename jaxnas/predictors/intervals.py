"""How far off a prediction may be: the model's own intervals, or those of its validation errors."""

import math
from collections.abc import Callable

import numpy as np

from jaxnas.predictors.predictor import Choices, IntervalModel, Latencies, Model, Prediction


def with_intervals(
    model: Model, genomes: Choices, measured_ms: Latencies, coverage: float = 0.9
) -> Callable[[Choices], Prediction]:
    """What predicts latencies with intervals, as NumPy arrays.

    The intervals are the model's own where it has some. Else they follow from its errors on the
    validation networks given here (`interval_factor`).
    """
    if isinstance(model, IntervalModel):
        return lambda genomes: Prediction(*map(np.asarray, model.predict(genomes)))
    factor = interval_factor(measured_ms, np.asarray(model(genomes)), coverage)

    def predict(genomes: Choices) -> Prediction:
        mean = np.asarray(model(genomes))
        return Prediction(mean, mean / factor, mean * factor)

    return predict


def interval_factor(
    measured_ms: Latencies, predicted_ms: Latencies, coverage: float = 0.9
) -> float:
    """Split conformal: a fresh measurement is between the prediction over this factor and times it.

    With probability `coverage`.

    From networks that the predictor has not learnt from; infinite if they are fewer than the
    coverage needs (9 for 0.9).

    >>> round(interval_factor(np.array([1.0, 2.0, 3.0]), np.array([1.1, 2.0, 3.0]), 0.75), 6)
    1.1
    """
    ratios = np.sort(
        np.abs(np.log(np.asarray(predicted_ms, np.float64) / np.asarray(measured_ms, np.float64)))
    )
    place = math.ceil(coverage * (len(ratios) + 1) - 1e-9) - 1
    return float(np.exp(ratios[place])) if place < len(ratios) else math.inf
