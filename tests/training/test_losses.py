"""Losses against their formulas in numpy, their gradients against finite differences and torch."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.training.losses import (
    RATIO_CLIP,
    alpha_divergence,
    alpha_loss,
    distillation_loss,
    hard_loss,
)

ALPHAS = [-1.0, -0.5, 0.0, 0.5, 1.0, 2.0]


@pytest.fixture
def logits():
    return jnp.asarray(3 * np.random.default_rng(0).normal(size=(6, 4)), jnp.float32)


@pytest.fixture
def teacher():
    return jnp.asarray(3 * np.random.default_rng(1).normal(size=(6, 4)), jnp.float32)


def probabilities(logits):
    exponent = np.exp(np.asarray(logits, np.float64))
    return exponent / exponent.sum(1, keepdims=True)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_hard_loss(logits, smoothing):
    labels = jnp.array([0, 1, 2, 3, 3, 0], jnp.int32)
    targets = (1 - smoothing) * np.eye(4)[labels] + smoothing / 4
    expected = -(targets * np.log(probabilities(logits))).sum(1).mean()
    np.testing.assert_allclose(
        jax.jit(hard_loss, static_argnums=2)(logits, labels, smoothing), expected, rtol=1e-5
    )


def test_distillation_loss_and_its_gradients(logits, teacher):
    expected = -(probabilities(teacher) * np.log(probabilities(logits))).sum(1).mean()
    loss, (student_gradient, teacher_gradient) = jax.jit(
        jax.value_and_grad(distillation_loss, (0, 1))
    )(logits, teacher)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(
        student_gradient, (probabilities(logits) - probabilities(teacher)) / 6, atol=1e-6
    )
    assert not teacher_gradient.any()


def divergence(logits, teacher, alpha, clip=RATIO_CLIP):
    """The definition, float64; at 0 and 1 the two Kullback-Leibler divergences."""
    q = probabilities(logits)
    p = probabilities(teacher)
    if alpha == 1:
        return (p * np.log(p / q)).sum(1)
    if alpha == 0:
        return (q * -np.log(np.minimum(p / q, clip))).sum(1)
    return (q * (np.minimum((p / q) ** alpha, clip) - 1)).sum(1) / (alpha * (alpha - 1))


def estimate(logits, teacher, alpha, clip=RATIO_CLIP):
    """The gradient of -sum w log q with constant weights w, by the chain rule of the softmax."""
    q = probabilities(logits)
    p = probabilities(teacher)
    ratio = (
        p / q
        if alpha == 1
        else np.log(np.minimum(p / q, clip))
        if alpha == 0
        else np.minimum((p / q) ** alpha, clip) / alpha
    )
    return q * (q * ratio).sum(1, keepdims=True) - q * ratio


def differences(logits, teacher, alpha, step=1e-5):
    """Central finite differences of the divergence, unclipped."""
    found = np.zeros(logits.shape)
    for column in range(logits.shape[1]):
        move = step * np.eye(logits.shape[1])[column]
        sides = (
            divergence(np.asarray(logits, np.float64) + sign * move, teacher, alpha, np.inf)
            for sign in (1, -1)
        )
        found[:, column] = np.subtract(*sides) / (2 * step)
    return found


@pytest.mark.parametrize("alpha", ALPHAS)
def test_alpha_divergence_and_its_gradient(logits, teacher, alpha):
    value, back = jax.vjp(jax.jit(partial(alpha_divergence, alpha=alpha)), logits, teacher)
    gradient, teacher_gradient = back(jnp.ones(6))
    np.testing.assert_allclose(value, divergence(logits, teacher, alpha), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradient, estimate(logits, teacher, alpha), rtol=1e-3, atol=1e-5)
    assert not teacher_gradient.any()
    if alpha != 1:  # where the ratio is clipped, and the clip is seen
        assert (
            np.abs(
                estimate(logits, teacher, alpha) - estimate(logits, teacher, alpha, np.inf)
            ).max()
            > 0.03
        )
    wrong = estimate(teacher, logits, alpha)  # teacher and student exchanged
    assert np.abs(np.asarray(gradient) - wrong).max() > 0.1


@pytest.mark.parametrize("alpha", ALPHAS)
def test_unclipped_the_estimate_is_the_gradient_of_the_divergence(logits, teacher, alpha):
    student = logits / 12
    teacher = teacher / 12
    ratio = probabilities(teacher) / probabilities(student)
    assert ratio.max() < RATIO_CLIP**0.5 and ratio.min() > RATIO_CLIP**-0.5
    gradient = jax.grad(lambda logits: alpha_divergence(logits, teacher, alpha).sum())(student)
    expected = differences(student, teacher, alpha)
    np.testing.assert_allclose(gradient, expected, atol=2e-6)
    # The weights are constants: were the gradient to flow through them too, this would be seen.
    if alpha not in (0, 1):

        def attached(logits):
            log_q = jax.nn.log_softmax(logits)
            return -jnp.sum(
                jnp.exp(log_q + alpha * (jax.nn.log_softmax(teacher) - log_q)) / alpha * log_q
            )

        assert np.abs(np.asarray(jax.grad(attached)(student)) - expected).max() > 1e-2


def test_the_larger_divergence_counts_for_each_image(logits, teacher):
    logits = logits.at[3:].multiply(0.1)  # one half of the students too sure, one half too vague
    low, high = (divergence(logits, teacher, alpha) for alpha in (-1.0, 1.0))
    assert 0 < (low > high).sum() < 6
    loss, gradient = jax.jit(jax.value_and_grad(alpha_loss))(logits, teacher)
    np.testing.assert_allclose(loss, np.maximum(low, high).mean(), rtol=1e-4)
    each = [estimate(logits, teacher, alpha) / 6 for alpha in (-1.0, 1.0)]
    np.testing.assert_allclose(
        gradient, np.where((low > high)[:, None], *each), rtol=1e-3, atol=1e-6
    )
    for whole_batch in each:
        assert np.abs(np.asarray(gradient) - whole_batch).max() > 1e-2


def test_alpha_loss_is_finite_where_probabilities_vanish():
    logits = jnp.array([[200.0, 0, -200], [0, 0, 0]])
    teacher = jnp.array([[-200.0, 200, 0], [0, 0, 0]])
    loss, gradient = jax.jit(jax.value_and_grad(alpha_loss))(logits, teacher)
    assert np.isfinite(loss) and np.isfinite(gradient).all()
    assert not gradient[1].any()  # the same distribution


def test_alpha_loss_against_torch(logits, teacher):
    torch = pytest.importorskip("torch")
    student = torch.tensor(np.array(logits), requires_grad=True)
    log_q = torch.log_softmax(student, 1)
    p = torch.softmax(torch.tensor(np.array(teacher)), 1)
    q = log_q.exp().detach()
    inverse = torch.clamp(q / p, max=RATIO_CLIP)
    values = (q * (inverse - 1)).sum(1) / 2, (p * (p / q).log()).sum(1)
    surrogates = (q * inverse * log_q).sum(1), -(p * log_q).sum(1)
    torch.where(values[0] > values[1], *surrogates).mean().backward()
    gradient = jax.grad(alpha_loss)(logits, teacher)
    np.testing.assert_allclose(gradient, student.grad.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "loss",
    [
        distillation_loss,
        alpha_loss,
        lambda x, y: hard_loss(x, jnp.arange(6, dtype=jnp.int32) % 4, 0.1),
    ],
)
def test_losses_of_bfloat16_logits_are_float32(logits, teacher, loss):
    logits = logits.astype(jnp.bfloat16)
    teacher = teacher.astype(jnp.bfloat16)
    found = jax.jit(loss)(logits, teacher)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(
        found, loss(logits.astype(jnp.float32), teacher.astype(jnp.float32)), rtol=1e-5
    )
