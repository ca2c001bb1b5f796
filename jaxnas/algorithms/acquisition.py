"""Which of a pool of candidates to evaluate next: those that promise the most hypervolume.

Hypervolume is what a set of directions reaches from the reference point until the front ends (Deng
& Zhang, IEEE Transactions on Evolutionary Computation 23, 2019, equation 12): of any number of
objectives, and what one more point adds is a subtraction.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxnas.algorithms.indicators import sobol_directions, volume_by_reach


@cache
def directions(objectives: int, count: int) -> Float[np.ndarray, "count objectives"]:
    """Unit vectors without a negative part, spread evenly: angles of two objectives, else Sobol."""
    if objectives == 1:
        return np.ones((1, 1), np.float32)
    if objectives == 2:
        angle = (np.arange(count) + 0.5) * np.pi / (2 * count)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    return sobol_directions(objectives, count, seed=0)


def volumes(
    points: Float[Array, "*n objectives"],
    low: Float[Array, "objectives"],
    reference: Float[Array, "objectives"],
    directions: Float[Array | np.ndarray, "count objectives"],
) -> Float[Array, "*n count"]:
    """What each point dominates below the reference, along each direction.

    As a share of the box from `low` to the reference. The mean over directions is the hypervolume;
    that of several points is the mean of the largest. 0 for a point beyond the reference or NaN.
    """
    m = points.shape[-1]
    wide = jnp.where(reference > low, reference - low, 1.0)
    depth = jnp.nan_to_num(jnp.maximum((reference - points) / wide, 0.0))
    length = jnp.min(depth[..., None, :] / directions, axis=-1)
    return length**m * np.float32(volume_by_reach(m))


def batch(
    promised: Float[Array, "samples pool count"],
    reached: Float[Array, "count"],
    otherwise: Float[Array, "pool"],
    free: Bool[Array, "pool"],
    size: int,
    together: bool = True,
) -> tuple[Int[Array, "size"], Float[Array, "size"]]:
    """Candidates chosen one after another, and what each was to add, in hypervolume.

    Each adds the most to the front and to those chosen before, as a mean over the samples of what
    the pool might be; or, unless `together`, candidate i in sample i alone (Thompson sampling).
    Where nobody adds anything, the least of `otherwise` is next. Only free ones are chosen, each
    once, as long as there are some.

    `promised` and `reached` are `volumes` of the pool and, the largest of them, of the front.
    """
    samples = len(promised)

    def choose(carry, i):
        reached, free = carry
        if together:
            gains = jnp.maximum(promised - reached[:, None], 0.0).mean(axis=(0, 2))
        else:
            gains = jnp.maximum(promised[i % samples] - reached[i % samples], 0.0).mean(axis=1)
        value = jnp.where(gains.max(where=free, initial=0.0) > 0, gains, -otherwise)
        best = jnp.argmax(jnp.where(free, value, -jnp.inf))
        reached = jnp.maximum(reached, promised[:, best])
        return (reached, free.at[best].set(False)), (best, gains[best])

    start = jnp.broadcast_to(reached, (samples, len(reached))), free
    return jax.lax.scan(choose, start, jnp.arange(size, dtype=jnp.int32))[1]
