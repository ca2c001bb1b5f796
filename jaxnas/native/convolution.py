"""Ordinary convolutions by the kernels of convolution.cc."""

from jaxtyping import Array, Float

from jaxnas.native.library import call


def convolved(
    x: Float[Array, "n h w c_in"], kernel: Float[Array, "k k c_in c_out"], stride: int
) -> Float[Array, "n ho wo c_out"]:
    """Faster than XLA's where there are few input channels, as an image has."""
    n, h, w, _ = x.shape
    shape = n, -(-h // stride), -(-w // stride), kernel.shape[-1]
    return call("JaxnasConvolution", shape, x, kernel, stride)


def input_gradient(
    x: Float[Array, "n h w c_in"],
    kernel: Float[Array, "k k c_in c_out"],
    gradient: Float[Array, "n ho wo c_out"],
    stride: int,
) -> Float[Array, "n h w c_in"]:
    """That of the images, whose values do not matter."""
    return call("JaxnasConvolutionInput", x.shape, gradient, kernel.swapaxes(2, 3), stride)


def weight_gradient(
    x: Float[Array, "n h w c_in"],
    kernel: Float[Array, "k k c_in c_out"],
    gradient: Float[Array, "n ho wo c_out"],
    stride: int,
) -> Float[Array, "k k c_in c_out"]:
    """That of the kernel, whose values do not matter."""
    return call("JaxnasConvolutionWeight", kernel.shape, x, gradient, stride)
