"""The kernels in C++ against `lax.conv`, values and gradients."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from jaxnas.native import library
from jaxnas.native.convolution import convolved, input_gradient, weight_gradient
from jaxnas.networks.convolution import dense

needs_compiler = pytest.mark.skipif(
    library.compiler() is None, reason="there is no C++ compiler on this machine"
)
X, KERNEL, COTANGENT = range(3)  # keys


def expected(x, kernel, stride):
    pad = kernel.shape[0] // 2
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel, (stride,) * 2, ((pad, pad),) * 2, dimension_numbers=numbers
    )


def arrays(height, width, size, channels, lead=()):
    x = jax.random.normal(jax.random.key(X), (*lead, 3, height, width, channels[0]))
    return x, jax.random.normal(jax.random.key(KERNEL), (*lead, size, size, *channels))


def both(function, x, kernel, stride):
    """The outputs and both gradients, with a cotangent of its own for every output."""
    y, back = jax.vjp(lambda x, kernel: function(x, kernel, stride), x, kernel)
    return y, *back(jax.random.normal(jax.random.key(COTANGENT), y.shape))


def kernels(x, kernel, stride):
    y = convolved(x, kernel, stride)
    gradient = jax.random.normal(jax.random.key(COTANGENT), y.shape)
    backward = (function(x, kernel, gradient, stride) for function in GRADIENTS)
    return y, *backward


GRADIENTS = (input_gradient, weight_gradient)


def difference(ours, theirs):
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    return max(float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b))) for a, b in pairs)


# 40 and 72 channels fill whole blocks of registers and a part of one; 3 are an image's.
@needs_compiler
@pytest.mark.parametrize("channels", [(3, 16), (40, 5), (16, 72)])
@pytest.mark.parametrize(
    "size, stride, height, width",
    [(3, 1, 8, 9), (3, 2, 7, 8), (5, 1, 1, 2), (5, 2, 9, 12), (7, 2, 8, 3)],
)
def test_kernels_and_what_uses_them_equal_lax_conv(size, stride, height, width, channels):
    x, kernel = arrays(height, width, size, channels)
    assert library.supports(x, size, stride)
    theirs = both(expected, x, kernel, stride)
    assert difference(kernels(x, kernel, stride), theirs) < 1e-5
    assert difference(both(dense, x, kernel, stride), theirs) < 1e-5


@needs_compiler
def test_candidates_of_a_vmap_have_their_own_kernels():
    x, kernel = arrays(6, 6, 3, (20, 24), lead=(2,))
    together = jax.vmap(lambda x, kernel: both(dense, x, kernel, 2))(x, kernel)
    each = [both(expected, x[i], kernel[i], 2) for i in range(2)]
    assert difference(together, jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)) < 1e-5
