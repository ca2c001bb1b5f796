"""Losses, all means over a batch."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int


def hard_loss(logits: Float[Array, "n classes"], labels: Int[Array, "n"], smoothing: float) -> Float[Array, ""]:
    """Cross-entropy against the labels, smoothed (Szegedy et al. 2016)."""
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), smoothing)
    return jnp.mean(optax.softmax_cross_entropy(logits, targets))


def distillation_loss(logits: Float[Array, "n classes"], teacher: Float[Array, "n classes"]) -> Float[Array, ""]:
    """Cross-entropy against the teacher's probabilities, through which no gradient flows (temperature 1)."""
    return jnp.mean(optax.softmax_cross_entropy(logits, jax.nn.softmax(jax.lax.stop_gradient(teacher))))
