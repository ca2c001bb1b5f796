"""Noise on weights while they are trained, for chips that multiply in analog memory.

A weight that is programmed into a cell differs from what it should be. Networks that are trained
with such noise lose less (Joshi et al., Nature Communications 11, 2020; Rasch et al., Nature
Communications 14, 2023). The noise is drawn anew in every step and is in its losses alone: the
gradient at the noisy weights changes the clean ones. As chips scale a matrix so that its largest
weight is the largest conductance, noise is a share of that weight, which every step looks up anew.

In a supernet that is the largest of all networks' weights; one that has fewer channels may have a
smaller one. Of a kernel whose smaller sizes have weights of their own each of these has noise.
"""

import math
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnas.errors import UserError
from jaxnas.types import PRNGKey

Weights = TypeVar("Weights")  # nested dictionaries of arrays, those of weights named "kernel..."


@dataclass(frozen=True)
class WeightNoise:
    """What weights have to bear in every step of a training; nothing by default.

    Kernels alone do: chips compute biases and norms apart, in digital numbers.
    """

    deviation: tuple[float, ...] = ()
    """Standard deviation of noise on each weight, drawn anew in every step, in its losses alone; a
    share of the layer's largest weight. One number holds for all weights: 0.06. Several are a
    polynomial in the weight as a share of the largest, from the constant on: 0.0105 0.0786 -0.0469
    is how far the cells of pcm are from their targets when they are programmed."""
    drop: float = 0.0
    """Share of the weights that count as 0 in a step's losses, as those of broken cells do."""
    columns: bool = False
    """The largest weight is that of each output channel, not of the layer: for chips whose columns
    have scales of their own."""
    clip: float = 0.0
    """The largest that a weight may be: after every step those beyond it are set to it. 0: any."""
    clip_deviations: float = 0.0
    """The same in standard deviations of the layer's weights; published with 2. So a few large
    weights do not make the noise of all others large. 0: any."""

    def __post_init__(self):
        deviations = [_polynomial(self.deviation, share) for share in np.linspace(0, 1, 101)]
        if not 0 <= min(deviations) <= max(deviations) <= 1:
            raise UserError(
                "noise.deviation must be from 0 to 1 for weights of any size, shares of the "
                f"largest weight, got {self.deviation}, which is from {min(deviations):.3g} to "
                f"{max(deviations):.3g}: 6 % is 0.06"
            )

    @property
    def noisy(self) -> bool:
        """Whether weights differ in the losses, so that a key is needed."""
        return any(self.deviation) or self.drop > 0

    @property
    def clips(self) -> bool:
        return self.clip > 0 or self.clip_deviations > 0


def noisy(key: PRNGKey, weights: Weights, settings: WeightNoise) -> Weights:
    """The weights as a step's losses see them; gradients pass as if nothing had changed them."""
    if not settings.noisy:
        return weights
    leaves, tree = jax.tree.flatten_with_path(weights)
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(
        tree,
        [
            _noisy_kernel(own, leaf, settings) if _is_kernel(path) else leaf
            for own, (path, leaf) in zip(keys, leaves, strict=True)
        ],
    )


def clipped(weights: Weights, settings: WeightNoise) -> Weights:
    """The weights after a step."""
    if not settings.clips:
        return weights
    return jax.tree.map_with_path(
        lambda path, leaf: _clipped_kernel(leaf, settings) if _is_kernel(path) else leaf, weights
    )


def _is_kernel(path: tuple) -> bool:
    return str(path[-1].key).startswith("kernel")


def _noisy_kernel(key: PRNGKey, kernel: Array, settings: WeightNoise) -> Array:
    noise_key, drop_key = jax.random.split(key)
    seen = kernel
    if any(settings.deviation):
        scale = largest(kernel, settings.columns)
        share = jnp.abs(kernel) / jnp.where(scale > 0, scale, 1)
        deviation = _polynomial(settings.deviation, share) * scale
        seen = kernel + deviation * jax.random.normal(noise_key, kernel.shape, kernel.dtype)
    if settings.drop:
        seen = jnp.where(jax.random.bernoulli(drop_key, settings.drop, kernel.shape), 0, seen)
    return kernel + jax.lax.stop_gradient(seen - kernel)


def largest(kernel: Float[Array, "*window out"], columns: bool) -> Float[Array, "..."]:
    """The largest weight of a layer, or of each output channel."""
    axes = tuple(range(kernel.ndim - 1)) if columns else None
    return jnp.max(jnp.abs(kernel), axis=axes, keepdims=True)


def _polynomial(coefficients: tuple[float, ...], share: Any) -> Any:
    """By Horner's rule, from the constant on."""
    total = 0 * share
    for coefficient in reversed(coefficients):
        total = total * share + coefficient
    return total


def _clipped_kernel(kernel: Array, settings: WeightNoise) -> Array:
    most = settings.clip or math.inf
    if settings.clip_deviations:
        most = jnp.minimum(most, settings.clip_deviations * jnp.std(kernel))
    return jnp.clip(kernel, -most, most)
