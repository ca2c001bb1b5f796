"""The sandwich rule's gradient against its parts."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.networks.subnet import forward
from jaxnas.supernets.supernet import take
from jaxnas.training.dropout import drop_rates, make_drop
from jaxnas.training.losses import alpha_loss, distillation_loss, hard_loss
from jaxnas.training.sandwich import sandwich_gradients

SMOOTHING = 0.1


@pytest.fixture(scope="module")
def parts(net, randomised):
    """The sandwich's gradients and losses, and those of its parts.

    All through the masked network.
    """
    params = randomised(net)
    images = jax.random.normal(jax.random.key(0), (8, 8, 8, 1))
    labels = jnp.arange(8, dtype=jnp.int32)
    genomes = net.space.sample(jax.random.key(1), 2)
    sandwich = jax.jit(partial(sandwich_gradients, net, smoothing=SMOOTHING))(
        params, images, labels, genomes=genomes
    )

    def logits(params, genome):
        return net.apply(params, images, genome)[0]

    largest = jnp.asarray(net.space.largest)
    smallest = jnp.asarray(net.space.smallest)
    first = jax.jit(
        jax.value_and_grad(lambda params: hard_loss(logits(params, largest), labels, SMOOTHING))
    )(params)
    teacher = jax.jit(logits)(params, largest)
    taught = jax.jit(
        jax.value_and_grad(
            lambda params, genome: distillation_loss(logits(params, genome), teacher)
        )
    )
    return sandwich, [
        first,
        taught(params, smallest),
        *(taught(params, genome) for genome in genomes),
    ]


def difference(found, expected):
    leaves = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    return max(float(jnp.max(jnp.abs(a - b))) for a, b in leaves) / max(
        float(jnp.max(jnp.abs(b))) for b in jax.tree.leaves(expected)
    )


def test_the_gradient_is_the_sum_of_its_parts(parts):
    (gradients, _), apart = parts
    each = [gradient for _, gradient in apart]
    total = jax.tree.map(lambda *leaves: sum(leaves), *each)
    assert difference(gradients, total) < 1e-4
    for left_out in each:
        assert difference(gradients, jax.tree.map(jnp.subtract, total, left_out)) > 1e-3


def test_the_losses_are_those_of_the_parts(parts):
    (_, losses), ((largest, _), (smallest, _), *random) = parts
    np.testing.assert_allclose(losses.largest, largest, rtol=1e-4)
    np.testing.assert_allclose(losses.smallest, smallest, rtol=1e-4)
    np.testing.assert_allclose(losses.random, np.mean([loss for loss, _ in random]), rtol=1e-4)


def test_another_distillation_and_drop_connect_reach_the_right_networks(net, randomised):
    """The teacher of the others is the largest network as it was dropped.

    They themselves drop nothing.
    """
    params = randomised(net)
    ops = net.ops(net.space.largest)
    rates = drop_rates(net.space, 0.3, 0.9)
    images = jax.random.normal(jax.random.key(0), (8, 8, 8, 1))
    labels = jnp.arange(8, dtype=jnp.int32) % 10
    genomes = net.space.sample(jax.random.key(1), 1)

    @jax.jit
    def run(key):
        drop = make_drop(ops, rates, key)
        return sandwich_gradients(net, params, images, labels, genomes, SMOOTHING, alpha_loss, drop)

    gradients, losses = run(jax.random.key(2))

    drop = make_drop(ops, rates, jax.random.key(2))

    def logits(params, genome, drop=None):
        ops = net.ops(genome)
        return forward(ops, take(params, ops), images, drop=drop)[0]

    @jax.jit
    def total(params):
        teacher = logits(params, net.space.largest, drop)
        taught = [
            alpha_loss(logits(params, genome), teacher)
            for genome in (net.space.smallest, np.asarray(genomes)[0])
        ]
        return hard_loss(teacher, labels, SMOOTHING) + sum(taught), taught

    (_, taught), expected = jax.jit(jax.value_and_grad(total, has_aux=True))(params)
    assert difference(gradients, expected) < 1e-4
    np.testing.assert_allclose([losses.smallest, losses.random], taught, rtol=1e-3)
    assert difference(run(jax.random.key(3))[0], expected) > 1e-2
