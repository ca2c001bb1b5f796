"""Normal numbers of as many as are needed."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.numerics.noise import BLOCK, normals

MOST = (3 * BLOCK, 10, 0, 2 * BLOCK + 1)
DRAW = jax.jit(normals, static_argnums=2)


def test_rows_are_normal_and_begin_alike_however_long_they_are():
    keys = jax.random.split(jax.random.key(0), (4, 50))
    rows = DRAW(keys, jnp.array([BLOCK + 1, 10, 0, 2 * BLOCK + 1]), MOST)
    assert [row.shape for row in rows] == [(50, 3 * BLOCK), (50, BLOCK), (50, 0), (50, 3 * BLOCK)]
    drawn = np.asarray(rows[3])
    np.testing.assert_allclose([drawn.mean(), drawn.std()], [0, 1], atol=0.01)
    assert len(np.unique(drawn)) > 0.99 * drawn.size  # keys and blocks differ
    first = np.asarray(rows[0])
    assert (first[:, : 2 * BLOCK] != 0).all() and (first[:, 2 * BLOCK :] == 0).all()
    whole = np.asarray(DRAW(keys, jnp.array(MOST), MOST)[0])
    np.testing.assert_array_equal(whole[:, : 2 * BLOCK], first[:, : 2 * BLOCK])
    (alone,) = DRAW(keys[:1, :3], jnp.array([BLOCK]), (BLOCK,))
    np.testing.assert_array_equal(alone, whole[:3, :BLOCK])
