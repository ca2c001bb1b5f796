"""Which networks of a front are chosen, and why."""

import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.objectives.columns import Columns
from jaxnas.stages import chosen

# Error (share of images) and latency; the front is rows 0, 2, 3, 5, 6, and row 5 is its knee.
FITNESS = np.array(
    [
        [0.40, 1.0],
        [0.41, 1.5],
        [0.12, 3.5],
        [0.10, 5.0],
        [np.nan, 0.1],
        [0.18, 1.2],
        [0.13, 2.0],
        [0.30, 6.0],
    ],
    np.float32,
)


def choose_networks(fitness, within_points, limit_ms, names=("error", "latency_ms")):
    return chosen.choose_networks(Columns(names, fitness), within_points, limit_ms)


def rows(choices):
    return {choice.name: choice.row for choice in choices}


def test_the_most_accurate_the_fastest_close_to_it_and_the_knee():
    choices = choose_networks(FITNESS, within_points=4, limit_ms=None)
    assert rows(choices) == {"most_accurate": 3, "fastest": 6, "knee": 5}
    assert [choice.role for choice in choices] == [
        "most accurate",
        "fastest within 4 percentage points",
        "best trade-off (knee)",
    ]


def test_the_network_below_the_limit_comes_first():
    choices = choose_networks(FITNESS, within_points=4, limit_ms=1.5)
    assert list(rows(choices).items()) == [("below_limit", 5), ("most_accurate", 3), ("fastest", 6)]
    assert choices[0].role == "most accurate below 1.5 ms"
    assert rows(choose_networks(FITNESS, 4, 1.2000001))["below_limit"] == 5
    assert rows(choose_networks(FITNESS, 4, 1.1))["below_limit"] == 0


def test_each_further_objective_has_a_network_of_its_own():
    # Row 2 is within 4 points and needs least, though another is faster.
    energy = np.array([9, 9, 5, 6, 1, 4, 7, 9], np.float32)
    names = ("error", "latency_ms", "energy_uj")
    choices = choose_networks(np.column_stack([FITNESS, energy]), 4, None, names)
    assert rows(choices) == {"most_accurate": 3, "fastest": 6, "least_energy_uj": 2, "knee": 5}
    assert choices[2].role == "least energy_uj within 4 percentage points"


def test_columns_are_known_by_their_names():
    energy = np.array([9, 9, 5, 6, 1, 4, 7, 9], np.float32)
    names = ("energy_uj", "latency_ms", "error")
    turned = choose_networks(np.column_stack([energy, FITNESS[:, ::-1]]), 4, None, names)
    assert {"most_accurate": 3, "fastest": 6, "least_energy_uj": 2}.items() <= rows(turned).items()


def test_a_search_without_latency_has_no_fastest_network():
    choices = choose_networks(FITNESS, 4, None, ("error", "mmacs"))
    assert rows(choices) == {"most_accurate": 3, "least_mmacs": 6, "knee": 5}
    assert choices[1].role == "least mmacs within 4 percentage points"


def test_an_objective_of_ones_own_names_no_path():
    """The name of a chosen network is that of its files."""
    choices = choose_networks(FITNESS, 4, None, ("error", "there/mine.py:flash_kib"))
    assert rows(choices) == {"most_accurate": 3, "least_flash_kib": 6, "knee": 5}


def test_a_network_in_two_roles_counts_once_and_the_middle_fills_up():
    # The fastest within 0 points is the most accurate.
    choices = choose_networks(FITNESS, within_points=0, limit_ms=None)
    assert list(rows(choices).values()) == [3, 5, 6]
    assert [choice.role for choice in choices] == [
        "most accurate",
        "best trade-off (knee)",
        "from the middle of the front",
    ]
    assert len({choice.name for choice in choices}) == 3


def test_duplicates_are_one_network():
    twice = np.concatenate([FITNESS, FITNESS])
    choices = choose_networks(twice, within_points=4, limit_ms=None)
    points = {tuple(twice[choice.row]) for choice in choices}
    assert len(choices) == len(points) == 3
    np.testing.assert_array_equal(twice[[choice.row for choice in choices]], FITNESS[[3, 6, 5]])
    assert rows(choose_networks(np.repeat(FITNESS[:1], 5, axis=0), 4, None)) == {"most_accurate": 0}


def test_of_equal_errors_the_faster_and_of_equal_latencies_the_more_accurate():
    choices = choose_networks(
        np.array([[0.1, 2.0], [0.1, 1.5], [0.2, 1.0], [0.3, 1.0]], np.float32), 50, None
    )
    assert rows(choices) == {"most_accurate": 1, "fastest": 2}


@pytest.mark.parametrize("limit_ms", [None, 9.0])
def test_small_fronts_give_all_they_have(limit_ms):
    one = np.array([[0.2, 3.0]], np.float32)
    two = np.array([[0.2, 3.0], [0.3, 1.0]], np.float32)
    assert [choice.row for choice in choose_networks(one, 5, limit_ms)] == [0]
    assert sorted(choice.row for choice in choose_networks(two, 5, limit_ms)) == [0, 1]


def test_a_limit_that_nothing_meets_is_an_error():
    with pytest.raises(
        UserError,
        match=(
            r"no network found is predicted below 0.5 ms; the fastest takes 1 ms: raise "
            r"latency_limit_ms"
        ),
    ):
        choose_networks(FITNESS, 4, 0.5)  # the failed row, at 0.1 ms, does not count


@pytest.mark.parametrize("seed", range(10))
def test_random_fitness(seed):
    draw = np.random.default_rng(seed)
    # Coarse, with many ties.
    fitness = np.round(draw.uniform(size=(40, 2)), 1 + seed % 2).astype(np.float32)
    fitness[draw.integers(0, 40, 5), draw.integers(0, 2, 5)] = np.nan
    choices = choose_networks(fitness, 20, 0.5)
    alive = fitness[~np.isnan(fitness).any(axis=1)]
    for choice in choices:
        point = fitness[choice.row]
        # On the front, hence no NaN.
        assert not ((alive <= point).all(1) & (alive < point).any(1)).any()
    assert len({tuple(fitness[choice.row]) for choice in choices}) == len(choices) <= 3
    assert fitness[choices[0].row, 0] == alive[alive[:, 1] <= 0.5, 0].min()


def test_the_best_by_a_formulation_comes_first_if_it_is_on_the_front():
    worth = 100 * FITNESS[:, 0] + FITNESS[:, 1]
    preferred = chosen.Preferred("sum", worth)
    choices = chosen.choose_networks(Columns(("error", "latency_ms"), FITNESS), 4, 1.5, preferred)
    assert choices[0] == chosen.Choice("best", "best by sum", int(np.nanargmin(worth)))
    assert choices[1].name == "below_limit" and len(choices) == 3
    # A product has no value where an objective is below 0.
    preferred = chosen.Preferred("sum", np.where(np.arange(8) == 3, np.nan, worth))
    choices = chosen.choose_networks(Columns(("error", "latency_ms"), FITNESS), 4, 1.5, preferred)
    assert choices[0].row == 6


def test_within_budgets_the_most_accurate_are_chosen():
    columns = Columns(("error", "latency_ms"), FITNESS)
    found = chosen.choose_within(columns, (None, 3.5), 2)
    assert [choice.row for choice in found] == [2, 6]
    assert found[0].name == "pick_1"
    assert found[1].role == "number 2 in accuracy with latency_ms up to 3.5"
    assert [choice.row for choice in chosen.choose_within(columns, (None, 1.2), 5)] == [5, 0]
    with pytest.raises(UserError, match=r"latency_ms up to 0\.5; the least there is latency_ms 1"):
        chosen.choose_within(columns, (None, 0.5), 2)
