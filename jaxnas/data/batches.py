"""The order in which an epoch sees its images."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxnas.errors import UserError
from jaxnas.types import PRNGKey


def steps_of_epoch(n: int, batch_size: int) -> int:
    """Whole batches of `n` images; the remainder is dropped."""
    return n // batch_size


def epoch_order(key: PRNGKey, n: int, batch_size: int) -> Int[Array, "steps batch_size"]:
    """A random permutation of `range(n)` cut into whole batches, int32; see `steps_of_epoch`."""
    if not 1 <= batch_size <= n:
        raise UserError(
            f"batch_size must be at least 1 and at most the {n} training images, got {batch_size}: "
            "choose a smaller one"
        )
    steps = steps_of_epoch(n, batch_size)
    return jax.random.permutation(key, jnp.arange(n, dtype=jnp.int32))[
        : steps * batch_size
    ].reshape(steps, batch_size)
