"""GDAS (Dong & Yang, CVPR 2019): a step computes one sampled path, forward and backward."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.relaxations.relaxation import (
    Logits,
    check_temperatures,
    noise,
    of_the_chosen,
    straight_through,
)
from jaxnas.types import PRNGKey, SoftGenome


@dataclass(frozen=True)
class Sampled:
    """One choice of each gene, drawn by its probability; gradients by Gumbel-softmax.

    Of the loss's gradient in the choices' weights only that of the choices taken is known; it
    reaches all logits through the softmax.
    """

    first: float = 10.0
    """Temperature of the gradient's softmax at the beginning."""
    last: float = 0.1
    """At the end; it falls by the same amount a step."""
    momentum: float = 0.5
    weight_decay: float = 1e-3
    hard: ClassVar[bool] = True
    chosen_only: ClassVar[bool] = True

    def __post_init__(self):
        check_temperatures(first=self.first, last=self.last)

    def ask(self, key: PRNGKey, logits: Logits, progress: Float[Array, ""]) -> SoftGenome:
        temperature = self.first + (self.last - self.first) * progress
        noisy = logits + noise(key, logits)
        soft = jax.nn.softmax(noisy / temperature)
        return of_the_chosen(straight_through(jnp.argmax(noisy, -1), soft))

    def tell(self, before: Logits, after: Logits) -> Logits:
        return after
