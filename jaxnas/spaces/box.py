"""A continuous space.

What genetic algorithms are compared on, and hyperparameters that are no choices.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.errors import UserError
from jaxnas.types import PRNGKey


@dataclass(frozen=True)
class Box:
    """Every gene is a float32 value from `low` to `high`.

    Genomes are of values, not of choice indices.
    """

    name: str
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self):
        bounds = list(zip(self.low, self.high, strict=False))
        if len(self.low) != len(self.high) or not all(
            -math.inf < low < high < math.inf for low, high in bounds
        ):
            raise UserError(
                f"box {self.name} needs as many low as high values, finite and each below its "
                f"high, got {self.low} and {self.high}"
            )

    @property
    def genes(self) -> tuple[str, ...]:
        """Names."""
        return tuple(f"x{i}" for i in range(len(self.low)))

    def sample(self, key: PRNGKey, n: int) -> Float[Array, "n genes"]:
        """`n` genomes, every gene uniform, independently."""
        low = jnp.asarray(self.low, jnp.float32)
        high = jnp.asarray(self.high, jnp.float32)
        return jax.random.uniform(key, (n, len(self.low)), jnp.float32, low, high)

    def canonical(self, genomes: Float[Array, "*n genes"]) -> Float[Array, "*n genes"]:
        """Genomes as they are: different values are different candidates."""
        return genomes
