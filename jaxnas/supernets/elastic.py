"""Elastic layers.

They own the weights of the largest size and compute any smaller one under traced sizes.

Masked spelling: a channel beyond the active width is exactly 0 in every activation, because the
norm's scale and shift (or the columns of a kernel without a norm) are masked, which costs one
vector per layer rather than one tensor. Statistics come in as an argument and go out as a value; no
variable is assigned in traced code.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxnas.networks import convolution
from jaxnas.networks.depthwise import depthwise
from jaxnas.networks.norm import Activation, Leaf, Stats, batch_norm, norm_act_of_batch
from jaxnas.networks.subnet import ACTIVATIONS
from jaxnas.types import Size


def kaiming(key, shape: tuple[int, ...], groups: int = 1) -> Float[Array, "..."]:
    """Normal of variance 2 / fan-out (He et al. 2015).

    Of a kernel (*window, c_in // groups, c_out); float32.

    A depthwise convolution has as many groups as channels, so its fan-out is that of the window
    alone.
    """
    *window, _, c_out = shape
    fan_out = math.prod(window) * c_out // groups
    return jax.random.normal(key, shape, jnp.float32) * jnp.sqrt(jnp.float32(2) / fan_out)


def tap_mask(largest: int, kernel: Size) -> Float[Array, "k k 1"]:
    """1 on the central `kernel` x `kernel` taps of a `largest` x `largest` filter."""
    inside = jnp.abs(jnp.arange(largest) - largest // 2) <= kernel // 2
    return (inside[:, None] & inside[None, :])[:, :, None].astype(jnp.float32)


def elastic_kernel(
    arrays: dict[str, Leaf], sizes: tuple[int, ...], kernel: Size
) -> Float[Array, "k k c_in c_out"]:
    """The filter of size `kernel`, one of `sizes`, within the taps of the largest size.

    0 around it.
    """
    largest = jnp.asarray(arrays["kernel"])
    smaller = sizes[:-1]
    if "transform" + str(sizes[0]) not in arrays:
        return largest * tap_mask(sizes[-1], kernel)[..., None]
    found = largest
    for size in smaller[::-1]:
        edge = (sizes[-1] - size) // 2
        padded = jnp.pad(smaller_kernel(arrays, size), ((edge, edge), (edge, edge), (0, 0), (0, 0)))
        found = jnp.where(jnp.equal(kernel, size), padded, found)
    return found


def smaller_kernel(arrays: dict[str, Leaf], size: int) -> Float[Leaf, "k k c_in c_out"]:
    """A filter's centre of `size` taps a side.

    With transforms, each next smaller centre is multiplied by its matrix (Once-for-All).
    """
    kernel = arrays["kernel"]
    transforms = {
        int(name.removeprefix("transform")): matrix
        for name, matrix in arrays.items()
        if name.startswith("transform")
    }
    for step in sorted(
        (s for s in {*transforms, size} if size <= s < kernel.shape[0]), reverse=True
    ):
        edge = (kernel.shape[0] - step) // 2
        kernel = kernel[edge : edge + step, edge : edge + step]
        if step in transforms:
            kernel = (transforms[step] @ kernel.reshape(step * step, -1)).reshape(kernel.shape)
    return kernel


class ConvNorm(nnx.Module):
    """Convolution, batch norm, activation.

    The output width is elastic, and the kernel may be (the centre of the largest).
    """

    def __init__(
        self,
        key,
        c_in: int,
        c_out: int,
        act: str,
        kernel: int = 1,
        stride: int = 1,
        scale: float = 1.0,
    ):
        self.kernel = nnx.Param(kaiming(key, (kernel, kernel, c_in, c_out)))
        self.scale = nnx.Param(jnp.full(c_out, scale, jnp.float32))
        self.shift = nnx.Param(jnp.zeros(c_out, jnp.float32))
        self.stride = stride
        self.act = act

    def __call__(
        self, x: Float[Array, "n h w c"], width: Size, stats: Stats | None, size: Size | None = None
    ) -> tuple[Float[Array, "n ho wo co"], Stats]:
        kernel = self.kernel[...]
        if kernel.shape[0] > 1 and size is not None:
            kernel = kernel * tap_mask(kernel.shape[0], size)[..., None]
        x = convolution.convolution(x, kernel, self.stride)
        return _norm_act(x, self.scale[...], self.shift[...], width, stats, ACTIVATIONS[self.act])


class Depthwise(nnx.Module):
    """Depthwise convolution of elastic kernel size, batch norm, activation.

    A smaller kernel is the centre of the largest, times a learned matrix if `transform`
    (Once-for-All).
    """

    def __init__(
        self, key, channels: int, kernels: tuple[int, ...], stride: int, act: str, transform: bool
    ):
        self.kernel = nnx.Param(
            kaiming(key, (kernels[-1], kernels[-1], 1, channels), groups=channels)
        )
        self.scale = nnx.Param(jnp.ones(channels, jnp.float32))
        self.shift = nnx.Param(jnp.zeros(channels, jnp.float32))
        for size in kernels[:-1] if transform else ():
            setattr(self, f"transform{size}", nnx.Param(jnp.eye(size * size, dtype=jnp.float32)))
        self.kernels = kernels
        self.stride = stride
        self.act = act

    def __call__(
        self, x, kernel: Size, width: Size, stats: Stats | None
    ) -> tuple[Float[Array, "n ho wo c"], Stats]:
        transforms = {
            name: getattr(self, name)[...]
            for size in self.kernels[:-1]
            if hasattr(self, name := f"transform{size}")
        }
        taps = elastic_kernel({"kernel": self.kernel[...], **transforms}, self.kernels, kernel)
        x = depthwise(x, taps[:, :, 0], self.stride)
        return _norm_act(x, self.scale[...], self.shift[...], width, stats, ACTIVATIONS[self.act])


class Conv(nnx.Module):
    """1x1 convolution without norm, its output columns masked beyond `width`."""

    def __init__(self, key, c_in: int, c_out: int, bias: bool = False):
        self.kernel = nnx.Param(kaiming(key, (1, 1, c_in, c_out)))
        self.bias = nnx.Param(jnp.zeros(c_out, jnp.float32)) if bias else None

    def __call__(self, x: Float[Array, "n h w c"], width: Size) -> Float[Array, "n h w co"]:
        live = jnp.arange(self.kernel.shape[-1]) < width
        x = convolution.pointwise(x, jnp.where(live, self.kernel[0, 0], 0))
        return x if self.bias is None else x + jnp.where(live, self.bias[...], 0).astype(x.dtype)


class Shortcut(nnx.Module):
    """A block's way around: 2x2 average pool at stride 2.

    Where the widths differ a 1x1 convolution or, without weights, nothing.
    """

    def __init__(self, key, c_in: int, c_out: int, stride: int, weights: bool):
        self.kernel = nnx.Param(kaiming(key, (1, 1, c_in, c_out))) if weights else None
        self.shape = (c_in, c_out)
        self.stride = stride

    def __call__(
        self, x: Float[Array, "n h w c"], c_in: Size, c_out: Size
    ) -> Float[Array, "n ho wo co"]:
        if self.stride == 2:
            x = convolution.average_pool2(x)
        live = jnp.arange(self.shape[1]) < c_out
        kernel = (
            jnp.zeros(self.shape, x.dtype)
            if self.kernel is None
            else jnp.where(live, self.kernel[0, 0], 0)
        )
        return convolution.pointwise(
            x, jnp.where(jnp.equal(c_in, c_out), jnp.eye(*self.shape, dtype=x.dtype), kernel)
        )


class SqueezeExcite(nnx.Module):
    """Global average, two 1x1 convolutions (ReLU, hard-sigmoid), gate.

    The bottleneck is elastic.
    """

    def __init__(self, key, channels: int, squeezed: int):
        keys = jax.random.split(key)
        self.squeeze = Conv(keys[0], channels, squeezed, bias=True)
        self.excite = Conv(keys[1], squeezed, channels, bias=True)

    def __call__(self, x: Float[Array, "n h w c"], squeezed: Size) -> Float[Array, "n h w c"]:
        gate = jnp.mean(x, (1, 2), keepdims=True)
        gate = jax.nn.relu(self.squeeze(gate, squeezed))
        return x * jax.nn.hard_sigmoid(self.excite(gate, x.shape[-1]))


class Linear(nnx.Module):
    """The classifier; its inputs beyond the active width are 0, so nothing is masked."""

    def __init__(self, key, c_in: int, classes: int):
        self.kernel = nnx.Param(0.01 * jax.random.normal(key, (c_in, classes), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(classes, jnp.float32))

    def __call__(self, x: Float[Array, "n 1 1 c"]) -> Float[Array, "n classes"]:
        return x.reshape(x.shape[0], -1) @ self.kernel[...] + self.bias[...]


def _norm_act(x, scale, shift, width: Size, stats: Stats | None, act: Activation):
    live = jnp.arange(x.shape[-1]) < width
    scale = jnp.where(live, scale, 0)
    shift = jnp.where(live, shift, 0)
    return (
        norm_act_of_batch(x, scale, shift, act)
        if stats is None
        else (act(batch_norm(x, scale, shift, stats)), stats)
    )
