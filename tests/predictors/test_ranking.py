import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.predictors.ranking import LOSSES, MARGIN, hinge, list_mle, list_mle_between, rmse

N = 12


@pytest.fixture(scope="module")
def scores():
    return np.random.default_rng(0).normal(size=N)


DISTINCT = np.random.default_rng(1).permutation(N)
TIED = DISTINCT // 4


def plackett_luce(scores, order):
    """Minus the log-probability of drawing all in this order, each by its share of exp(-score)."""
    weights = np.exp(-scores)
    left = list(order)
    total = 0.0
    while left:
        total -= np.log(weights[left[0]] / weights[left].sum())
        left.pop(0)
    return total / len(order)


def test_list_mle_is_the_probability_of_the_order(scores):
    expected = plackett_luce(scores, np.argsort(DISTINCT))
    for loss in (list_mle, list_mle_between):
        found = loss(jnp.asarray(scores), jnp.asarray(DISTINCT), jax.random.key(0))
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_ties_are_broken_anew_with_each_key(scores):
    """The mean over keys is that over the orders, and no place in the batch is preferred."""
    few, ranks = scores[:4], np.array([1, 0, 0, 1])
    orders = [(1, 2, 0, 3), (2, 1, 0, 3), (1, 2, 3, 0), (2, 1, 3, 0)]
    keys = jax.random.split(jax.random.key(0), 4000)
    found = jax.vmap(lambda key: list_mle(jnp.asarray(few), jnp.asarray(ranks), key))(keys)
    each = [plackett_luce(few, order) for order in orders]
    np.testing.assert_allclose(np.unique(np.round(found, 4)), np.unique(np.round(each, 4)), 1e-3)
    np.testing.assert_allclose(found.mean(), np.mean(each), rtol=0.01)


def test_without_terms_within_a_tie(scores):
    found = list_mle_between(jnp.asarray(scores), jnp.asarray(TIED), jax.random.key(0))
    total = 0.0
    for i in range(N):
        rivals = [i, *np.flatnonzero(TIED[i] < TIED)]
        total += scores[i] + np.log(np.exp(-scores[rivals]).sum())
    np.testing.assert_allclose(found, total / N, rtol=1e-5)


def test_hinge_over_pairs(scores):
    pairs = [(i, j) for i in range(N) for j in range(N) if TIED[i] < TIED[j]]
    lacks = [max(0.0, MARGIN - (scores[j] - scores[i])) for i, j in pairs]
    found = hinge(jnp.asarray(scores), jnp.asarray(TIED), jax.random.key(0))
    np.testing.assert_allclose(found, np.mean(lacks), rtol=1e-5)
    none = hinge(jnp.asarray(scores), jnp.zeros(N), jax.random.key(0))
    assert none == 0


@pytest.mark.parametrize("name", LOSSES)
def test_scores_in_order_lose_less_and_gradients_are_finite(name):
    loss = LOSSES[name]
    targets = jnp.asarray(TIED, jnp.float32)
    keys = jax.random.split(jax.random.key(0), 3)
    value, gradient = jax.value_and_grad(loss)(3 * targets, targets, keys[0])
    assert value < loss(-3 * targets, targets, keys[1])
    at_targets = jax.grad(loss)(targets, targets, keys[2])
    assert jnp.isfinite(gradient).all() and jnp.isfinite(at_targets).all()


def test_rmse(scores):
    found = rmse(jnp.asarray(scores), jnp.asarray(DISTINCT, jnp.float32), jax.random.key(0))
    np.testing.assert_allclose(found, np.sqrt(np.mean((scores - DISTINCT) ** 2)), rtol=1e-5)
