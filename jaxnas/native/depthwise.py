"""Depthwise convolutions by the kernels of depthwise.cc.

NHWC float32, "same" padding of kernel // 2; kernels of 3, 5 and 7 and strides of 1 and 2.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnas.native import library

SIZES = (3, 5, 7)
STRIDES = (1, 2)


def supports(x: Array, size: int, stride: int) -> bool:
    """Whether there is a kernel for these images, on this machine.

    Not for a batch that several processes share: XLA would give the whole of it to each.
    """
    return (
        jax.default_backend() == "cpu"
        and x.dtype == jnp.float32
        and size in SIZES
        and stride in STRIDES
        and jax.process_count() == 1
        and library.available()
    )


def convolved(
    x: Float[Array, "n h w c"], kernel: Float[Array, "k k c"], stride: int
) -> Float[Array, "n ho wo c"]:
    """One k x k filter per channel."""
    n, h, w, c = x.shape
    return _call("jaxnas_depthwise", (n, -(-h // stride), -(-w // stride), c), x, kernel, stride)


def gradients(
    x: Float[Array, "n h w c"],
    kernel: Float[Array, "k k c"],
    gradient: Float[Array, "n ho wo c"],
    stride: int,
) -> tuple[Float[Array, "n h w c"], Float[Array, "k k c"]]:
    """Those of the images and of the kernel, from that of the outputs."""
    if stride == 1:
        dx = convolved(gradient, kernel[::-1, ::-1], 1)
    else:
        dx = _call("jaxnas_depthwise_input", x.shape, gradient, kernel, stride)
    return dx, _call("jaxnas_depthwise_weight", kernel.shape, x, gradient, stride)


def _call(name: str, shape: Any, left: Array, right: Array, stride: int) -> Array:
    result = jax.ShapeDtypeStruct(shape, jnp.float32)
    call = jax.ffi.ffi_call(name, result, vmap_method="broadcast_all")
    return call(left, right, stride=np.int64(stride))
