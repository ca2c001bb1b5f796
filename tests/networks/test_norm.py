"""Batch norm with its activation: the written gradient against that of the plain formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.networks import chunks, norm
from jaxnas.networks.norm import EPSILON, norm_act_of_batch
from jaxnas.networks.subnet import ACTIVATIONS

SHAPE = (6, 5, 4, 3)


@pytest.fixture
def several_parts(monkeypatch):
    """Two images of `SHAPE` a part."""
    monkeypatch.setattr(chunks, "CACHED", 2 * 5 * 4 * 3)


def plain(x, scale, shift, act):
    mean = jnp.mean(x, (0, 1, 2))
    var = jnp.var(x, (0, 1, 2))
    return act((x - mean) / jnp.sqrt(var + EPSILON) * scale + shift), {"mean": mean, "var": var}


def arguments():
    keys = jax.random.split(jax.random.key(0), 3)
    offset = jnp.array([0.0, 3.0, -20.0])  # a mean far from 0 beside a channel that has none
    return (
        2 * jax.random.normal(keys[0], SHAPE) + offset,
        jax.random.normal(keys[1], (3,)),
        jax.random.normal(keys[2], (3,)),
    )


def gradients(function, act):
    """Of a loss that reads the result and both statistics."""

    def loss(arrays):
        y, stats = function(*arrays, act)
        return jnp.sum(y * jnp.sin(jnp.arange(y.size)).reshape(y.shape)) + jnp.sum(
            stats["mean"] * stats["var"]
        )

    return jax.grad(loss)(arguments())


def assert_close(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), one, other)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_value_and_gradient_equal_the_plain_formula(several_parts, act):
    assert_close(
        norm_act_of_batch(*arguments(), ACTIVATIONS[act]), plain(*arguments(), ACTIVATIONS[act])
    )
    assert_close(gradients(norm_act_of_batch, ACTIVATIONS[act]), gradients(plain, ACTIVATIONS[act]))


def test_one_part_and_several_agree(several_parts, monkeypatch):
    several = gradients(norm_act_of_batch, ACTIVATIONS["swish"])
    monkeypatch.setattr(chunks, "CACHED", 1 << 18)
    assert_close(several, gradients(norm_act_of_batch, ACTIVATIONS["swish"]))


def test_statistics_of_parts_without_their_spread_are_noticed(several_parts, monkeypatch):
    monkeypatch.setattr(
        norm, "pooled", lambda mean, var: {"mean": jnp.mean(mean, 0), "var": jnp.mean(var, 0)}
    )
    with pytest.raises(AssertionError):
        assert_close(
            norm_act_of_batch(*arguments(), ACTIVATIONS[""]), plain(*arguments(), ACTIVATIONS[""])
        )
