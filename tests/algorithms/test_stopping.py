"""A search ends when its front no longer grows, or its time is up."""

import moocore
import numpy as np
import pytest

from jaxnas.algorithms import stopping
from jaxnas.algorithms.loop import Archive
from jaxnas.algorithms.stopping import Budget, stalled, stopped_in_words

START = [[0.0, 4.0], [2.0, 2.0], [4.0, 0.0]]
WORSE = [[4.0, 4.0], [np.nan, 0.0], [3.0, 3.0]]


def archive(*generations):
    fitness = np.array(generations, np.float32)
    count, population, objectives = fitness.shape
    rows = count * population
    return Archive(
        np.zeros((rows, 2), np.int32),
        fitness.reshape(rows, objectives),
        np.repeat(np.arange(count, dtype=np.int32), population),
        np.full((rows, 2), -1, np.int32),
    )


def after(*generations, patience=2, feasible=lambda fitness: np.ones(len(fitness), bool)):
    found = archive(*generations)
    return stalled(found, feasible(found.fitness), patience)


def test_it_stops_once_nothing_was_added_for_the_patience():
    better = [[1.0, 1.0], *WORSE[1:]]
    reason = "the hypervolume had not grown for 2"
    assert after(START, WORSE) is None and after(START, WORSE, WORSE) == reason
    assert after(START, WORSE, better) is None
    assert after(START, WORSE, better, WORSE) is None
    assert after(START, WORSE, better, WORSE, WORSE) == reason


def test_a_thousandth_counts_as_none_however_it_adds_up_within_the_patience():
    """Of the box of 4.4 x 4.4: a point that adds `by` beside (2, 2)."""
    before = moocore.hypervolume(np.array(START), ref=[4.4, 4.4])

    def adding(by):
        return [[2.0, 2.0 - by * before / 2], *WORSE[1:]]  # two wide, up to (4, 0)

    assert after(START, adding(4e-4), adding(9e-4)) is not None
    assert after(START, adding(6e-4), adding(1.2e-3)) is None
    assert after(START, adding(6e-4), adding(1.2e-3), adding(1.3e-3)) is not None


def test_what_is_beyond_the_limits_or_failed_does_not_count():
    def light(fitness):
        return fitness[:, 1] <= 1

    better = [[1.0, 1.5], *WORSE[1:]]
    assert after(START, WORSE, better) is None
    assert after(START, WORSE, better, feasible=light) is not None
    # As long as nothing counts there is nothing to compare with.
    assert after(START, WORSE, better, feasible=lambda fitness: fitness[:, 1] < 0) is None
    failed = np.full((3, 2), np.nan)
    assert after(failed, failed, failed) is None
    assert after(failed, failed, START, WORSE) is None
    assert after(failed, START, WORSE, WORSE) is not None


@pytest.mark.parametrize("objectives", [1, 3, 4])
def test_any_number_of_objectives(objectives):
    draw = np.random.default_rng(0)
    first = draw.uniform(0, 1, (5, objectives))
    worse = first + 1
    assert after(first, worse, worse) is not None
    assert after(first, worse, first - 0.5) is None


def test_a_budget_counts_what_was_spent_before(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(stopping.time, "perf_counter", lambda: now[0])
    budget = Budget(10, spent=4)
    now[0] += 5.9
    assert budget.exceeded() is None and budget.spent == pytest.approx(9.9)
    now[0] += 0.1
    assert budget.exceeded() == "its 10 seconds were over"


def test_a_stop_in_words():
    found = archive(START, WORSE)
    assert stopped_in_words(found, 9) is None
    said = stopped_in_words(found._replace(stopped="it was late"), 9)
    assert said == "stopped after generation 2 of 9: it was late"
