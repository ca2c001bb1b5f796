"""How well a predictor agrees with measurements."""

import numpy as np
from jaxtyping import Array, Float

Values = Float[Array | np.ndarray, "n"]


def _correlation(statistic: str, measured: Values, predicted: Values) -> float:
    measured = np.asarray(measured, np.float64)
    predicted = np.asarray(predicted, np.float64)
    if len(measured) < 2 or np.ptp(measured) == 0 or np.ptp(predicted) == 0:
        return 0.0
    from scipy import stats  # most of a second of import

    return float(getattr(stats, statistic)(measured, predicted).statistic)


def pearson(measured: Values, predicted: Values) -> float:
    """Linear correlation.

    0 where it is not defined: fewer than two points, or all of one side equal.
    """
    return _correlation("pearsonr", measured, predicted)


def spearman(measured: Values, predicted: Values) -> float:
    """Correlation of the ranks; 0 where it is not defined, as `pearson`."""
    return _correlation("spearmanr", measured, predicted)


def kendall(measured: Values, predicted: Values) -> float:
    """Kendall's tau-b, pairs in the same order against pairs in the opposite.

    0 where it is not defined, as `pearson`.
    """
    return _correlation("kendalltau", measured, predicted)


def within(measured: Values, predicted: Values, share: float = 0.10) -> float:
    """Share of the predictions that are at most `share` of the measured value away from it.

    0 without points.

    >>> within(np.array([1.0, 2.0, 4.0, 8.0]), np.array([1.05, 1.95, 3.0, 8.0]))
    0.75
    """
    if len(measured) == 0:
        return 0.0
    return float(np.mean(np.abs(np.asarray(predicted) - measured) <= share * np.abs(measured)))


def coverage(measured: Values, low: Values, high: Values) -> float:
    """Share of the measured values that lie within their intervals, ends included.

    0 without points.

    >>> low, high = np.array([1.0, 2.5, 3.0, 7.0]), np.array([2.0, 3.0, 5.0, 7.5])
    >>> coverage(np.array([1.0, 2.0, 4.0, 8.0]), low, high)
    0.5
    """
    if len(measured) == 0:
        return 0.0
    return float(np.mean((np.asarray(low) <= measured) & (measured <= np.asarray(high))))


def summary(measured: Values, predicted: Values) -> dict[str, float]:
    """All of the above by name, and `count`, the number of points."""
    return {
        "pearson": pearson(measured, predicted),
        "spearman": spearman(measured, predicted),
        "kendall": kendall(measured, predicted),
        "within_10_percent": within(measured, predicted),
        "count": len(measured),
    }
