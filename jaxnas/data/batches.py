"""The order in which an epoch sees its images."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxnas.errors import UserError
from jaxnas.types import PRNGKey

Order = Int[Array, "steps batch_size"]
DIVISION = 1 << 31  # folded into the key of all epochs; they count from 0


def steps_of_epoch(n: int, batch_size: int) -> int:
    """Whole batches of `n` images; the remainder is dropped."""
    return n // batch_size


def epoch_order(key: PRNGKey, n: int, batch_size: int) -> Order:
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


def divided_order(
    key: PRNGKey, epoch: int, n: int, batch_size: int, share: float
) -> tuple[Order, Order]:
    """An epoch's batches of two parts of `range(n)`, the second of which is this share of it.

    The parts are the same in every epoch. Of each there are as many batches as all `n` fill: a part
    is seen as often as that takes, in another order each time.
    """
    division = jax.random.permutation(jax.random.fold_in(key, DIVISION), n).astype(jnp.int32)
    second = round(share * n)
    keys = jax.random.split(jax.random.fold_in(key, epoch))
    steps = steps_of_epoch(n, batch_size)
    first, other = (
        part[_again_and_again(own, len(part), batch_size, steps)]
        for own, part in zip(keys, (division[second:], division[:second]), strict=True)
    )
    return first, other


def _again_and_again(key: PRNGKey, n: int, batch_size: int, steps: int) -> Order:
    """So many batches of `range(n)`, permutation after permutation."""
    passes = -(-steps // max(steps_of_epoch(n, batch_size), 1))
    orders = [epoch_order(own, n, batch_size) for own in jax.random.split(key, passes)]
    return jnp.concatenate(orders)[:steps]
