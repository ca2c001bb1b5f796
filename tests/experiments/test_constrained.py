"""The constrained test problems are pymoo's, and their fronts are fronts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pymoo.problems import get_problem

from jaxnas.algorithms.pareto import front
from jaxnas.studies.compare import check_problem


@pytest.fixture(scope="module")
def constrained(experiment):
    return experiment("constrained")


@pytest.mark.parametrize("name", ["OSY", "TNK", "SRN"])
def test_problems_are_those_of_pymoo_and_no_candidate_dominates_their_fronts(constrained, name):
    one = constrained.PROBLEMS[name]
    oracle = get_problem(name.lower())
    x = np.asarray(one.space.sample(jax.random.key(0), 3000))
    found = np.asarray(one.fitness(x))
    fitness, constraints = oracle.evaluate(x.astype(np.float64), return_values_of=["F", "G"])
    expected = np.concatenate([fitness, constraints], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    turned = np.asarray(one.fitness(x[:, ::-1]))
    assert np.abs(turned - expected).max() > 0.1
    np.testing.assert_allclose(np.asarray(oracle.xl), one.space.low, atol=1e-6)
    np.testing.assert_allclose(np.asarray(oracle.xu), one.space.high, rtol=1e-6)
    points = constrained.front_of(one)
    feasible = fitness[(constraints <= 0).all(axis=1)]
    margin = 1e-3 * np.ptp(points, axis=0)
    both = np.concatenate([points, feasible + margin])
    assert len(feasible) > 20 and np.asarray(front(both))[: len(points)].all()


def test_fronts_are_those_of_the_literature(constrained):
    ends = {
        "OSY": ([-274, 76], [-42, 4]),
        "TNK": ([0.0417, 1.0384], [1.0384, 0.0417]),
        "SRN": ([10.1, 2.62], [223, -217.7]),
    }
    for name, (first, last) in ends.items():
        points = constrained.front_of(constrained.PROBLEMS[name])
        points = points[points[:, 0].argsort()]
        np.testing.assert_allclose(points[[0, -1]], [first, last], rtol=2e-3)
        check_problem(constrained.problem(name))
    # Deb (2001): x1 = -2.5 with x2 from 2.5 is on SRN's front.
    middle = constrained.srn(jnp.array([[-2.5, 9.0]]))[0, :2]
    distance = np.abs(constrained.front_of(constrained.PROBLEMS["SRN"]) - np.asarray(middle))
    assert distance.max(axis=1).min() < 0.2
