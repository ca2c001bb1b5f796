"""Int8 networks, as ONNX Runtime's static quantisation (export/int8.py) makes them.

Weights are rounded per output channel, to 255 levels around 0; activations per tensor, to 256
levels of the range that they had on the calibration images. Sums stay exact, as int32 sums are.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.networks.norm import Leaf
from jaxnas.networks.op import Op
from jaxnas.networks.operators.operator import Weights
from jaxnas.numerics.numerics import Range

KEPT = ("avgpool", "maxpool", "avgpool2", "maxpool2", "select", "shift", "flatten")


@dataclass(frozen=True)
class Int8:
    """`Numerics` of 8 bits."""

    name: str = "int8"
    exact: bool = False

    def weights(self, op: Op, arrays: Weights) -> Weights:
        """The kernel rounded; the bias is an int32 there, and exact here."""
        if "kernel" not in arrays:
            return arrays
        return arrays | {"kernel": rounded_weights(arrays["kernel"])}

    def tensor(self, x: Float[Array, "..."], limits: Range) -> Float[Array, "..."]:
        """Activations at the 256 levels of the range."""
        return rounded(x, limits)

    def fuses(self, act: str) -> bool:
        """Relu and relu6 are part of their convolution."""
        return act in ("", "relu", "relu6")

    def keeps(self, kind: str) -> bool:
        """What pools over windows or cuts out has the scale of what it reads."""
        return kind in KEPT


def rounded(x: Float[Array, "..."], limits: Range) -> Float[Array, "..."]:
    """Activations at the 256 levels from the least to the most, one of which is 0.

    Those beyond are clipped.
    """
    least = jnp.minimum(limits[0], 0)
    most = jnp.maximum(limits[1], 0)
    step = jnp.where(most > least, (most - least) / 255, 1)
    zero = jnp.round(-least / step)
    return (jnp.clip(jnp.round(x / step) + zero, 0, 255) - zero) * step


def rounded_weights(kernel: Float[Leaf, "... c_out"]) -> Float[Array, "... c_out"]:
    """Weights at 255 levels around 0, the outer ones the largest of each output channel."""
    largest = jnp.abs(jnp.asarray(kernel)).max(axis=tuple(range(kernel.ndim - 1)))
    step = jnp.where(largest > 0, largest / 127, 1)
    return jnp.round(kernel / step) * step
