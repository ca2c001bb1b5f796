"""Gradients of parts are averaged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.training.accumulate import accumulated, cut


def test_cut_keeps_every_row_once():
    rows = jnp.arange(24).reshape(12, 2)
    pieces = cut({"rows": rows}, 3)["rows"]
    assert pieces.shape == (3, 4, 2)
    assert sorted(pieces[..., 0].ravel().tolist()) == rows[:, 0].tolist()
    np.testing.assert_array_equal(cut(rows, 1)[0], rows)


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_gradients_and_losses_are_means_over_the_parts(parts):
    rows = jax.random.normal(jax.random.key(0), (8, 3))
    params = {"w": jnp.array([1.0, -2, 3])}

    def loss(params, rows):
        return jnp.mean((rows @ params["w"]) ** 2)

    def gradients(piece, extra, key):
        value, found = jax.value_and_grad(loss)(params, piece)
        return found, extra + 1, (value, jax.random.uniform(key))

    found, extra, (value, noise) = jax.jit(
        lambda key: accumulated(gradients, params, jnp.int32(5), cut(rows, parts), key)
    )(jax.random.key(1))
    assert extra == 5 + parts  # handed from part to part
    np.testing.assert_allclose(found["w"], jax.grad(loss)(params, rows)["w"], rtol=1e-5)
    np.testing.assert_allclose(value, loss(params, rows), rtol=1e-5)
    keys = [jax.random.key(1)] if parts == 1 else jax.random.split(jax.random.key(1), parts)
    # A key each.
    np.testing.assert_allclose(noise, np.mean([jax.random.uniform(key) for key in keys]), rtol=1e-5)
