"""What a network costs to run: `Op`, one layer of one network, and `Layers`, the traced cost table of many."""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Int

CONV, LINEAR, POOL, AVGPOOL2, MUL, ADD = range(6)
KINDS = ("conv", "linear", "pool", "avgpool2", "mul", "add")


@dataclass(frozen=True)
class Op:
    """One operator of a network, in order of execution; convolution, norm and activation are one.

    `kind` is one of `KINDS`: `pool` is the global average (N, H, W, C -> N, 1, 1, C), `avgpool2` halves height and
    width (odd sizes round up), `mul` broadcasts its second input, `linear` sees N, 1, 1, C and returns N, C.
    Convolutions pad by kernel // 2 on every side. Sizes are those of the output.
    """

    kind: str
    path: str  # where its weights live in params and stats: "mb2/block1/expand"; "" = none
    inputs: tuple[int, ...]  # positions in the list of operators; -1 is the image
    height: int
    width: int
    c_in: int
    c_out: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    norm: bool = False
    bias: bool = False
    act: str = ""  # "", relu, swish, hard_sigmoid

    @property
    def macs(self) -> int:
        """Multiply-adds of convolutions and linear layers, counted once; the rest count 0, as the papers do."""
        if self.kind not in ("conv", "linear"):
            return 0
        return self.height * self.width * self.c_out * (self.c_in // self.groups) * self.kernel**2

    @property
    def params(self) -> int:
        """Weights, biases, and the scale and shift of the norm (not its statistics)."""
        if self.kind not in ("conv", "linear"):
            return 0
        weights = self.c_out * (self.c_in // self.groups) * self.kernel**2
        return weights + self.c_out * self.bias + 2 * self.c_out * self.norm


class Layers(NamedTuple):
    """Costs of a network as a struct of arrays, one entry a layer; traced, so a million genomes are one `vmap`.

    `repeat` is 0 for a layer that the network skips. Sizes are those of the output; `params` is exact per layer.
    """

    kind: Int[Array, "*n layers"]  # position in KINDS
    height: Int[Array, "*n layers"]
    width: Int[Array, "*n layers"]
    c_in: Int[Array, "*n layers"]
    c_out: Int[Array, "*n layers"]
    kernel: Int[Array, "*n layers"]
    stride: Int[Array, "*n layers"]
    groups: Int[Array, "*n layers"]
    extras: Int[Array, "*n layers"]  # numbers stored per output channel beside the weights: bias 1, norm 2
    repeat: Int[Array, "*n layers"]


def _weights(layers: Layers) -> Int[Array, "*n layers"]:
    return layers.c_out * (layers.c_in // layers.groups) * layers.kernel**2


def macs(layers: Layers) -> Int[Array, "*n"]:
    """Multiply-adds of the whole network, counted once; exact below 2^31."""
    return jnp.sum(layers.repeat * layers.height * layers.width * _weights(layers), axis=-1)


def params(layers: Layers) -> Int[Array, "*n"]:
    """Number of weights, biases, norm scales and shifts."""
    return jnp.sum(layers.repeat * (_weights(layers) + layers.c_out * layers.extras), axis=-1)
