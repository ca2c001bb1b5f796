"""Active search: measure the candidates whose predictions leave open which are best, search again.

Joins a search, a predictor and a measuring function; knows no network.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Int32

from jaxnas.algorithms import pareto
from jaxnas.errors import UserError
from jaxnas.predictors.ensemble import Ensemble
from jaxnas.predictors.predictor import IntervalModel, Model, Prediction
from jaxnas.spaces.genomes import distinct
from jaxnas.spaces.space import Space
from jaxnas.types import PRNGKey

Rows = Int32[np.ndarray, "n genes"]
Values = Float[np.ndarray, "n"]


class Found(NamedTuple):
    """Every candidate of the last search and every measured network, each once."""

    genomes: Rows
    error: Values  # the other objective, known exactly; NaN = failed
    predicted: Prediction  # by the last predictor
    measured_ms: Values  # NaN where not measured
    measured: Bool[np.ndarray, "n"]
    rounds: int  # predictors fitted
    undecided: int  # candidates whose place the last predictor leaves open

    def latency_ms(self) -> Values:
        """As measured, where measured; a network that failed on the device has NaN."""
        return np.where(self.measured, self.measured_ms, np.asarray(self.predicted.mean_ms))

    def front(self) -> Bool[np.ndarray, "n"]:
        """The answer: error against `latency_ms`."""
        return _front(self.error, self.latency_ms())

    def predicted_front(self) -> Bool[np.ndarray, "n"]:
        """The front as the predictor alone has it."""
        return _front(self.error, np.asarray(self.predicted.mean_ms))

    def measured_front(self) -> Bool[np.ndarray, "n"]:
        """The front of what was measured."""
        return _front(self.error, np.where(self.measured, self.measured_ms, np.nan))


def active_search(
    key: PRNGKey,
    space: Space,
    predictor: Ensemble,
    start: Int[Array | np.ndarray, "m genes"],
    search: Callable[[PRNGKey, Model], Int[Array | np.ndarray, "n genes"]],
    evaluate: Callable[[Rows], Values],
    measure: Callable[[Rows], Values],
    budget: int,
    batch: int,
) -> Found:
    """Measure `start`; then, round by round, fit, search, and measure up to `batch` candidates.

    Those are candidates whose predicted interval leaves open whether they are on the front.
    `search` returns the genomes that a search under a predictor has come across; `evaluate` their
    other objective, `measure` ms on the device, NaN for a failure. The search ends when `budget`
    networks are measured or no candidate is undecided. No network is measured twice. The last fit
    and search use all measurements.

    Raises:
        UserError: the budget does not cover the start, or fewer than two networks could be
            measured.
    """
    known = distinct(space, np.asarray(start, np.int32))
    if not 2 <= len(known) <= budget or batch < 1:
        raise UserError(
            f"an active search starts from 2 to {budget} different networks, its budget, and "
            f"measures 1 or more at a time, got {len(known)} and {batch}"
        )
    fit_key, search_key = jax.random.split(key)
    latency = np.asarray(measure(known), np.float32)
    for turn in range(budget):
        good = np.isfinite(latency)
        if good.sum() < 2:
            raise UserError(
                f"only {good.sum()} of {len(known)} networks could be measured: mend the device "
                "and start again"
            )
        model = predictor.fit(jax.random.fold_in(fit_key, turn), space, known[good], latency[good])
        candidates = np.asarray(search(jax.random.fold_in(search_key, turn), model), np.int32)
        found = _joined(space, known, latency, candidates, evaluate, model, turn + 1)
        chosen = _to_measure(found, min(batch, budget - len(known)))
        if not len(chosen):
            return found
        known = np.concatenate([known, chosen])
        latency = np.concatenate([latency, np.asarray(measure(chosen), np.float32)])
    raise AssertionError("every turn measures a network, or is the last")


def possible_front(error: Values, low_ms: Values, high_ms: Values) -> Bool[np.ndarray, "n"]:
    """Which candidates may be on the front.

    No candidate that is at least as good is certainly faster, its interval below theirs.

    >>> possible_front(
    ...     np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 0.5]), np.array([1.5, 3.0, 4.0])
    ... ).tolist()
    [True, False, True]
    """
    error = np.where(np.isnan(error), np.inf, error)
    order = np.argsort(error, kind="stable")
    fastest = np.minimum.accumulate(high_ms[order])
    last = np.searchsorted(error[order], error, side="right") - 1
    return (fastest[last] >= low_ms) & np.isfinite(error)


def undecided(error: Values, low_ms: Values, high_ms: Values) -> Bool[np.ndarray, "n"]:
    """Which candidates may be on the front and overlap another such: either may be the faster."""
    possible = np.flatnonzero(possible_front(error, low_ms, high_ms))
    low = low_ms[possible]
    high = high_ms[possible]
    overlaps = ((low[:, None] <= high) & (low <= high[:, None])).sum(axis=1) > 1  # with itself, too
    found = np.zeros(len(error), bool)
    found[possible[overlaps]] = True
    return found


def _bounds(found: Found) -> tuple[Values, Values, Values]:
    """Latency and interval of each candidate: no width where measured, infinite where it failed."""
    measured = np.where(np.isnan(found.measured_ms), np.inf, found.measured_ms)
    mean, low, high = (
        np.where(found.measured, measured, np.asarray(column)) for column in found.predicted
    )
    return mean, low, high


def _undecided(found: Found) -> Bool[np.ndarray, "n"]:
    _, low, high = _bounds(found)
    return undecided(found.error, low, high) & ~found.measured


def _to_measure(found: Found, most: int) -> Rows:
    """The undecided candidates that are most likely on the front.

    Ordered by their distance behind it, in half widths of their intervals.
    """
    (mean, low, _) = _bounds(found)
    order = np.argsort(np.where(np.isnan(found.error), np.inf, found.error), kind="stable")
    best = np.empty(len(mean))
    best[order] = np.append(np.inf, np.minimum.accumulate(mean[order])[:-1])
    rows = np.flatnonzero(_undecided(found))
    behind = (np.log(mean[rows]) - np.log(best[rows])) / np.maximum(
        np.log(mean[rows]) - np.log(low[rows]), 1e-6
    )
    return found.genomes[rows[np.argsort(behind, kind="stable")[:most]]]


def _joined(
    space: Space,
    known: Rows,
    latency: Values,
    candidates: Int32[np.ndarray, "m genes"],
    evaluate: Callable,
    model: IntervalModel,
    rounds: int,
) -> Found:
    """All measured networks, then the candidates that are not."""
    genomes = distinct(space, np.concatenate([known, candidates]))
    measured = np.arange(len(genomes)) < len(known)
    measured_ms = np.full(len(genomes), np.nan, np.float32)
    measured_ms[measured] = latency
    found = Found(
        genomes,
        np.asarray(evaluate(genomes)),
        model.predict(genomes),
        measured_ms,
        measured,
        rounds,
        0,
    )
    return found._replace(undecided=int(_undecided(found).sum()))


def _front(error: Values, latency_ms: Values) -> Bool[np.ndarray, "n"]:
    fitness = jnp.stack(
        [jnp.asarray(error, jnp.float32), jnp.asarray(latency_ms, jnp.float32)], axis=1
    )
    return np.asarray(jax.jit(pareto.front)(fitness))
