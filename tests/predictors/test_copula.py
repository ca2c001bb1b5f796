import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from jaxnas.predictors import copula

scores = jax.jit(copula.scores)
values_of = jax.jit(copula.values_of)


def test_known_values_come_back_and_masked_ones_do_nothing():
    values = jnp.array([3.0, 90.0, 5.0, jnp.nan, 4.0])
    found, back = scores(values, ~jnp.isnan(values))
    order = stats.norm.ppf((np.array([0, 3, 2, 1]) + 0.5) / 4)
    np.testing.assert_allclose(found[np.array([0, 1, 2, 4])], order, atol=1e-5)
    assert found[3] == 0
    known = np.array([0, 1, 2, 4])
    np.testing.assert_allclose(values_of(back, found[known]), values[known], rtol=1e-4)


def test_between_and_beyond_observations_values_rise():
    values = jnp.array([2.0, 2.5, 3.0, 7.0, 9.0, 30.0])
    _, back = scores(values, jnp.ones(6, bool))
    line = values_of(back, jnp.linspace(-4, 4, 81))
    assert (jnp.diff(line) > 0).all()
    assert line[0] < 2 and line[-1] > 30


def test_equal_values_have_equal_scores():
    found, back = scores(jnp.array([1.0, 1.0, 1.0, 8.0]), jnp.ones(4, bool))
    assert found[0] == found[1] == found[2] < found[3]
    same, back = scores(jnp.full(4, 5.0), jnp.ones(4, bool))
    np.testing.assert_allclose(same, 0, atol=1e-6)
    np.testing.assert_array_equal(values_of(back, jnp.array([-3.0, 0.0, 3.0])), 5)


def test_one_observation_and_none():
    _, back = scores(jnp.array([4.0, jnp.nan]), jnp.array([True, False]))
    np.testing.assert_array_equal(values_of(back, jnp.array([-1.0, 1.0])), 4)
    found, _ = scores(jnp.full(3, jnp.nan), jnp.zeros(3, bool))
    np.testing.assert_array_equal(found, 0)
