"""FBNet (Wu et al., CVPR 2019): mixtures by Gumbel-softmax, ever closer to one choice.

Jang et al. and Maddison et al., ICLR 2017, have the distribution.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax
from jaxtyping import Array, Float

from jaxnas.relaxations.relaxation import Logits, check_temperatures, noise
from jaxnas.types import PRNGKey, SoftGenome


@dataclass(frozen=True)
class Gumbel:
    """The softmax of (logits + Gumbel noise) / temperature."""

    first: float = 5.0
    """Temperature at the beginning."""
    last: float = 0.087
    """At the end, 5 exp(-0.045 * 90); between them it falls by the same factor a step."""
    momentum: float = 0.9
    weight_decay: float = 5e-4
    hard: ClassVar[bool] = False
    chosen_only: ClassVar[bool] = False

    def __post_init__(self):
        check_temperatures(first=self.first, last=self.last)

    def ask(self, key: PRNGKey, logits: Logits, progress: Float[Array, ""]) -> SoftGenome:
        temperature = self.first * (self.last / self.first) ** progress
        return jax.nn.softmax((logits + noise(key, logits)) / temperature)

    def tell(self, before: Logits, after: Logits) -> Logits:
        return after
