"""ProxylessNAS (Cai et al., ICLR 2019): a step decides between two sampled paths."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.relaxations.relaxation import Logits, noise, straight_through
from jaxnas.types import PRNGKey, SoftGenome


@dataclass(frozen=True)
class BinaryPaths:
    """Two choices of each gene, drawn by their probabilities; one of the two is active.

    The gradient of the two gates is that of the softmax over the two (equation 4).
    """

    momentum: float = 0.0
    """0, for logits that are not drawn stay as they are."""
    weight_decay: float = 0.0
    hard: ClassVar[bool] = True
    chosen_only: ClassVar[bool] = False

    def ask(self, key: PRNGKey, logits: Logits, progress: Float[Array, ""]) -> SoftGenome:
        pair_key, active_key = jax.random.split(key)
        _, drawn = jax.lax.top_k(logits + noise(pair_key, logits), min(2, logits.shape[-1]))
        pair = jax.nn.one_hot(drawn, logits.shape[-1], dtype=logits.dtype).sum(-2) > 0
        two = jnp.where(pair, logits, -jnp.inf)
        active = jnp.argmax(two + noise(active_key, logits), -1)
        return straight_through(active, jax.nn.softmax(two))

    def tell(self, before: Logits, after: Logits) -> Logits:
        """The probability of the choices that moved stays the same together (section 3.2.1)."""
        moved = before != after

        def mass(logits: Logits) -> Float[Array, "genes 1"]:
            return jax.nn.logsumexp(jnp.where(moved, logits, -jnp.inf), -1, keepdims=True)

        return jnp.where(moved, after - (mass(after) - mass(before)), after)
