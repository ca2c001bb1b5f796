"""Losses against their formulas in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.training.losses import distillation_loss, hard_loss


@pytest.fixture
def logits():
    return jnp.asarray(3 * np.random.default_rng(0).normal(size=(6, 4)), jnp.float32)


def probabilities(logits):
    exponent = np.exp(np.asarray(logits, np.float64))
    return exponent / exponent.sum(1, keepdims=True)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_hard_loss(logits, smoothing):
    labels = jnp.array([0, 1, 2, 3, 3, 0], jnp.int32)
    targets = (1 - smoothing) * np.eye(4)[labels] + smoothing / 4
    expected = -(targets * np.log(probabilities(logits))).sum(1).mean()
    np.testing.assert_allclose(jax.jit(hard_loss, static_argnums=2)(logits, labels, smoothing), expected, rtol=1e-5)


def test_distillation_loss_and_its_gradients(logits):
    teacher = logits[::-1]
    expected = -(probabilities(teacher) * np.log(probabilities(logits))).sum(1).mean()
    loss, (student_gradient, teacher_gradient) = jax.jit(jax.value_and_grad(distillation_loss, (0, 1)))(logits, teacher)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(student_gradient, (probabilities(logits) - probabilities(teacher)) / 6, atol=1e-6)
    assert not teacher_gradient.any()
