"""DARTS (Liu et al., ICLR 2019): every choice counts by its probability."""

from dataclasses import dataclass
from typing import ClassVar

import jax
from jaxtyping import Array, Float

from jaxnas.relaxations.relaxation import Logits
from jaxnas.types import PRNGKey, SoftGenome


@dataclass(frozen=True)
class Softmax:
    """Mixtures of all choices, without noise."""

    momentum: float = 0.5
    weight_decay: float = 1e-3
    hard: ClassVar[bool] = False
    chosen_only: ClassVar[bool] = False

    def ask(self, key: PRNGKey, logits: Logits, progress: Float[Array, ""]) -> SoftGenome:
        return jax.nn.softmax(logits)

    def tell(self, before: Logits, after: Logits) -> Logits:
        return after
