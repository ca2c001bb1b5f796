"""Straight-through Gumbel-softmax (Jang et al., ICLR 2017): one network forward, all backward."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.relaxations.relaxation import Logits, check_temperatures, noise, straight_through
from jaxnas.types import PRNGKey, SoftGenome


@dataclass(frozen=True)
class StraightThrough:
    """One choice of each gene, drawn by its probability.

    Every choice has a gradient, so that all of them are computed.
    """

    temperature: float = 1.0
    """Of the gradient's softmax."""
    momentum: float = 0.5
    weight_decay: float = 1e-3
    hard: ClassVar[bool] = True
    chosen_only: ClassVar[bool] = False

    def __post_init__(self):
        check_temperatures(temperature=self.temperature)

    def ask(self, key: PRNGKey, logits: Logits, progress: Float[Array, ""]) -> SoftGenome:
        noisy = logits + noise(key, logits)
        return straight_through(jnp.argmax(noisy, -1), jax.nn.softmax(noisy / self.temperature))

    def tell(self, before: Logits, after: Logits) -> Logits:
        return after
