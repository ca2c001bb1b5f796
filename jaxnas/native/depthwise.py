"""Depthwise convolutions by the kernels of depthwise.cc."""

from jaxtyping import Array, Float

from jaxnas.native.library import call


def convolved(
    x: Float[Array, "n h w c"], kernel: Float[Array, "k k c"], stride: int
) -> Float[Array, "n ho wo c"]:
    """One k x k filter per channel."""
    n, h, w, c = x.shape
    return call("JaxnasDepthwise", (n, -(-h // stride), -(-w // stride), c), x, kernel, stride)


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
        dx = call("JaxnasDepthwiseInput", x.shape, gradient, kernel, stride)
    return dx, call("JaxnasDepthwiseWeight", kernel.shape, x, gradient, stride)
