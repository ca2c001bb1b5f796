"""Depthwise convolutions written for the backend.

NHWC, "same" padding of kernel // 2, in the precision of the images.

XLA's CPU code for grouped `lax.conv` is 20-30 times slower than shifted multiply-adds, and its
automatic weight gradient of those is slower still. On a GPU grouped `lax.conv` is no slower in most
layers, but choosing its algorithms takes 3 to 7 s for each layer and its gradients (H200), so that
a supernet compiles for minutes. There only the weights' gradient is spelt otherwise than on a CPU.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxnas.native import depthwise as native
from jaxnas.native.library import supports
from jaxnas.networks.chunks import in_parts, joined, row_size, wide

SMALL = 16  # positions of a map
COLUMNS = 7  # whose products are summed in one loop; more were slower


def depthwise(
    x: Float[Array, "n h w c"], kernel: Float[Array, "k k c"], stride: int
) -> Float[Array, "n ho wo c"]:
    """One k x k filter per channel."""
    form = _native if supports(x, len(kernel), stride) else _depthwise
    return form(x, kernel.astype(x.dtype), stride)


def taps(x, size: int, stride: int):
    """The k*k shifted views of the padded input, row by row, each of the output's size."""
    pad = size // 2
    h = x.shape[1]
    w = x.shape[2]
    ho = -(-h // stride)
    wo = -(-w // stride)
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    for i in range(size):
        for j in range(size):
            yield x[
                :, i : i + stride * (ho - 1) + 1 : stride, j : j + stride * (wo - 1) + 1 : stride
            ]


def with_gradient(forward, backward):
    """`forward(x, kernel, stride)` with gradients of its own.

    These are `backward(stride, (x, kernel), gradient)`.
    """
    function = jax.custom_vjp(forward, nondiff_argnums=(2,))
    function.defvjp(lambda x, kernel, stride: (forward(x, kernel, stride), (x, kernel)), backward)
    return function


def _shift_multiply_add(x, kernel, stride: int):
    """The taps' weighted sum, a part of the images at a time.

    The padded input and a loop's neighbours stay out of memory.
    """

    def part(x):
        weights = kernel.reshape(-1, kernel.shape[-1])
        return sum(
            tap * weight for tap, weight in zip(taps(x, len(kernel), stride), weights, strict=True)
        )

    return joined(in_parts(part, x, row_size(x)))


def _depthwise_backward(stride, residuals, gradient):
    x, kernel = residuals
    h = x.shape[1]
    w = x.shape[2]
    ho = gradient.shape[1]
    wo = gradient.shape[2]
    holes = (
        (0, 0, 0),
        (0, h - stride * (ho - 1) - 1, stride - 1),
        (0, w - stride * (wo - 1) - 1, stride - 1),
        (0, 0, 0),
    )
    dx = _shift_multiply_add(
        lax.pad(gradient, jnp.zeros((), gradient.dtype), holes), kernel[::-1, ::-1], 1
    )
    return dx, _weight_gradient(x, gradient, kernel.shape[0], stride).astype(kernel.dtype)


def _weight_gradient(x, gradient, size: int, stride: int):
    """Sum of tap * gradient over images and positions, for every tap and channel, in float32.

    XLA's CPU code for it is 20 times slower.

    Small maps: the products of all pairs of positions are one batched matrix product, of which each
    tap sums some.
    """
    n, h, w, channels = x.shape
    ho = gradient.shape[1]
    wo = gradient.shape[2]
    if h * w <= SMALL:
        x = x.reshape(n, h * w, channels).transpose(2, 1, 0)
        gradient = gradient.reshape(n, ho * wo, channels).transpose(2, 0, 1)
        pairs = jnp.matmul(x, gradient, preferred_element_type=wide(x.dtype)).reshape(channels, -1)
        return (pairs @ _pairs_of_taps(h, w, size, stride)).T.reshape(size, size, channels)
    if jax.default_backend() != "cpu":
        return _weight_gradient_by_rows(x, gradient, size, stride)

    def part(arrays):
        images, gradient = arrays
        padded = jnp.pad(images, ((0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0)))
        return jnp.stack(
            [
                _tap_gradient(padded, gradient, i, j, stride)
                for i in range(size)
                for j in range(size)
            ]
        )

    return jnp.sum(in_parts(part, (x, gradient), row_size(x)), 0).reshape(size, size, channels)


def _weight_gradient_by_rows(x, gradient, size: int, stride: int):
    """The products of all pairs of columns: for each row of the filter one batched matrix product.

    Each tap sums a diagonal.
    """
    n, ho, wo, channels = gradient.shape
    padded = jnp.pad(x, ((0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0)))
    # Beside each other.
    rows = jnp.concatenate(
        [padded[:, i : i + stride * (ho - 1) + 1 : stride] for i in range(size)], 2
    )
    left = rows.transpose(3, 2, 0, 1).reshape(channels, -1, n * ho)
    right = gradient.transpose(3, 0, 1, 2).reshape(channels, n * ho, wo)
    pairs = jnp.matmul(left, right, preferred_element_type=wide(x.dtype)).reshape(
        channels * size, -1
    )
    column, output = np.indices((padded.shape[2], wo)).reshape(2, -1)
    of_tap = (column - stride * output)[:, None] == np.arange(size)
    return (pairs @ of_tap.astype(np.float32)).reshape(channels, size, size).transpose(1, 2, 0)


def _tap_gradient(padded, gradient, i: int, j: int, stride: int):
    """Sum of one tap's products.

    Of a few neighbouring columns in one loop with the products, then of the rest.
    """
    _, ho, wo, channels = gradient.shape
    columns = max(n for n in range(1, COLUMNS + 1) if wo % n == 0)
    rows = slice(i, i + stride * (ho - 1) + 1, stride)
    dtype = wide(gradient.dtype)
    sums = jnp.zeros((), dtype)
    for column in range(columns):
        first = j + stride * column
        tap = padded[:, rows, first : first + stride * (wo - columns) + 1 : stride * columns]
        sums += (tap * gradient[:, :, column::columns]).astype(dtype)
    return jnp.sum(sums.reshape(-1, channels), 0)


def _pairs_of_taps(h: int, w: int, size: int, stride: int) -> np.ndarray:
    """(input position, output position) -> tap: 1 where the tap joins the two.

    float32 (h * w * ho * wo, size * size).
    """
    y, x, yo, xo = np.indices((h, w, -(-h // stride), -(-w // stride)))
    i = y - stride * yo + size // 2
    j = x - stride * xo + size // 2
    tap = np.arange(size)
    joins = (i[..., None, None] == tap[:, None]) & (j[..., None, None] == tap)
    return joins.reshape(-1, size * size).astype(np.float32)


def _native_backward(stride, residuals, gradient):
    x, kernel = residuals
    return native.gradients(x, kernel, gradient, stride)


_depthwise = with_gradient(_shift_multiply_add, _depthwise_backward)
_native = with_gradient(native.convolved, _native_backward)
