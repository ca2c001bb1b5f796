"""Normal numbers of as many as a genome needs, drawn in a loop outside of its switches.

A generator of random numbers in each branch would compile for minutes.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

BLOCK = 1024  # numbers that one step of the loop draws by each key


def normals(
    keys: Key[Array, "layers n"], needs: Int[Array, "layers"], most: Sequence[int]
) -> list[Float[Array, "n _"]]:
    """Of each layer, by each of its keys, the first `needs` numbers of a row of at least `most`.

    Those behind are 0. A row begins with the same numbers however long it is.
    """
    blocks = np.array([-(-count // BLOCK) for count in most], np.int32)
    starts = np.append(0, np.cumsum(blocks)).astype(np.int32)
    wanted = -(-jnp.asarray(needs, jnp.int32) // BLOCK)
    ends = jnp.cumsum(wanted, dtype=jnp.int32)

    def step(i, rows):
        layer = jnp.searchsorted(ends, i, side="right").astype(jnp.int32)
        block = i - (ends[layer] - wanted[layer])
        at = jnp.asarray(starts)[layer] + block
        return jax.lax.dynamic_update_slice(rows, _drawn(keys[layer], block)[:, None], (0, at, 0))

    rows = jnp.zeros((keys.shape[1], int(starts[-1]), BLOCK), jnp.float32)
    rows = jax.lax.fori_loop(0, ends[-1], step, rows)
    each = jnp.split(rows, starts[1:-1], axis=1)
    return [layer.reshape(len(layer), -1) for layer in each]


def _drawn(keys: Key[Array, "n"], block: Int[Array, ""]) -> Float[Array, "n block"]:
    def row(key):
        return jax.random.normal(jax.random.fold_in(key, block), (BLOCK,), jnp.float32)

    return jax.vmap(row)(keys)
