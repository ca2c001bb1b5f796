"""The sandwich rule's gradient against its parts, and the optimizer."""

from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnas.supernets.mobilenet import build
from jaxnas.training.losses import distillation_loss, hard_loss
from jaxnas.training.optimizer import sgd
from jaxnas.training.sandwich import sandwich_gradients

SMOOTHING = 0.1


@pytest.fixture(scope="module")
def parts(small_mobilenet, randomised):
    """The sandwich's gradients and losses, and those of its parts, all through the masked network."""
    net = build(small_mobilenet((8,), 1, 4))
    params = randomised(net)
    images, labels = jax.random.normal(jax.random.key(0), (8, 8, 8, 1)), jnp.arange(8, dtype=jnp.int32) % 4
    genomes = net.space.sample(jax.random.key(1), 2)
    sandwich = jax.jit(partial(sandwich_gradients, net, smoothing=SMOOTHING))(params, images, labels, genomes=genomes)

    def logits(params, genome):
        return net.apply(params, images, genome)[0]

    largest, smallest = jnp.asarray(net.space.largest), jnp.asarray(net.space.smallest)
    first = jax.jit(jax.value_and_grad(lambda params: hard_loss(logits(params, largest), labels, SMOOTHING)))(params)
    teacher = jax.jit(logits)(params, largest)
    taught = jax.jit(jax.value_and_grad(lambda params, genome: distillation_loss(logits(params, genome), teacher)))
    return sandwich, [first, taught(params, smallest), *(taught(params, genome) for genome in genomes)]


def difference(found, expected):
    leaves = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    return max(float(jnp.max(jnp.abs(a - b))) for a, b in leaves) / max(float(jnp.max(jnp.abs(b))) for b in jax.tree.leaves(expected))


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


def test_the_optimizer_decays_kernels_only():
    params = {"a": {"kernel": jnp.full(2, 2.0), "bias": jnp.ones(2), "scale": jnp.ones(2)}}
    tx = sgd(0.5, weight_decay=0.1)
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    updated = cast(Any, optax.apply_updates(params, updates))["a"]
    np.testing.assert_allclose(updated["kernel"], 2 - 0.5 * 1.9 * 0.1 * 2, rtol=1e-6)  # Nesterov: 1 + momentum at the first step
    assert (updated["bias"] == 1).all() and (updated["scale"] == 1).all()


def test_the_optimizer_clips_by_value_and_has_nesterov_momentum():
    params, tx = {"bias": jnp.zeros(3)}, sgd(1.0, weight_decay=0.0)
    gradients, state = {"bias": jnp.array([0.5, 7.0, -7.0])}, tx.init(params)
    clipped = np.array([0.5, 1, -1])
    for scale in (1 + 0.9, 1 + 0.9 * 1.9):
        updates, state = tx.update(gradients, state, params)
        np.testing.assert_allclose(cast(Any, updates)["bias"], -scale * clipped, rtol=1e-6)
