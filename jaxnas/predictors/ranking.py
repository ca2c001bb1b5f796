"""Losses of scores that are to come in the order of their targets, the least first.

Each takes scores and targets (n,) and a key, and gives one number; equal targets have no order.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from jaxnas.types import PRNGKey

Scores = Float[Array, "n"]
Targets = Num[Array, "n"]
Loss = Callable[[Scores, Targets, PRNGKey], Float[Array, ""]]

MARGIN = 1.0  # by which the hinge wants scores to differ


def rmse(scores: Scores, targets: Targets, key: PRNGKey) -> Float[Array, ""]:
    """The root of the mean squared error: the scores are to be the targets."""
    return jnp.sqrt(jnp.mean((scores - targets) ** 2) + 1e-12)


def list_mle(scores: Scores, targets: Targets, key: PRNGKey) -> Float[Array, ""]:
    """Minus the log-probability of the targets' order, divided by n (Xia et al., ICML 2008).

    In the model of Plackett and Luce, whose log-weights are the negative scores. Equal targets come
    in an order that is drawn anew with each key.
    """
    order = jnp.lexsort((jax.random.uniform(key, scores.shape), targets))
    weights = -scores[order]
    return jnp.mean(jax.lax.cumlogsumexp(weights, reverse=True) - weights)


def list_mle_between(scores: Scores, targets: Targets, key: PRNGKey) -> Float[Array, ""]:
    """`list_mle` without terms within a tie: each is chosen before all whose targets are greater.

    Draws nothing.
    """
    rivals = (targets > targets[:, None]) | jnp.eye(len(scores), dtype=bool)
    return jnp.mean(jax.nn.logsumexp(-scores, axis=1, where=rivals) + scores)


def hinge(scores: Scores, targets: Targets, key: PRNGKey) -> Float[Array, ""]:
    """Mean over the pairs of different targets of what their scores lack of `MARGIN` in order."""
    ordered = targets[:, None] < targets
    lacks = jnp.maximum(MARGIN - (scores - scores[:, None]), 0)
    return jnp.sum(jnp.where(ordered, lacks, 0)) / jnp.maximum(ordered.sum(), 1)


LOSSES: dict[str, Loss] = {
    "rmse": rmse,
    "list_mle": list_mle,
    "list_mle_between": list_mle_between,
    "hinge": hinge,
}
