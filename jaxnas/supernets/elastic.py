"""Elastic layers: they own the weights of the largest size and compute any smaller one under traced sizes.

Masked spelling: a channel beyond the active width is exactly 0 in every activation, because the norm's scale and shift
(or the columns of a kernel without a norm) are masked, which costs one vector per layer rather than one tensor.
Statistics come in as an argument and go out as a value; no variable is assigned in traced code.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxnas.supernets import convolution
from jaxnas.supernets.subnet import Leaf, batch_norm, batch_statistics
from jaxnas.types import Size

Stats = dict[str, Leaf]
Activation = Callable[[Array], Array]


def kaiming(key, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Normal of variance 2 / fan-out (He et al. 2015); the last axis is c_out, depthwise filters have fan-out k * k."""
    *window, c_in, c_out = shape
    fan_out = jnp.prod(jnp.asarray(window, jnp.float32)) * (1 if c_in == 1 else c_out)
    return jax.random.normal(key, shape) * jnp.sqrt(2 / fan_out)


def tap_mask(largest: int, kernel: Size) -> Float[Array, "k k 1"]:
    """1 on the central `kernel` x `kernel` taps of a `largest` x `largest` filter."""
    inside = jnp.abs(jnp.arange(largest) - largest // 2) <= kernel // 2
    return (inside[:, None] & inside[None, :])[:, :, None].astype(jnp.float32)


class ConvNorm(nnx.Module):
    """Convolution (1x1 where `kernel` is 1), batch norm, activation; the output width is elastic."""

    def __init__(self, key, c_in: int, c_out: int, act: Activation, kernel: int = 1, stride: int = 1, scale: float = 1.0):
        self.kernel = nnx.Param(kaiming(key, (kernel, kernel, c_in, c_out)))
        self.scale = nnx.Param(jnp.full(c_out, scale, jnp.float32))
        self.shift = nnx.Param(jnp.zeros(c_out))
        self.stride, self.act = stride, act

    def __call__(self, x: Float[Array, "n h w c"], width: Size, stats: Stats | None) -> tuple[Float[Array, "n ho wo co"], Stats]:
        kernel = self.kernel[...]
        x = convolution.pointwise(x, kernel[0, 0]) if kernel.shape[0] == 1 else convolution.dense(x, kernel, self.stride)
        return _norm_act(x, self.scale[...], self.shift[...], width, stats, self.act)


class Depthwise(nnx.Module):
    """Depthwise convolution of elastic kernel size (the centre of the largest filter), batch norm, activation."""

    def __init__(self, key, channels: int, kernel: int, stride: int, act: Activation):
        self.kernel = nnx.Param(kaiming(key, (kernel, kernel, 1, channels)))
        self.scale = nnx.Param(jnp.ones(channels))
        self.shift = nnx.Param(jnp.zeros(channels))
        self.stride, self.act = stride, act

    def __call__(self, x, kernel: Size, width: Size, stats: Stats | None) -> tuple[Float[Array, "n ho wo c"], Stats]:
        taps = self.kernel[...][:, :, 0] * tap_mask(self.kernel.shape[0], kernel)
        x = convolution.depthwise(x, taps, self.stride)
        return _norm_act(x, self.scale[...], self.shift[...], width, stats, self.act)


class Conv(nnx.Module):
    """1x1 convolution without norm, its output columns masked beyond `width`."""

    def __init__(self, key, c_in: int, c_out: int, bias: bool = False):
        self.kernel = nnx.Param(kaiming(key, (1, 1, c_in, c_out)))
        self.bias = nnx.Param(jnp.zeros(c_out)) if bias else None

    def __call__(self, x: Float[Array, "n h w c"], width: Size) -> Float[Array, "n h w co"]:
        live = jnp.arange(self.kernel.shape[-1]) < width
        x = convolution.pointwise(x, jnp.where(live, self.kernel[0, 0], 0))
        return x if self.bias is None else x + jnp.where(live, self.bias[...], 0)


class Shortcut(nnx.Module):
    """A block's way around: 2x2 average pool at stride 2, a 1x1 convolution where the widths differ, else nothing."""

    def __init__(self, key, c_in: int, c_out: int, stride: int):
        self.kernel = nnx.Param(kaiming(key, (1, 1, c_in, c_out)))
        self.stride = stride

    def __call__(self, x: Float[Array, "n h w c"], c_in: Size, c_out: Size) -> Float[Array, "n ho wo co"]:
        if self.stride == 2:
            x = convolution.average_pool2(x)
        _, _, most_in, most_out = self.kernel.shape
        live = jnp.arange(most_out) < c_out
        kernel = jnp.where(live, self.kernel[0, 0], 0)
        return convolution.pointwise(x, jnp.where(jnp.equal(c_in, c_out), jnp.eye(most_in, most_out), kernel))


class SqueezeExcite(nnx.Module):
    """Global average, two 1x1 convolutions (ReLU, hard-sigmoid), gate; the bottleneck is elastic."""

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
        self.kernel = nnx.Param(0.01 * jax.random.normal(key, (c_in, classes)))
        self.bias = nnx.Param(jnp.zeros(classes))

    def __call__(self, x: Float[Array, "n 1 1 c"]) -> Float[Array, "n classes"]:
        return x.reshape(x.shape[0], -1) @ self.kernel[...] + self.bias[...]


def _norm_act(x, scale, shift, width: Size, stats: Stats | None, act: Activation):
    used = stats if stats is not None else batch_statistics(x)
    live = jnp.arange(x.shape[-1]) < width
    return act(batch_norm(x, jnp.where(live, scale, 0), jnp.where(live, shift, 0), used)), used
