"""The backend's own spellings against `lax.conv`, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxnas.networks import chunks, convolution
from jaxnas.networks.depthwise import depthwise


def convolved(x, kernel, stride, groups=1):
    pad = kernel.shape[0] // 2
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((pad, pad),) * 2,
        dimension_numbers=numbers,
        feature_group_count=groups,
    )


def grouped(x, kernel, stride):
    return convolved(x, kernel[:, :, None], stride, x.shape[-1])


def value_and_gradients(function, x, kernel, stride):
    def loss(x, kernel):
        y = function(x, kernel, stride)
        return jnp.sum(y * jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)), y

    (_, y), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(x, kernel)
    return y, *gradients


def difference(function, sizes, kernel, stride, expected=grouped, channels=(5,)):
    """The largest, relative, over values and gradients.

    All sizes in one program, since compiling is what takes time.
    """
    keys = [jax.random.split(jax.random.key(size)) for size in sizes]
    inputs = [
        (
            jax.random.normal(x, (6, size, size, channels[0])),
            jax.random.normal(w, (kernel, kernel, *channels)),
        )
        for size, (x, w) in zip(sizes, keys, strict=True)
    ]
    ours, theirs = jax.jit(
        lambda inputs: [
            [value_and_gradients(f, x, w, stride) for x, w in inputs] for f in (function, expected)
        ]
    )(inputs)
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    return max(float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b))) for a, b in pairs)


# Up to 4 x 4 the weights' gradient is a matrix product; beyond it, on a CPU, a scan, and elsewhere
# a product for each row of the filter. The kernels in C++ are tested in tests/native.
@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@pytest.mark.parametrize(
    "kernel, stride, sizes",
    [(3, 1, (1, 8, 9)), (3, 2, (2, 7, 8, 9, 12)), (5, 1, (1, 7, 12)), (5, 2, (1, 4, 7, 9, 12))],
)
def test_depthwise_and_its_gradients_equal_grouped_convolution(
    monkeypatch, backend, kernel, stride, sizes
):
    monkeypatch.setattr("jaxnas.networks.depthwise.supports", lambda *_: False)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert difference(depthwise, sizes, kernel, stride) < 1e-5


def test_a_transposed_kernel_is_noticed():
    assert (
        difference(lambda x, w, stride: depthwise(x, w.transpose(1, 0, 2), stride), (8,), 3, 1)
        > 0.1
    )


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@pytest.mark.parametrize(
    "kernel, stride, channels",
    [(3, 1, (3, 7)), (3, 1, (6, 7)), (3, 2, (6, 7)), (5, 2, (8, 5)), (1, 2, (8, 5))],
)
def test_ordinary_convolution_and_its_gradients(monkeypatch, backend, kernel, stride, channels):
    monkeypatch.setattr("jaxnas.networks.convolution.supports", lambda *_: False)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert (
        difference(convolution.convolution, (1, 4, 7, 12), kernel, stride, convolved, channels)
        < 1e-5
    )


@pytest.mark.parametrize("own_kernels, own_images", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("kernel, stride", [(3, 1), (3, 2), (5, 2), (1, 2)])
def test_candidates_of_a_vmap_on_a_gpu_are_no_grouped_convolution(
    monkeypatch, kernel, stride, own_kernels, own_images
):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    axes = (0 if own_images else None, 0 if own_kernels else None)
    x = jax.random.normal(jax.random.key(0), (3, 4, 7, 7, 6) if own_images else (4, 7, 7, 6))
    w = jax.random.normal(
        jax.random.key(1), (3, kernel, kernel, 6, 5) if own_kernels else (kernel, kernel, 6, 5)
    )

    def many(function):
        return jax.jit(jax.vmap(lambda x, w: value_and_gradients(function, x, w, stride), axes))

    for ours, theirs in zip(
        many(convolution.convolution)(x, w), many(convolved)(x, w), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    grouped = "conv_general_dilated" in str(jax.make_jaxpr(many(convolution.convolution))(x, w))
    assert grouped == (not own_kernels)


def test_its_gradients_add_the_parts_of_a_batch(monkeypatch):
    monkeypatch.setattr(chunks, "CACHED", 2 * 12 * 12 * 7)
    assert difference(convolution.convolution, (12,), 3, 1, convolved, (6, 7)) < 1e-5


def test_an_unflipped_kernel_in_the_gradient_is_noticed(monkeypatch):
    monkeypatch.setattr("jaxnas.networks.convolution.supports", lambda *_: False)
    monkeypatch.setattr(convolution, "_dense_cpu", lambda x, kernel, stride: planted(x, kernel))
    assert difference(convolution.convolution, (8,), 3, 1, convolved, (6, 6)) > 0.1


@jax.custom_vjp
def planted(x, kernel):
    return convolved(x, kernel, 1)


planted.defvjp(
    lambda x, kernel: (planted(x, kernel), (x, kernel)),
    lambda known, gradient: (
        convolved(gradient, known[1].swapaxes(2, 3), 1),
        jnp.zeros_like(known[1]),
    ),
)


@pytest.mark.parametrize("size", [4, 7])
def test_average_pool_counts_the_padding_of_odd_sizes(size):
    x = np.asarray(jax.random.normal(jax.random.key(0), (2, size, size, 3)))
    padded = np.pad(x, ((0, 0), (size % 2, size % 2), (size % 2, size % 2), (0, 0)))
    expected = [
        [
            padded[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((1, 2))
            for j in range((size + 1) // 2)
        ]
        for i in range((size + 1) // 2)
    ]
    np.testing.assert_allclose(
        convolution.average_pool2(jnp.asarray(x)),
        np.moveaxis(np.array(expected), 2, 0),
        rtol=1e-5,
        atol=1e-6,
    )
