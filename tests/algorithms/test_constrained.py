"""Deb's order, as every algorithm is told it."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.algorithms import pareto
from jaxnas.algorithms.constrained import INFEASIBLE, Constrained
from jaxnas.algorithms.loop import search
from jaxnas.algorithms.nsga2 import NSGA2
from jaxnas.algorithms.random_search import RandomSearch
from jaxnas.config import SearchConfig, make_algorithm
from jaxnas.errors import UserError

# One that ranks, one that compares members, one that is told a number, one that does not listen;
# test_formulated.py tells all of them constraints.
NAMES = ["nsga2", "moead:neighbours=3", "evosax:name=CMA_ES", "random"]


def drawn(rows=40):
    """Objectives, constraints with bounds 1 and 0, a few failures."""
    draw = np.random.default_rng(0)
    fitness = draw.normal(size=(rows, 4)) * [1, 50, 1, 0.3]
    fitness[3, 1] = fitness[4, 3] = np.nan
    return jnp.asarray(fitness, jnp.float32)


@pytest.mark.parametrize("algorithm", [NSGA2(2), NSGA2(2, limits=(0.5, None)), RandomSearch(2)])
def test_what_is_told_ranks_as_constrained_dominance_does(algorithm):
    fitness = drawn()
    constrained = Constrained(algorithm, (1.0, 0.0))
    told = np.asarray(constrained.told(fitness))
    limits = (*(getattr(algorithm, "limits", ()) or (None, None)), 1.0, 0.0)
    violation = np.asarray(pareto.total_violation(fitness, limits))
    expected = np.asarray(pareto.rank(fitness[:, :2], jnp.asarray(violation)))
    ranks = pareto.rank_within(jnp.asarray(told), getattr(constrained.inner, "limits", ()))
    np.testing.assert_array_equal(ranks, expected)
    kept = violation == 0
    assert 3 < kept.sum() < 30
    np.testing.assert_array_equal(told[kept], fitness[kept, :2])
    assert np.isnan(told[[3, 4]]).all()
    # An algorithm without limits goes by the values alone.
    if isinstance(algorithm, RandomSearch):
        np.testing.assert_array_equal(pareto.rank(told), expected)
        assert (told[violation > 0] > INFEASIBLE).all()


def test_violations_told_to_an_algorithm_with_limits_are_the_true_ones():
    fitness = drawn()
    constrained = Constrained(NSGA2(2, limits=(0.5, None)), (1.0, 0.0))
    violation = pareto.total_violation(fitness, (0.5, None, 1.0, 0.0))
    found = pareto.total_violation(constrained.told(fitness), constrained.inner.limits)
    np.testing.assert_allclose(found, violation, atol=3e-6)


def test_an_algorithm_that_models_constraints_is_given_them():
    @dataclass(frozen=True)
    class Modelling(RandomSearch):
        constraints: int = 0

    constrained = Constrained(Modelling(2), (2.0, 0.0))
    assert constrained.inner.constraints == 2
    told = constrained.told(jnp.array([[1.0, 5.0, 3.0, -1.0], [1.0, 5.0, 1.0, jnp.nan]]))
    np.testing.assert_array_equal(told, [[1, 5, 0.5, -1], [1, 5, -0.5, np.nan]])


@pytest.mark.parametrize("name", NAMES)
def test_an_algorithm_finds_the_feasible_part(name, space, evaluate):
    """One candidate in fifty has a first half so much smaller than its second."""

    def constrained(genomes):
        uneven = genomes[:, :15].sum(axis=1) - genomes[:, 15:].sum(axis=1)
        return np.column_stack([evaluate(genomes), uneven]).astype(np.float32)

    sampled = constrained(np.asarray(space.sample(jax.random.key(9), 20000)))
    bound = np.quantile(sampled[:, 2], 0.02).round()
    settings = SearchConfig(name, 9, constraints=(f"uneven={bound}",))
    algorithm = make_algorithm(settings)
    fitness = search(algorithm, space, jax.random.key(0), constrained, 20).fitness
    feasible = fitness[:, 2] <= bound
    if name == "random":
        assert 0 < feasible.sum() < 12
    else:
        assert feasible[90:].mean() > 0.2, feasible.sum()


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match="fitness must have 2 columns of constraints after the obj"):
        Constrained(NSGA2(4), (0.0, 1.0)).told(jnp.zeros((4, 2)))
    for settings, message in (
        (("error=1",), "search.constraints are of figures that the search does not minimise"),
        (("mmacs=1", "mmacs=2"), "search.constraints set two bounds of mmacs: leave one out"),
        (("mmacs",), "search.constraints must be NAME=NUMBER, a finite number, got mmacs"),
        (("mmacs=inf",), "a finite number, got mmacs=inf: write mmacs=20"),
    ):
        with pytest.raises(UserError, match=message):
            make_algorithm(SearchConfig(constraints=settings))
