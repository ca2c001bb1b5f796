"""Losses, all means over a batch, computed in float32 where the logits have less precision.

`weights` are those of the images in the mean; without them all count alike.
"""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxnas.data.mixing import Labels, Mixed
from jaxnas.networks.chunks import wide

RATIO_CLIP = 5.0  # of the importance ratio in the alpha-divergence


Weights = Float[Array, "n"] | None  # of the images


def hard_loss(
    logits: Float[Array, "n classes"],
    labels: Labels,
    smoothing: float,
    weights: Weights = None,
) -> Float[Array, ""]:
    """Cross-entropy with labels, smoothed (Szegedy et al. 2016); of mixtures, with both."""
    logits = logits.astype(wide(logits.dtype))
    targets = optax.smooth_labels(_shares(labels, logits), smoothing)
    return _mean(optax.softmax_cross_entropy(logits, targets), weights)


def distillation_loss(
    logits: Float[Array, "n classes"], teacher: Float[Array, "n classes"], weights: Weights = None
) -> Float[Array, ""]:
    """Cross-entropy against the teacher's probabilities (temperature 1).

    No gradient flows through these.
    """
    targets = jax.nn.softmax(jax.lax.stop_gradient(teacher).astype(jnp.float32))
    return _mean(optax.softmax_cross_entropy(logits.astype(jnp.float32), targets), weights)


def alpha_loss(
    logits: Float[Array, "n classes"], teacher: Float[Array, "n classes"], weights: Weights = None
) -> Float[Array, ""]:
    """AlphaNet's adaptive divergence from the teacher.

    For each image the larger of alpha = -1 and alpha = 1.

    The one keeps the student from spreading its probability wider than the teacher, the other from
    concentrating it more (Wang et al. 2021, "AlphaNet: Improved Training of Supernets with
    Alpha-Divergence").
    """
    low = alpha_divergence(logits, teacher, -1.0)
    high = alpha_divergence(logits, teacher, 1.0)
    return _mean(jnp.where(low > high, low, high), weights)


def alpha_divergence(
    logits: Float[Array, "n classes"], teacher: Float[Array, "n classes"], alpha: float
) -> Float[Array, "n"]:
    """D(p || q) = sum q ((p / q)^alpha - 1) / (alpha (alpha - 1)) per image.

    Of teacher p and student q; alpha 1 and 0 are its limits.

    The gradient is the paper's estimate -sum q (p / q)^alpha / alpha * grad log q (at alpha 0: -sum
    q log(p / q) * grad log q): the factors before grad log q are constants. The importance ratio,
    (p / q)^alpha, is clipped at 5, in the value as in the gradient; at alpha 1 q cancels out, so
    there is no ratio to clip: the divergence is KL(p || q).
    """
    log_p, log_q = (
        jax.nn.log_softmax(x.astype(jnp.float32)) for x in (jax.lax.stop_gradient(teacher), logits)
    )
    p = jnp.exp(log_p)
    q = jnp.exp(log_q)
    log_ratio = log_p - log_q
    if alpha == 1:
        value = jnp.sum(p * log_ratio, -1)
        weight = p
    elif alpha == 0:
        weight = q * jnp.minimum(log_ratio, jnp.log(RATIO_CLIP))
        value = -jnp.sum(weight, -1)
    else:
        ratio = jnp.minimum(jnp.exp(alpha * log_ratio), RATIO_CLIP)
        value = jnp.sum(q * (ratio - 1), -1) / (alpha * (alpha - 1))
        weight = q * ratio / alpha
    value, weight = jax.lax.stop_gradient((value, weight))
    through = -jnp.sum(weight * log_q, -1)
    # The value of the one, the gradient of the other.
    return value + through - jax.lax.stop_gradient(through)


def _shares(labels: Labels, logits: Array) -> Float[Array, "n classes"]:
    """Of the classes in each image's label."""
    one_hot = partial(jax.nn.one_hot, num_classes=logits.shape[-1], dtype=logits.dtype)
    if not isinstance(labels, Mixed):
        return one_hot(labels)
    share = labels.share[:, None].astype(logits.dtype)
    return share * one_hot(labels.first) + (1 - share) * one_hot(labels.second)


def _mean(losses: Float[Array, "n"], weights: Weights) -> Float[Array, ""]:
    """Of the losses times the weights, whose own mean is 1 over all images, not over a batch."""
    return jnp.mean(losses if weights is None else losses * weights)
