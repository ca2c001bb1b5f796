"""A Gaussian process that traces: fixed shapes, rows that may be masked, a fit of a few steps.

Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006, chapters 2 and 5. It is fitted
and asked inside a compiled search, over a memory of observations that fills up. tinygp and GPJax
are kept libraries, but neither is among this project's dependencies, and neither masks rows.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from jaxnas.types import PRNGKey

Rows = Float[Array, "n features"]
JITTER = 1e-4  # on the diagonal, in mean variances: float32 has 7 digits
LEARNING_RATE = 0.1
PRIOR = 1.5  # standard deviation of the hyperparameters, which are logarithms
LEAST_NOISE = 1e-4


class Hyperparameters(NamedTuple):
    """Logarithms, so that a step of the fit is a factor."""

    weights: Float[Array, "groups"]  # of the squared distances of a group of features
    matern: Float[Array, ""]  # variance
    linear: Float[Array, ""]  # variance
    noise: Float[Array, ""]  # variance


class Conditioned(NamedTuple):
    """A process that has seen its observations."""

    hyper: Hyperparameters
    features: Rows
    known: Bool[Array, "n"]
    factor: Float[Array, "n n"]  # Cholesky's, of the observations' covariance
    weights: Float[Array, "n"]  # the inverse covariance times the targets


def default(groups: int) -> Hyperparameters:
    """Before any fit, for targets of variance 1: the median of the prior."""
    return Hyperparameters(
        jnp.full(groups, -np.log(groups), jnp.float32),
        jnp.float32(np.log(0.7)),
        jnp.float32(np.log(0.3)),
        jnp.float32(np.log(0.02)),
    )


def covariance(
    hyper: Hyperparameters,
    group: Int[np.ndarray, "features"],
    a: Float[Array, "a features"],
    b: Float[Array, "b features"],
) -> Float[Array, "a b"]:
    """Matern 5/2 plus linear, both of features that are weighted by group.

    Features are centred, and scaled so that those of a group have a variance of 1 in all.
    """
    scale = jnp.exp(hyper.weights / 2)[group]
    a = a * scale
    b = b * scale
    product = jnp.matmul(a, b.T, precision="highest")
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * product
    distance = jnp.sqrt(5 * jnp.maximum(squared, 1e-9))
    matern = (1 + distance + distance**2 / 3) * jnp.exp(-distance)
    return jnp.exp(hyper.matern) * matern + jnp.exp(hyper.linear) * product


def _observed(
    hyper: Hyperparameters, group: Int[np.ndarray, "features"], x: Rows, known: Bool[Array, "n"]
) -> Float[Array, "n n"]:
    """The observations' covariance; a masked row is independent of all others."""
    both = known[:, None] & known
    prior = jnp.where(both, covariance(hyper, group, x, x), 0.0)
    variance = jnp.trace(prior) / jnp.maximum(known.sum(), 1)
    noise = jnp.exp(hyper.noise) + LEAST_NOISE + JITTER * variance
    return prior + jnp.diag(jnp.where(known, noise, 1.0))


def conditioned(
    hyper: Hyperparameters,
    group: Int[np.ndarray, "features"],
    x: Rows,
    y: Float[Array, "n"],
    known: Bool[Array, "n"],
) -> Conditioned:
    """The process given the known rows, y of mean 0 and variance 1."""
    factor = jnp.linalg.cholesky(_observed(hyper, group, x, known))
    weights = jax.scipy.linalg.cho_solve((factor, True), jnp.where(known, y, 0.0))
    return Conditioned(hyper, x, known, factor, weights)


def slopes(
    hyper: Hyperparameters,
    group: Int[np.ndarray, "features"],
    x: Rows,
    y: Float[Array, "n"],
    known: Bool[Array, "n"],
) -> Hyperparameters:
    """Of the negative log marginal likelihood (Rasmussen & Williams, equation 2.30) and prior.

    By the trace (Rasmussen & Williams, equation 5.9), which takes half of the time of a gradient
    through the Cholesky factor.
    """
    observed, pull = jax.vjp(lambda hyper: _observed(hyper, group, x, known), hyper)
    factor = jnp.linalg.cholesky(observed)
    inverse = jax.scipy.linalg.cho_solve((factor, True), jnp.eye(len(y), dtype=jnp.float32))
    weights = inverse @ jnp.where(known, y, 0.0)
    (found,) = pull(0.5 * (inverse - jnp.outer(weights, weights)))
    return jax.tree.map(
        lambda slope, value, median: slope + (value - median) / PRIOR**2,
        found,
        hyper,
        default(len(hyper.weights)),
    )


def fitted(
    hyper: Hyperparameters,
    group: Int[np.ndarray, "features"],
    x: Rows,
    y: Float[Array, "n"],
    known: Bool[Array, "n"],
    steps: int,
) -> Hyperparameters:
    """The hyperparameters after some steps of Adam (Kingma & Ba 2015) on the posterior density."""
    adam = optax.adam(LEARNING_RATE, b2=0.99, eps=1e-6)

    def step(carry, _):
        hyper, state = carry
        slope = jax.tree.map(jnp.nan_to_num, slopes(hyper, group, x, y, known))
        updates, state = adam.update(slope, state)
        return (jax.tree.map(jnp.add, hyper, updates), state), None

    return jax.lax.scan(step, (hyper, adam.init(hyper)), length=steps)[0][0]


def _explained(
    given: Conditioned, group: Int[np.ndarray, "features"], x: Float[Array, "m features"]
) -> tuple[Float[Array, "n m"], Float[Array, "n m"]]:
    """Covariance of observations and rows, and a root of what it takes from the rows' variance."""
    cross = covariance(given.hyper, group, given.features, x)
    cross = jnp.where(given.known[:, None], cross, 0.0)
    return cross, jax.scipy.linalg.solve_triangular(given.factor, cross, lower=True)


def predicted(
    given: Conditioned, group: Int[np.ndarray, "features"], x: Float[Array, "m features"]
) -> tuple[Float[Array, "m"], Float[Array, "m"]]:
    """Mean and standard deviation at each row, without noise."""
    cross, explained = _explained(given, group, x)
    own = jnp.exp(given.hyper.matern) + jnp.exp(given.hyper.linear) * (
        x**2 * jnp.exp(given.hyper.weights)[group]
    ).sum(axis=1)
    return given.weights @ cross, jnp.sqrt(jnp.maximum(own - (explained**2).sum(axis=0), 1e-6))


def sampled(
    key: PRNGKey,
    given: Conditioned,
    group: Int[np.ndarray, "features"],
    x: Float[Array, "m features"],
    count: int,
) -> Float[Array, "count m"]:
    """Joint draws from the posterior at these rows."""
    cross, explained = _explained(given, group, x)
    prior = covariance(given.hyper, group, x, x)
    joint = prior - explained.T @ explained
    joint += JITTER * jnp.trace(prior) / len(x) * jnp.eye(len(x), dtype=jnp.float32)
    factor = jnp.linalg.cholesky(joint)
    apart = jnp.diag(jnp.sqrt(jnp.maximum(jnp.diag(joint), 0.0)))
    # Rounding may leave no positive matrix; then the draws of each row are its own.
    factor = jnp.where(jnp.isfinite(factor).all(), factor, apart)
    normal = jax.random.normal(key, (count, len(x)), jnp.float32)
    return given.weights @ cross + normal @ factor.T
