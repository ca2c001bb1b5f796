import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.predictors import metrics


def by_hand(measured, predicted):
    """Pearson, Spearman and Kendall's tau-b from their definitions, ties included."""

    def correlation(a, b):
        a = a - a.mean()
        b = b - b.mean()
        return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())

    def ranks(a):
        return (a[:, None] > a).sum(1) + ((a[:, None] == a).sum(1) + 1) / 2

    def signs(a):
        return np.sign(a[:, None] - a)

    a = signs(measured)
    b = signs(predicted)
    kendall = (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())
    return correlation(measured, predicted), correlation(ranks(measured), ranks(predicted)), kendall


def draws():
    draw = np.random.default_rng(0)
    for ties in (False, True):
        measured = draw.uniform(1, 9, 40)
        predicted = measured * draw.normal(1, 0.2, 40)
        yield (measured.round(), predicted.round()) if ties else (measured, predicted)


@pytest.mark.parametrize(("measured", "predicted"), list(draws()), ids=["smooth", "ties"])
def test_correlations_follow_their_definitions(measured, predicted):
    ours = (
        metrics.pearson(measured, predicted),
        metrics.spearman(measured, predicted),
        metrics.kendall(measured, predicted),
    )
    assert ours == pytest.approx(by_hand(measured, predicted))
    wrong = (
        metrics.spearman(measured, predicted),
        metrics.pearson(measured, predicted),
        metrics.kendall(measured, predicted),
    )
    # The comparison tells one from the other.
    assert wrong != pytest.approx(by_hand(measured, predicted))


def test_order_is_all_that_ranks_see():
    measured = np.array([1.0, 2.0, 3.0, 4.0])
    assert metrics.spearman(measured, measured**5) == pytest.approx(1)
    assert metrics.kendall(measured, -measured) == pytest.approx(-1)
    assert metrics.pearson(measured, measured**5) < 0.9


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0, 2.0]])
def test_undefined_correlations_are_zero(values):
    measured = np.array(values)
    for predicted in (measured, np.arange(len(values), dtype=float)):
        found = metrics.summary(measured, predicted)
        assert (found["pearson"], found["spearman"], found["kendall"], found["count"]) == (
            0,
            0,
            0,
            len(values),
        )
        assert 0 <= found["within_10_percent"] <= 1


def test_within_counts_both_sides():
    measured = np.array([1.0, 1.0, 1.0, 1.0, 10.0])
    predicted = np.array([0.85, 0.95, 1.05, 1.15, 10.9])
    assert metrics.within(measured, predicted) == pytest.approx(0.6)
    assert metrics.within(measured, predicted, share=0.2) == 1


def test_summary_takes_arrays_of_either_kind():
    measured = np.array([1.0, 2.0, 3.0], np.float32)
    predicted = np.array([1.0, 2.5, 2.9], np.float32)
    found = metrics.summary(jnp.asarray(measured), jnp.asarray(predicted))
    assert found == metrics.summary(measured, predicted)
    assert list(found) == ["pearson", "spearman", "kendall", "within_10_percent", "count"]
    assert all(type(value) in (float, int) for value in found.values())


def test_coverage_counts_both_sides():
    measured = np.array([1.0, 1.0, 1.0, 1.0])
    low = np.array([0.9, 1.1, 0.5, 1.0])
    high = np.array([1.1, 1.2, 0.9, 1.0])
    assert metrics.coverage(measured, low, high) == 0.5
    assert metrics.coverage(measured[:0], low[:0], high[:0]) == 0
