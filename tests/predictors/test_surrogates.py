import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.predictors.surrogates import SURROGATES, Observed

GROUP = np.array([0, 1, 1])
X = np.random.default_rng(0).normal(size=(70, 3)).astype(np.float32)
Y = (X[:, 0] - 0.5 * X[:, 2] + 0.5 * np.sin(3 * X[:, 1])).astype(np.float32)
KNOWN = np.arange(70) < 50


@pytest.fixture(scope="module", params=SURROGATES)
def found(request):
    """What each says of the 20 rows that it has not seen: mean, deviation and draws."""
    surrogate = SURROGATES[request.param]()

    def learnt(key, x, y, known):
        fit_key, sample_key = jax.random.split(key)
        observed = Observed(x, y, known)
        fitted = surrogate.fit(fit_key, GROUP, surrogate.initial(GROUP), observed)
        given = surrogate.given(GROUP, fitted, observed)
        mean, deviation = surrogate.predicted(GROUP, given, x)
        return mean, deviation, surrogate.sampled(sample_key, GROUP, given, x, 400)

    # What masked rows hold must not matter.
    y = np.where(KNOWN, Y, 1e4).astype(np.float32)
    arrays = jax.jit(learnt)(jax.random.key(0), X, y, KNOWN)
    return [np.asarray(array) for array in arrays]


def test_what_was_not_seen_is_predicted(found):
    mean, deviation, _ = found
    assert np.corrcoef(mean[~KNOWN], Y[~KNOWN])[0, 1] > 0.8
    assert (deviation > 0).all() and deviation[KNOWN].mean() < deviation[~KNOWN].mean()


def test_draws_have_that_mean_and_deviation(found):
    mean, deviation, drawn = found
    assert drawn.shape == (400, 70)
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.25 * deviation.max())
    np.testing.assert_allclose(drawn.std(axis=0), deviation, atol=0.25 * deviation.max())


def test_initial_models_have_the_shapes_of_fitted_ones():
    for surrogate in (one() for one in SURROGATES.values()):
        fitted = jax.eval_shape(
            lambda key, surrogate=surrogate: surrogate.fit(
                key,
                GROUP,
                surrogate.initial(GROUP),
                Observed(jnp.asarray(X), jnp.asarray(Y), jnp.asarray(KNOWN)),
            ),
            jax.random.key(0),
        )
        shapes, others = (
            jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), one)
            for one in (fitted, surrogate.initial(GROUP))
        )
        assert shapes == others
