from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel

from jaxnas.predictors import gaussian_process as gp

GROUP = np.array([0, 0, 1])
HYPER = gp.Hyperparameters(
    jnp.log(jnp.array([0.5, 2.0])), *(jnp.float32(np.log(one)) for one in (0.8, 0.4, 0.05))
)
KERNEL = ConstantKernel(0.8) * Matern(1.0, nu=2.5) + ConstantKernel(0.4) * DotProduct(1e-6)
KNOWN = jnp.ones(12, bool)


def log_likelihood(hyper, group, x, y, known):
    """Rasmussen & Williams, equation 2.30: what a fit ascends, by its gradient alone."""
    given = gp.conditioned(hyper, group, x, y, known)
    misfit = 0.5 * jnp.where(known, y, 0.0) @ given.weights
    return -misfit - jnp.log(jnp.diag(given.factor)).sum() - known.sum() * np.log(2 * np.pi) / 2


# Compiled whole: operation by operation they take seconds.
conditioned, predicted, sampled, likelihood, slopes = (
    jax.jit(partial(one, group=GROUP), static_argnames="count")
    if one is gp.sampled
    else jax.jit(partial(one, group=GROUP))
    for one in (gp.conditioned, gp.predicted, gp.sampled, log_likelihood, gp.slopes)
)


@pytest.fixture(scope="module")
def data():
    """Features and targets of 12 observations, and features of 5 candidates."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(17, 3)).astype(np.float32)
    y = (np.sin(2 * x[:, 0]) + 0.5 * x[:, 2] + 0.1 * draw.normal(size=17)).astype(np.float32)
    return jnp.asarray(x[:12]), jnp.asarray(y[:12]), jnp.asarray(x[12:])


@pytest.fixture(scope="module")
def oracle(data):
    """scikit-learn's process of the same kernel, which has seen the same."""
    x = weighted(data[0])
    found = GaussianProcessRegressor(KERNEL + WhiteKernel(noise(x)), alpha=0)
    return found.set_params(optimizer=None).fit(x, data[1])


def noise(x):
    return 0.05 + gp.LEAST_NOISE + gp.JITTER * KERNEL.diag(x).mean()


def weighted(x):
    return np.asarray(x * jnp.exp(HYPER.weights / 2)[GROUP])


def test_the_posterior_is_that_of_scikit_learn(data, oracle):
    x, y, pool = data
    given = conditioned(HYPER, x=x, y=y, known=KNOWN)
    mean, deviation = predicted(given, x=pool)
    theirs, covariance = oracle.predict(weighted(pool), return_cov=True)
    exact = covariance - noise(weighted(x)) * np.eye(5)
    np.testing.assert_allclose(mean, theirs, atol=1e-4)
    np.testing.assert_allclose(deviation**2, np.diag(exact), atol=1e-4)
    drawn = np.asarray(sampled(jax.random.key(0), given, x=pool, count=20_000))
    np.testing.assert_allclose(drawn.mean(axis=0), theirs, atol=0.03)
    np.testing.assert_allclose(np.cov(drawn.T), exact, atol=0.03)


def test_the_likelihood_is_that_of_scikit_learn_and_a_fit_improves_it(data, oracle):
    x, y, _ = data
    before = likelihood(HYPER, x=x, y=y, known=KNOWN)
    assert before == pytest.approx(oracle.log_marginal_likelihood_value_, abs=1e-3)
    hyper = jax.jit(partial(gp.fitted, group=GROUP, steps=20))(HYPER, x=x, y=y, known=KNOWN)
    assert likelihood(hyper, x=x, y=y, known=KNOWN) > before + 0.5


def test_the_gradient_is_that_of_the_likelihood_and_the_prior(data):
    def loss(hyper):
        off = jax.tree.map(lambda one, median: jnp.sum((one - median) ** 2), hyper, gp.default(2))
        return sum(jax.tree.leaves(off)) / (2 * gp.PRIOR**2) - likelihood(
            hyper, x=data[0], y=data[1], known=KNOWN
        )

    for found, exact in zip(
        slopes(HYPER, x=data[0], y=data[1], known=KNOWN), jax.grad(loss)(HYPER), strict=True
    ):
        np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-3)


def test_masked_rows_do_nothing(data):
    x, y, pool = data
    own = {"x": x, "y": y, "known": KNOWN}
    padded = {
        "x": jnp.concatenate([x, jnp.full((4, 3), 7.0)]),
        "y": jnp.concatenate([y, jnp.full(4, jnp.nan)]),
        "known": jnp.arange(16) < 12,
    }
    for one, other in zip(*(slopes(HYPER, **rows) for rows in (own, padded)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    found = [predicted(conditioned(HYPER, **rows), x=pool) for rows in (own, padded)]
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_nothing_known_is_the_prior(data):
    x, y, pool = data
    given = conditioned(HYPER, x=x, y=y, known=jnp.zeros(12, bool))
    mean, deviation = predicted(given, x=pool)
    np.testing.assert_array_equal(mean, 0)
    prior = np.diag(gp.covariance(HYPER, GROUP, pool, pool))
    np.testing.assert_allclose(deviation**2, prior, rtol=1e-4)


def test_repeated_rows_have_a_posterior(data):
    x, y, _ = data
    given = conditioned(HYPER, x=jnp.repeat(x[:3], 4, axis=0), y=y, known=KNOWN)
    drawn = sampled(jax.random.key(0), given, x=x[jnp.array([0, 0, 1])], count=4)
    assert jnp.isfinite(drawn).all()


def test_draws_are_numbers_where_rounding_leaves_no_positive_matrix(data):
    """As after a fit to a line: the linear variance is large, the posterior's next to nothing."""
    x, y, _ = data
    hyper = HYPER._replace(linear=jnp.float32(9), matern=jnp.float32(-20), noise=jnp.float32(-20))
    given = conditioned(hyper, x=x, y=y, known=KNOWN)
    assert jnp.isfinite(sampled(jax.random.key(0), given, x=jnp.tile(x, (3, 1)), count=4)).all()
