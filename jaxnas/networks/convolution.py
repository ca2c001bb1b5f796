"""Ordinary convolutions and pooling written for the backend.

NHWC, "same" padding of kernel // 2, in the precision of the images.

Where candidates have kernels of their own, `vmap` makes grouped convolutions of theirs, with which
a generation of `residual` took more than 40 times as long on a GPU (H200) as with matrix products
of patches.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float

from jaxnas.native import convolution as native
from jaxnas.native.library import supports
from jaxnas.networks.chunks import in_parts, row_size, wide
from jaxnas.networks.depthwise import taps, with_gradient

FEW = 4  # channels, of an image


def pointwise(
    x: Float[Array, "n h w c_in"], kernel: Float[Array, "c_in c_out"]
) -> Float[Array, "n h w c_out"]:
    """A 1x1 convolution as one matrix product.

    Faster than `lax.conv` and than a 4-D dot, forward and backward.
    """
    return (x.reshape(-1, x.shape[-1]) @ kernel.astype(x.dtype)).reshape(
        *x.shape[:-1], kernel.shape[-1]
    )


def convolution(
    x: Float[Array, "n h w c_in"], kernel: Float[Array, "k k c_in c_out"], stride: int
) -> Float[Array, "n ho wo c_out"]:
    """An ordinary convolution of any size."""
    return (
        pointwise(x, kernel[0, 0]) if kernel.shape[0] == stride == 1 else dense(x, kernel, stride)
    )


def dense(
    x: Float[Array, "n h w c_in"], kernel: Float[Array, "k k c_in c_out"], stride: int
) -> Float[Array, "n ho wo c_out"]:
    """An ordinary convolution.

    Of an image's few channels one matrix product of patches (on a CPU 5 times faster).
    """
    kernel = kernel.astype(x.dtype)
    few = kernel.shape[2] <= FEW
    if supports(x, len(kernel), stride):
        return (_few_native if few else _dense_native)(x, kernel, stride)
    if few:
        return _from_patches(x, kernel, stride)
    return (
        _dense_cpu(x, kernel, stride)
        if jax.default_backend() == "cpu"
        else _dense_gpu(x, kernel, stride)
    )


def _dense(x, kernel, stride: int):
    pad = kernel.shape[0] // 2
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), ((pad, pad),) * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def average_pool2(x: Float[Array, "n h w c"]) -> Float[Array, "n ho wo c"]:
    """2x2 mean at stride 2.

    An odd size is padded by zeros on every side, which count in the mean.
    """
    pad = ((0, 0), (x.shape[1] % 2,) * 2, (x.shape[2] % 2,) * 2, (0, 0))
    x = jnp.pad(x, pad)
    h = x.shape[1] // 2 * 2
    w = x.shape[2] // 2 * 2
    return (x[:, :h:2, :w:2] + x[:, 1:h:2, :w:2] + x[:, :h:2, 1:w:2] + x[:, 1:h:2, 1:w:2]) / 4


def max_pool2(x: Float[Array, "n h w c"]) -> Float[Array, "n ho wo c"]:
    """2x2 maximum at stride 2; an odd size's last row or column is left out."""
    h = x.shape[1] // 2 * 2
    w = x.shape[2] // 2 * 2
    rows = jnp.maximum(x[:, :h:2, :w], x[:, 1:h:2, :w])
    return jnp.maximum(rows[:, :, ::2], rows[:, :, 1::2])


def _patches(size: int, stride: int, x):
    """What each position of the output sees, tap after tap."""
    return jnp.concatenate(list(taps(x, size, stride)), -1)


def _from_patches(x, kernel, stride: int):
    """As one matrix product."""
    return pointwise(_patches(len(kernel), stride, x), kernel.reshape(-1, kernel.shape[-1]))


def _dense_backward(stride, residuals, gradient):
    """XLA's own gradients are no faster outside of a loop.

    In one they take 5 to 300 times as long.
    """
    x, kernel = residuals
    size, _, c_in, c_out = kernel.shape

    def part(arrays):
        x = arrays[0]
        flat = arrays[1].reshape(-1, c_out)
        products = [
            jnp.matmul(tap.reshape(-1, c_in).T, flat, preferred_element_type=wide(x.dtype))
            for tap in taps(x, size, stride)
        ]
        return jnp.stack(products)

    dkernel = jnp.sum(in_parts(part, (x, gradient), max(row_size(x), row_size(gradient))), 0)
    return _input_gradient(_dense, x, kernel, stride, gradient), dkernel.reshape(
        kernel.shape
    ).astype(kernel.dtype)


def _input_gradient(form, x, kernel, stride: int, gradient):
    """Without a stride this is a convolution itself, computed as `form` does."""
    if stride == 1:
        return form(gradient, kernel[::-1, ::-1].swapaxes(2, 3), 1)
    _, back = jax.vjp(partial(_patches, len(kernel), stride), x)
    c_out = kernel.shape[-1]
    return back(
        (gradient.reshape(-1, c_out) @ kernel.reshape(-1, c_out).T).reshape(*gradient.shape[:3], -1)
    )[0]


def _by_patches_backward(stride, residuals, gradient):
    """The patches are made again.

    Kept, they would take as many times the images' memory as the kernel has taps.
    """
    x, kernel = residuals
    patches = _patches(len(kernel), stride, x)
    flat = gradient.reshape(-1, kernel.shape[-1])
    dkernel = jnp.matmul(
        patches.reshape(len(flat), -1).T, flat, preferred_element_type=wide(x.dtype)
    )
    return _input_gradient(_by_patches, x, kernel, stride, gradient), dkernel.reshape(
        kernel.shape
    ).astype(kernel.dtype)


def _for_own_kernels(function):
    """`function(form, x, kernel, ...)` as a function of arrays.

    `form` is `_by_patches` under a `vmap` over kernels, else `_dense`.
    """

    @custom_vmap
    def one(*arrays):
        return function(_dense, *arrays)

    @one.def_vmap
    def many(_, batched, *arrays):
        form = _by_patches if batched[1] else _dense
        found = jax.vmap(partial(function, form), [0 if each else None for each in batched])(
            *arrays
        )
        return found, jax.tree.map(lambda _: True, found)

    return one


def _dense_or_by_patches(x, kernel, stride: int):
    return _for_own_kernels(lambda form, x, kernel: form(x, kernel, stride))(x, kernel)


def _dense_or_by_patches_backward(stride, residuals, gradient):
    def back(form, x, kernel, gradient):
        return jax.vjp(lambda x, kernel: form(x, kernel, stride), x, kernel)[1](gradient)

    return _for_own_kernels(back)(*residuals, gradient)


def _native_backward(stride, residuals, gradient):
    """With a stride of 1 XLA's own convolution is as fast for the images' gradient."""
    x, kernel = residuals
    if stride == 1:
        dx = _input_gradient(_dense, x, kernel, 1, gradient)
    else:
        dx = native.input_gradient(x, kernel, gradient, stride)
    return dx, native.weight_gradient(x, kernel, gradient, stride)


_dense_cpu = with_gradient(_dense, _dense_backward)
_dense_native = with_gradient(_dense, _native_backward)
_few_native = with_gradient(native.convolved, _native_backward)
_by_patches = with_gradient(_from_patches, _by_patches_backward)
_dense_gpu = with_gradient(_dense_or_by_patches, _dense_or_by_patches_backward)


def grouped(
    x: Float[Array, "n h w c_in"],
    kernel: Float[Array, "k k c_in_g c_out"],
    stride: int,
    groups: int,
) -> Float[Array, "n ho wo c_out"]:
    """A convolution in groups: a batched matrix product for each tap."""
    kernel = kernel.astype(x.dtype)
    size, _, c_in, c_out = kernel.shape
    weights = kernel.reshape(size * size, c_in, groups, c_out // groups)
    views = taps(x, size, stride)
    products = (
        jnp.einsum("nhwgi,igo->nhwgo", view.reshape(*view.shape[:3], groups, c_in), weight)
        for view, weight in zip(views, weights, strict=True)
    )
    y = sum(products, jnp.zeros((), x.dtype))
    return y.reshape(*y.shape[:3], c_out)
