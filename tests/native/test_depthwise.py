import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxnas.native import library
from jaxnas.networks.depthwise import depthwise

needs_compiler = pytest.mark.skipif(
    library.compiler() is None, reason="there is no C++ compiler on this machine"
)
X, KERNEL, COTANGENT = range(3)  # keys


def grouped(x, kernel, stride):
    pad = kernel.shape[0] // 2
    numbers = ("NHWC", "HWIO", "NHWC")
    channels = x.shape[-1]
    return lax.conv_general_dilated(
        x, kernel[:, :, None], (stride,) * 2, ((pad, pad),) * 2, None, None, numbers, channels
    )


def both(function, x, kernel, stride):
    """The outputs and both gradients, with a cotangent of its own for every output."""
    y, back = jax.vjp(lambda x, kernel: function(x, kernel, stride), x, kernel)
    return y, back(jax.random.normal(jax.random.key(COTANGENT), y.shape))


def difference(ours, theirs):
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    return max(float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b))) for a, b in pairs)


# 40 channels are two whole groups and half of one.
@needs_compiler
@pytest.mark.parametrize("channels", [1, 16, 40])
@pytest.mark.parametrize(
    "size, stride, height, width",
    [(3, 1, 8, 9), (3, 2, 7, 8), (5, 1, 1, 2), (5, 2, 9, 12), (7, 1, 4, 13), (7, 2, 8, 8)],
)
def test_a_kernel_and_its_gradients_equal_grouped_convolution(
    size, stride, height, width, channels
):
    x = jax.random.normal(jax.random.key(X), (3, height, width, channels))
    kernel = jax.random.normal(jax.random.key(KERNEL), (size, size, channels))
    assert library.supports(x, size, stride)
    ours, theirs = (both(function, x, kernel, stride) for function in (depthwise, grouped))
    assert difference(ours, theirs) < 1e-5


@needs_compiler
@pytest.mark.parametrize("own_kernels", [True, False])
def test_candidates_of_a_vmap_have_their_own_kernels_or_share_one(own_kernels):
    x = jax.random.normal(jax.random.key(X), (2, 3, 6, 6, 20))
    kernel = jax.random.normal(jax.random.key(KERNEL), (2, 3, 3, 20))
    kernel = kernel if own_kernels else kernel[0]
    axes = (0, 0 if own_kernels else None)
    together = jax.vmap(lambda x, kernel: both(depthwise, x, kernel, 2), axes)(x, kernel)
    each = [both(grouped, x[i], kernel[i] if own_kernels else kernel, 2) for i in range(2)]
    assert difference(together, jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)) < 1e-5


@needs_compiler
def test_results_repeat_bit_for_bit_whatever_the_threads(tmp_path):
    program = (
        "import sys, jax, numpy as np\n"
        "from jaxnas.networks.depthwise import depthwise\n"
        "x = jax.random.normal(jax.random.key(0), (37, 9, 9, 40))\n"
        "k = jax.random.normal(jax.random.key(1), (5, 5, 40))\n"
        "y, back = jax.vjp(lambda x, k: depthwise(x, k, 2), x, k)\n"
        "np.savez(sys.argv[1], y, *back(y))\n"
    )
    found = []
    for threads in ("true", "false"):
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen={threads}"
        file = tmp_path / f"{threads}.npz"
        variables = os.environ | {"XLA_FLAGS": flags}
        subprocess.run([sys.executable, "-c", program, file], env=variables, check=True)
        with np.load(file) as arrays:
            found.append([arrays[name] for name in arrays.files])
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))
