"""Statistics against scipy, brute force and simulated data."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from jaxnas.studies.statistics import (
    bootstrap_band,
    compare_all,
    compare_samples,
    estimated_curve,
    holm,
    hypervolume_curve,
    leaders,
    least_seeds,
    mean_ranks,
    not_shown_to_differ,
)

rng = np.random.default_rng


def test_hypervolume_grows_generation_by_generation():
    fitness = np.array([[2, 2], [np.nan, 0], [1, 3], [3, 1], [5, 5], [0, 0]], np.float32)
    curve = hypervolume_curve(fitness, np.array([0, 0, 1, 1, 2, 3]), np.array([4.0, 4.0]))
    np.testing.assert_allclose(curve, [4, 6, 6, 16])


def test_hypervolume_equals_a_count_of_grid_cells():
    fitness = rng(0).integers(0, 12, (60, 2)).astype(np.float32)
    generation = np.repeat(np.arange(6), 10)
    cells = np.stack(np.meshgrid(np.arange(10), np.arange(10)), axis=-1).reshape(-1, 2)
    expected = [
        (fitness[generation <= g][:, None] <= cells[None]).all(-1).any(0).sum() for g in range(6)
    ]
    assert hypervolume_curve(fitness, generation, np.array([10.0, 10.0])).tolist() == expected
    # A planted bug is seen.
    assert hypervolume_curve(fitness, generation, np.array([11.0, 10.0])).tolist() != expected


@pytest.mark.parametrize("objectives", [2, 3, 5])
def test_an_estimated_hypervolume_is_within_its_error(objectives):
    """Exact for up to four objectives; for five points below one another, the largest box."""
    points = rng(1).uniform(0.2, 1, (40, objectives)).astype(np.float32)
    if objectives == 5:
        points = np.linspace(0.9, 0.3, 40, dtype=np.float32)[:, None].repeat(5, axis=1)
    points[3] = np.nan
    points[7, 0] = 2.0
    generation = np.repeat(np.arange(4), 10)
    reference = np.ones(objectives)
    found, error = estimated_curve(points, generation, reference)
    exact = [0.7**5] if objectives == 5 else hypervolume_curve(points, generation, reference)[-1:]
    assert 0 < error[-1] < 0.02 * found[-1] and (np.diff(found) >= 0).all()
    assert abs(found[-1] - exact[0]) < 4 * error[-1]
    # A planted bug.
    assert (
        abs(estimated_curve(points[:20], generation[:20], reference)[0][-1] - exact[0])
        > 4 * error[-1]
    )


# Bootstrap


def test_the_band_is_that_of_scipy():
    curves = rng(0).exponential(size=(25, 4)).cumsum(axis=1)
    low, high = bootstrap_band(curves, 1)
    found = stats.bootstrap(
        (curves,), np.median, method="percentile", n_resamples=2000, vectorized=True
    ).confidence_interval
    width = found.high - found.low
    assert (np.abs(low - found.low) < 0.2 * width).all() and (
        np.abs(high - found.high) < 0.2 * width
    ).all()
    narrow = bootstrap_band(curves, 1, level=0.5)
    assert (narrow[0] > low).all() and (narrow[1] < high).all()
    np.testing.assert_array_equal(bootstrap_band(curves, 1), (low, high))


def test_the_band_holds_the_true_median_about_as_often_as_it_says():
    """Each column is an experiment of its own with median log 2.

    95 % of 300 is 285, and percentiles are somewhat off for small samples.
    """
    low, high = bootstrap_band(rng(2).exponential(size=(30, 300)), 3)
    covered = np.mean((low <= np.log(2)) & (np.log(2) <= high))
    assert 0.90 < covered < 0.985
    low, high = bootstrap_band(rng(2).exponential(size=(30, 300)), 3, level=0.7)
    # A band of another level is told apart.
    assert 0.60 < np.mean((low <= np.log(2)) & (np.log(2) <= high)) < 0.80


def test_seeds_that_agree_leave_no_width():
    low, high = bootstrap_band(np.tile(np.arange(5.0), (7, 1)), 0)
    assert low.tolist() == high.tolist() == [0, 1, 2, 3, 4]


# Tests and effects


def pairs_won(first, second):
    return np.mean([(a > b) + 0.5 * (a == b) for a in first for b in second])


@pytest.mark.parametrize("seed", range(20))
def test_the_effect_is_a_count_of_pairs(seed):
    first, second = rng(seed).integers(0, 8, (2, 12)).astype(float)
    found = compare_samples(first, second)
    assert found.a12 == pytest.approx(pairs_won(first, second))
    assert found.p == stats.mannwhitneyu(first, second).pvalue


def test_a_planted_bug_is_seen():
    first, second = rng(0).normal([[0.5], [0]], size=(2, 12))
    # Samples swapped.
    assert abs(compare_samples(second, first).a12 - pairs_won(first, second)) > 0.1


def test_known_p_values():
    """A group of 6 all above the other: 2 / (12 choose 6)."""
    found = compare_samples(np.arange(6) + 100.0, np.arange(6) * 2.5)
    assert found == (pytest.approx(2 / 924), 1)


def test_p_values_are_uniform_where_there_is_no_difference():
    found = [compare_samples(*rng(seed).normal(size=(2, 15))) for seed in range(400)]
    assert 0.02 < np.mean([one.p < 0.05 for one in found]) < 0.08
    shifted = [compare_samples(*rng(seed).normal([[1.5], [0]], size=(2, 15))) for seed in range(50)]
    assert np.mean([one.p < 0.05 for one in shifted]) > 0.9


def test_a_claim_among_identical_algorithms_is_as_rare_as_it_says():
    """In about 5 % of comparisons at most any pair is said to differ.

    Whichever of eight turns out best.
    """
    drawn = [rng(seed).normal(size=(8, 30)) for seed in range(40)]
    claims = np.mean(
        [
            len(leaders(compare_all(dict(zip("abcdefgh", samples, strict=True))))) < 8
            for samples in drawn
        ]
    )
    assert claims < 0.16  # three standard errors above 5 %
    best = [max(samples, key=np.median) for samples in drawn]
    uncorrected = [
        compare_samples(one, other).p < 0.05
        for one, samples in zip(best, drawn, strict=True)
        for other in samples
    ]
    # A planted bug: the best, as if it were chosen beforehand.
    assert np.reshape(uncorrected, (40, 8)).any(axis=1).mean() > 0.2


def test_leaders_are_all_that_none_is_shown_to_beat():
    draw = rng(3)
    samples = {
        name: draw.normal(mean, 1, 30) for name, mean in (("a", 5), ("b", 5), ("c", 0), ("d", -5))
    }
    pairs = compare_all(samples)
    assert leaders(pairs) == ["a", "b"] and len(pairs) == 12
    assert pairs["a", "c"].a12 == 1 - pairs["c", "a"].a12 and pairs["a", "c"].p == pairs["c", "a"].p
    assert leaders(compare_all({"a": samples["a"], "b": samples["b"]})) == ["a", "b"]


@pytest.mark.parametrize("algorithms", [2, 3, 8])
def test_the_fewest_seeds_that_can_show_a_difference(algorithms):
    def shown(seeds):
        samples = {str(i): np.arange(seeds) / 100.0 for i in range(algorithms - 1)} | {
            "far": np.arange(seeds) + 99.5
        }
        return len(leaders(compare_all(samples))) < algorithms

    least = least_seeds(algorithms)
    assert shown(least) and not shown(least - 1)


@pytest.mark.parametrize("n", [2, 3, 30, 60])
@pytest.mark.parametrize("kind", ["same", "constant", "shifted", "one"])
def test_samples_that_hardly_differ(kind, n):
    first = rng(0).normal(size=n)
    second = {
        "same": first,
        "constant": first,
        "shifted": first + 1,
        "one": np.append(first[:-1], 5.0),
    }[kind]
    if kind == "constant":
        first = second = np.ones(n)
    found = compare_samples(first, second)
    assert np.isfinite(found).all() and 0 < found.p <= 1
    if kind in ("same", "constant"):
        assert found == (pytest.approx(1), 0.5)


# Holm


def test_holm_by_hand():
    # 0.04: no less than 0.03 * 2.
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    assert (
        holm(np.array([])).tolist() == []
        and holm(np.array([0.3])).tolist() == [0.3]
        and holm(np.array([0.6, 0.9])).tolist() == [1, 1]
    )


def test_holm_keeps_the_chance_of_a_false_alarm():
    p = rng(0).uniform(size=(4000, 5))
    alarms = np.array([(holm(row) < 0.05).any() for row in p])
    assert 0.035 < alarms.mean() < 0.065
    assert (p < 0.05).any(axis=1).mean() > 0.2  # uncorrected, a planted bug


# The critical-difference diagram


def test_mean_ranks_are_those_of_every_draw_of_one_value_each():
    draw = rng(0)
    samples = {name: draw.integers(0, 6, 5).astype(float) for name in "abc"}
    ranks = mean_ranks(compare_all(samples))
    draws = [[-value for value in each] for each in product(*samples.values())]
    for method, right in (("average", True), ("min", False)):  # a planted bug: a tie counts as won
        mean = np.mean([stats.rankdata(each, method) for each in draws], axis=0)
        assert np.allclose([ranks[name] for name in "abc"], mean) == right


def test_groups_are_the_longest_runs_without_a_difference():
    def pairs(different):
        names = "abcde"
        return {
            (first, second): compare_samples(np.zeros(3), np.zeros(3))._replace(
                p=0.01 if {first, second} in different else 0.9
            )
            for first in names
            for second in names
            if first != second
        }

    assert not_shown_to_differ("abcde", pairs([])) == [(0, 4)]
    assert not_shown_to_differ("abcde", pairs([{"a", "e"}])) == [(0, 3), (1, 4)]
    assert not_shown_to_differ("abcde", pairs([{"a", "c"}, {"b", "c"}])) == [(0, 1), (2, 4)]
    every = [{first, second} for first, second in product("abcde", repeat=2) if first != second]
    assert not_shown_to_differ("abcde", pairs(every)) == []
