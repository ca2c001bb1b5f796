import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.data.batches import epoch_order
from jaxnas.errors import UserError

order = jax.jit(epoch_order, static_argnums=(1, 2))


@pytest.mark.parametrize(
    ("n", "batch_size", "steps"), [(10, 3, 3), (10, 5, 2), (10, 10, 1), (7, 1, 7)]
)
def test_an_epoch_sees_each_image_at_most_once(n, batch_size, steps):
    batches = np.asarray(order(jax.random.key(0), n, batch_size))
    assert batches.shape == (steps, batch_size)
    assert batches.dtype == jnp.int32
    assert len(set(batches.ravel().tolist())) == steps * batch_size
    assert set(batches.ravel().tolist()) <= set(range(n))


def test_epochs_differ_and_leave_out_different_images():
    epochs = [np.asarray(order(jax.random.key(seed), 10, 4)) for seed in range(20)]
    assert len({epoch.tobytes() for epoch in epochs}) == 20
    left_out = set().union(*(set(range(10)) - set(epoch.ravel().tolist()) for epoch in epochs))
    assert left_out == set(range(10))


@pytest.mark.parametrize("batch_size", [0, 11])
def test_a_batch_larger_than_the_data_is_an_error(batch_size):
    with pytest.raises(UserError, match=f"at most the 10 training images, got {batch_size}"):
        epoch_order(jax.random.key(0), 10, batch_size)
