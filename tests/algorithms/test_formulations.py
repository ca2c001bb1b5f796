"""Formulations by hand, and what all of them have in common."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.algorithms.formulated import worth
from jaxnas.algorithms.formulations import (
    Chebyshev,
    EpsilonConstraint,
    Formulation,
    Lexicographic,
    MnasNet,
    WeightedProduct,
    WeightedSum,
    tightest,
)
from jaxnas.config import FORMULATIONS, make_formulation
from jaxnas.errors import UserError

# Of two objectives each.
SETTINGS = {
    "weighted_sum": "weights=1,0.02",
    "chebyshev": "weights=1,0.02:ideal=-1,2",
    "weighted_product": "weights=1,0.5",
    "mnasnet": "target=35",
    "epsilon_constraint": "most=30",
    "lexicographic": "tolerances=0.1,5",
}
ROWS = [[0.25, 40], [0.05, 90], [0.6, 10], [0.24, 30], [np.nan, 0], [0, np.nan]]
FITNESS = jnp.array(ROWS, jnp.float32)


@pytest.fixture(params=FORMULATIONS)
def formulation(request):
    return make_formulation(f"{request.param}:{SETTINGS[request.param]}")


def test_a_formulation_is_one_traced_column_that_does_not_fall_as_objectives_rise(formulation):
    assert isinstance(formulation, Formulation) and hash(formulation) == hash(formulation)
    column = np.asarray(jax.jit(lambda fitness: worth(formulation, fitness))(FITNESS))
    assert column.shape == (6,) and column.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(column), [False] * 4 + [True] * 2)
    for step in ([0.2, 0], [0, 10]):
        raised = np.asarray(worth(formulation, FITNESS + jnp.array(step)))
        assert (raised[:4] >= column[:4]).all()
    assert (worth(formulation, FITNESS + jnp.array([0.2, 10])) > column)[:4].all()


@pytest.mark.parametrize(
    ("formulation", "expected"),
    [
        (WeightedSum((1, 0.01)), [0.65, 0.95, 0.7, 0.54]),
        (Chebyshev((1, 0.01), (0, 10)), [0.3, 0.8, 0.6, 0.24]),
        (
            WeightedProduct((1, 0.5)),
            [0.25 * 40**0.5, 0.05 * 90**0.5, 0.6 * 10**0.5, 0.24 * 30**0.5],
        ),
        (
            MnasNet((20,), -0.5),
            [-0.75 * 0.5**0.5, -0.95 * (2 / 9) ** 0.5, -0.4 * 2**0.5, -0.76 * (2 / 3) ** 0.5],
        ),
        (MnasNet((40,), hard=True), [-0.75, -0.95 * 4 / 9, -0.4, -0.76]),
        (EpsilonConstraint((50,)), [0.25, 0.05, 0.6, 0.24]),
        (Lexicographic((0.1, 10)), [2 + 4 / 4096, 9 / 4096, 6 + 1 / 4096, 2 + 3 / 4096]),
    ],
)
def test_formulations_by_hand(formulation, expected):
    column = formulation(FITNESS)
    np.testing.assert_allclose(column, [*expected, np.nan, np.nan], rtol=1e-6)


def test_beyond_a_limit_of_the_formulation_or_of_the_search_less_excess_is_better():
    column = np.asarray(worth(EpsilonConstraint((35,)), FITNESS))
    assert column[:4].argsort().tolist() == [3, 2, 0, 1]
    column = np.asarray(worth(WeightedSum((1, 0)), FITNESS, (None, 15)))
    assert column[:4].argsort().tolist() == [2, 3, 0, 1]
    assert tightest((None, 30), (0.5, 20)) == (0.5, 20)


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_float32_holds_the_order_of_as_many_steps_as_lexicographic_says(objectives):
    most = 2 ** (24 // objectives)
    rows = np.random.default_rng(0).integers(0, most, (2000, objectives))
    rows[:4] = 0
    rows[1:4, -1] = 1, most - 1, most - 1
    fitness = jnp.asarray(rows, jnp.float32) / 2 + 0.25
    column = Lexicographic((0.5,) * objectives)(fitness)
    number = rows @ most ** np.arange(objectives - 1, -1, -1)
    np.testing.assert_array_equal(np.asarray(column, np.float64) * most ** (objectives - 1), number)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weighted_sum", "WeightedSum needs the setting weights, which has no default"),
        (
            "weighted_sum:weights=1",
            "weights of weighted_sum must be 2, one for each objective, got",
        ),
        ("weighted_sum:weights=1,-2", "must be 0 or more and not all 0, got 1,-2: set one for"),
        ("chebyshev:weights=0,0", "must be 0 or more and not all 0, got 0,0"),
        ("chebyshev:weights=1,1:ideal=1", "ideal of chebyshev must be 2, one for each objective"),
        ("weighted_product:weights=1,2,3", "one for each objective, got 3 (1,2,3): set as many"),
        ("mnasnet", "MnasNet needs the setting target, which has no default"),
        ("mnasnet:target=1,2", "target of mnasnet must be 1, one for each objective after the"),
        ("mnasnet:target=0", "target and worst_error of mnasnet must be above 0, got 0 and 1"),
        ("epsilon_constraint:most=1,2", "must be 1, one for each objective after the first, got 2"),
        ("lexicographic:tolerances=1,0", "tolerances of lexicographic must be above 0, got 1,0"),
        ("lexicographic:tolerances=1,x", "tolerances of lexicographic must be numbers up to"),
        ("sum:weights=1", "unknown formulation 'sum'; known: chebyshev, epsilon_constraint, lexi"),
        (
            "jaxnas.algorithms.random_search:RandomSearch",
            "must be a formulation with limits and a call",
        ),
    ],
)
def test_mistakes_are_one_line(text, message):
    with pytest.raises(UserError) as error:
        make_formulation(text).limits(2)
    assert message in str(error.value) and "\n" not in str(error.value)
