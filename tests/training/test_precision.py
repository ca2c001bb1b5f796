"""bfloat16: what is computed in it, what is not, and that the gradient is nearly the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from jaxnas.networks.subnet import forward
from jaxnas.supernets.supernet import take
from jaxnas.training.losses import hard_loss


@pytest.fixture(scope="module")
def case(little, randomised):
    net = little((12,))
    images = jax.random.normal(jax.random.key(0), (16, 12, 12, 1))
    return net, randomised(net), images, net.space.sample(jax.random.key(1), 1)[0]


def spellings(net, params, genome):
    """The masked and the sliced network."""
    ops = net.ops(net.space.largest)
    return (
        lambda params, images: net.apply(params, images, genome)
    ), lambda params, images: forward(ops, take(params, ops), images)


def products(jaxpr):
    """Types of the first factor of every matrix product and convolution."""
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            found.append(equation.invars[0].aval.dtype.name)
        for inner in jaxprs_in_params(equation.params):
            found += products(inner)
    return found


def test_all_but_the_classifier_is_computed_in_bfloat16_and_statistics_are_not(case):
    net, params, images, genome = case
    for network in spellings(net, params, genome):
        jaxpr = jax.make_jaxpr(network)(params, images.astype(jnp.bfloat16))
        assert len(products(jaxpr.jaxpr)) > 8
        assert set(products(jaxpr.jaxpr)[:-1]) == {"bfloat16"}
        _, stats = jax.eval_shape(network, params, images.astype(jnp.bfloat16))
        assert {leaf.dtype.name for leaf in jax.tree.leaves(stats)} == {"float32"}
        assert set(products(jax.make_jaxpr(network)(params, images).jaxpr)) == {"float32"}


def test_gradients_are_float32_and_nearly_those_of_float32(case):
    net, params, images, genome = case
    labels = jnp.arange(16, dtype=jnp.int32) % 10
    network, _ = spellings(net, params, genome)
    gradient = jax.jit(
        jax.grad(lambda params, images: hard_loss(network(params, images)[0], labels, 0.1))
    )
    full, half = (gradient(params, images.astype(dtype)) for dtype in (jnp.float32, jnp.bfloat16))
    assert {leaf.dtype.name for leaf in jax.tree.leaves(half)} == {"float32"}
    a, b = (
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for tree in (full, half)
    )
    # Not the same, so bfloat16 it was.
    assert 1e-5 < np.linalg.norm(a - b) / np.linalg.norm(a) < 0.1
