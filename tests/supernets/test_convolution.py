"""The backend's own spellings against `lax.conv`, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxnas.supernets import convolution


def grouped(x, kernel, stride):
    pad = kernel.shape[0] // 2
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel[:, :, None], (stride, stride), ((pad, pad),) * 2, dimension_numbers=numbers, feature_group_count=x.shape[-1]
    )


def value_and_gradients(function, x, kernel, stride):
    def loss(x, kernel):
        y = function(x, kernel, stride)
        return jnp.sum(y * jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)), y

    (_, y), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(x, kernel)
    return y, *gradients


def difference(function, sizes, kernel, stride):
    """The largest, relative, over values and gradients; all sizes in one program, since compiling is what takes time."""
    keys = [jax.random.split(jax.random.key(size)) for size in sizes]
    inputs = [
        (jax.random.normal(x, (6, size, size, 5)), jax.random.normal(w, (kernel, kernel, 5)))
        for size, (x, w) in zip(sizes, keys, strict=True)
    ]
    ours, theirs = jax.jit(lambda inputs: [[value_and_gradients(f, x, w, stride) for x, w in inputs] for f in (function, grouped)])(inputs)
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    return max(float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b))) for a, b in pairs)


# Up to 8 x 8 the weights' gradient is a matrix product, beyond it a scan.
@pytest.mark.parametrize(
    "kernel, stride, sizes", [(3, 1, (1, 8, 9)), (3, 2, (2, 7, 8, 9, 12)), (5, 1, (1, 7, 12)), (5, 2, (1, 4, 7, 9, 12))]
)
def test_depthwise_and_its_gradients_equal_grouped_convolution(kernel, stride, sizes):
    assert difference(convolution.depthwise, sizes, kernel, stride) < 1e-5


def test_a_transposed_kernel_is_noticed():
    assert difference(lambda x, w, stride: convolution.depthwise(x, w.transpose(1, 0, 2), stride), (8,), 3, 1) > 0.1


@pytest.mark.parametrize("size", [4, 7])
def test_average_pool_counts_the_padding_of_odd_sizes(size):
    x = np.asarray(jax.random.normal(jax.random.key(0), (2, size, size, 3)))
    padded = np.pad(x, ((0, 0), (size % 2, size % 2), (size % 2, size % 2), (0, 0)))
    expected = [
        [padded[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((1, 2)) for j in range((size + 1) // 2)] for i in range((size + 1) // 2)
    ]
    np.testing.assert_allclose(convolution.average_pool2(jnp.asarray(x)), np.moveaxis(np.array(expected), 2, 0), rtol=1e-5, atol=1e-6)
