"""The moving average of weights, against NumPy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.training import averaging


def test_the_first_weights_are_forgotten_and_later_steps_keep_their_share():
    steps = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    start = {"kernel": jnp.full(3, 100.0)}

    @jax.jit
    def run(start, steps):
        def one(average, numbered):
            step, weights = numbered
            return averaging.moved(0.9, average, {"kernel": weights}, step), average["kernel"]

        numbers = jnp.arange(len(steps), dtype=jnp.int32)
        return jax.lax.scan(one, averaging.begun(0.9, start), (numbers, steps))

    found, on_the_way = run(start, jnp.asarray(steps))
    expected = np.full(3, 100.0)
    for step, weights in enumerate(steps):
        np.testing.assert_allclose(on_the_way[step], expected, rtol=1e-4, atol=1e-5)
        kept = min(0.9, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * weights
    np.testing.assert_allclose(found["kernel"], expected, rtol=1e-4, atol=1e-5)
    assert np.abs(found["kernel"]).max() < 2  # nothing is left of 100


def test_no_decay_keeps_nothing_and_the_weights_are_what_counts():
    weights = {"a": {"kernel": jnp.ones(2)}}
    average = averaging.begun(0.0, weights)
    assert average == () and averaging.moved(0.0, average, weights, jnp.int32(3)) == ()
    assert averaging.evaluated(weights, average) is weights


def test_an_average_is_a_copy_and_is_what_counts():
    weights = {"a": {"kernel": jnp.ones(2)}}
    average = averaging.begun(0.5, weights)
    assert averaging.evaluated(weights, average) is average
    assert average["a"]["kernel"] is not weights["a"]["kernel"]


@pytest.mark.parametrize("decay", [0.999, 0.5])
def test_under_64_bit_jax_it_stays_float32(decay):
    with jax.enable_x64(True):
        weights = {"kernel": jnp.ones(2, jnp.float32)}
        average = averaging.begun(decay, weights)
        found = jax.eval_shape(
            lambda average, weights: averaging.moved(decay, average, weights, jnp.int32(3)),
            average,
            weights,
        )
        assert found["kernel"].dtype == jnp.float32
