"""What a relaxation is: how logits of all choices become the soft genome that a step computes."""

from typing import ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.errors import UserError
from jaxnas.types import PRNGKey, SoftGenome

COLDEST = 1e-6  # temperature; published ones are above 0.01
Logits = Float[Array, "genes choices"]  # minus infinity behind a gene's last choice


@runtime_checkable
class Relaxation(Protocol):
    """A frozen dataclass whose fields are its settings; all of it is pure.

    `hard`: its soft genomes are one-hot, so that the weights are trained on one network a step.
    `chosen_only`: gradients are those of the choices taken, so that one path is enough to compute.
    `momentum` (Adam's first beta) and `weight_decay` are of the logits' optimizer, as published.
    """

    hard: ClassVar[bool]
    chosen_only: ClassVar[bool]

    @property
    def momentum(self) -> float: ...

    @property
    def weight_decay(self) -> float: ...

    def ask(self, key: PRNGKey, logits: Logits, progress: Float[Array, ""]) -> SoftGenome:
        """The soft genome of a step, with a gradient in the logits.

        `progress` goes from 0 to 1 while the architecture is trained.
        """
        ...

    def tell(self, before: Logits, after: Logits) -> Logits:
        """The logits that are kept, of those before and after the optimizer's step."""
        ...


def check_temperatures(**settings: float) -> None:
    """Raises `UserError` at the first of these settings by which logits cannot be divided."""
    for name, value in settings.items():
        if not value >= COLDEST:
            raise UserError(
                f"{name} of a relaxation must be at least {COLDEST:g}, got {value:g}: choose more"
            )


def noise(key: PRNGKey, logits: Logits) -> Logits:
    """Gumbel noise: the largest of logits with it is a sample of their softmax."""
    return jax.random.gumbel(key, logits.shape, logits.dtype)


def straight_through(index: Array, soft: SoftGenome) -> SoftGenome:
    """One-hot at `index`, with the gradient of `soft` (Bengio et al. 2013)."""
    hard = jax.nn.one_hot(index, soft.shape[-1], dtype=soft.dtype)
    return hard + (soft - jax.lax.stop_gradient(soft))


def of_the_chosen(hard: SoftGenome) -> SoftGenome:
    """The same one-hot genome, whose gradient reaches the choices taken alone."""
    return jnp.where(hard > 0, hard, jax.lax.stop_gradient(hard))
