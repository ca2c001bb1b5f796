"""What networks cost to run: `Layers`, the traced cost table of many."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jaxnas.networks.op import Op
from jaxnas.networks.operators import OPERATORS

KINDS = tuple(OPERATORS)
CONV, LINEAR, POOL, AVGPOOL2, MUL, ADD, MAXPOOL2, SELECT, CONCAT, IDENTITY = range(10)  # in KINDS
MAXPOOL = KINDS.index("maxpool")
AVGPOOL = KINDS.index("avgpool")
LIMITS = (2**47, 2**29, 2**29)  # multiply-adds, weights and activations of a network


class Layers(NamedTuple):
    """Costs of a network as a struct of arrays, one entry an operator, in order.

    Traced, so a million genomes are one `vmap`.

    `repeat` is 0 for an operator that the network skips. Sizes are those of the output.
    """

    kind: Int[Array, "*n layers"]  # position in KINDS
    height: Int[Array, "*n layers"]
    width: Int[Array, "*n layers"]
    c_in: Int[Array, "*n layers"]
    c_out: Int[Array, "*n layers"]
    kernel: Int[Array, "*n layers"]
    stride: Int[Array, "*n layers"]
    groups: Int[Array, "*n layers"]
    macs: Int[Array, "*n layers"]  # multiply-adds, counted once
    # Weights, biases, and the scale and shift of the norm.
    params: Int[Array, "*n layers"]
    reads: Int[Array, "*n layers"]  # activations of its inputs
    # Activations held while it runs: its inputs, its output, and what is kept for later.
    live: Int[Array, "*n layers"]
    repeat: Int[Array, "*n layers"]


class Costs(NamedTuple):
    """What a network costs on any device; exact integers."""

    macs: Int[Array, "*n"]
    params: Int[Array, "*n"]
    peak_activations: Int[Array, "*n"]


def cost_table(ops: Sequence[Op], height: int, width: int) -> Layers:
    """The costs of one network on images of this size, a row an operator."""
    sizes = _sizes(ops, height, width)
    rows = []
    for op, live in zip(ops, _live(ops, sizes), strict=True):
        reads = sum(sizes[before] for before in op.inputs)
        rows.append(layer(op, reads, live))
    return Layers(*jnp.asarray(np.array(rows, np.int32).T))


def layer(op: Op, reads: Any, live: Any) -> tuple[Any, ...]:
    """A row of `Layers`."""
    sides = op.height, op.width, op.c_in, op.c_out, op.kernel, op.stride, op.groups
    return (kind_number(op.kind), *sides, op.macs, op.params, reads, live, op.repeat)


def kind_number(kind: str) -> int:
    """What stands for a kind in `Layers`."""
    return list(OPERATORS).index(kind)


def peak_of(ops: Sequence[Op], height: int, width: int) -> int:
    """`peak_activations` of one network on images of this size, counted on the host."""
    return max(_live(ops, _sizes(ops, height, width)))


def _sizes(ops: Sequence[Op], height: int, width: int) -> dict[int, int]:
    """Activations of each operator's result, by position; of the image at -1."""
    return {-1: height * width * ops[0].c_in} | {
        i: op.height * op.width * op.c_out for i, op in enumerate(ops)
    }


def _live(ops: Sequence[Op], sizes: dict[int, int]) -> list[int]:
    """Activations held while each operator runs."""
    last_use = {before: i for i, op in enumerate(ops) for before in op.inputs}
    return [
        sizes[i] + sum(sizes[j] for j in range(-1, i) if last_use[j] >= i) for i in range(len(ops))
    ]


def layer_costs(layers: Layers) -> Costs:
    """Costs of each layer by itself, 0 where it is skipped; traced, or of NumPy."""
    there = layers.repeat
    return Costs(there * layers.macs, there * layers.params, (there > 0) * layers.live)


def joined_macs(high, low, most: int):
    """Sums of multiply-adds' higher and lower 16 bits as one: int32, or float32 from 2^31 on."""
    if most < 2**31:
        return (high << 16) + low
    return high.astype(jnp.float32) * 65536 + low.astype(jnp.float32)


def macs(layers: Layers) -> Int[Array, "*n"]:
    """Multiply-adds of the whole network, counted once.

    Exact below 2^31, and 2^31 - 1 from there on: `Space.costs` counts larger networks, too.
    """
    each = layer_costs(layers).macs
    high = jnp.sum(each >> 16, axis=-1)
    low = jnp.sum(each & 0xFFFF, axis=-1)
    over = high + (low >> 16) >= 1 << 15
    return jnp.where(over, 2**31 - 1, (high << 16) + low)


def params(layers: Layers) -> Int[Array, "*n"]:
    """Number of weights, biases, norm scales and shifts."""
    return jnp.sum(layer_costs(layers).params, axis=-1)


def peak_activations(layers: Layers) -> Int[Array, "*n"]:
    """The most activations held at once, over the operators in order of execution.

    While an operator runs, its inputs, its output, and every earlier result that a later operator
    reads are held; the image until its last use. No operator writes over its input; norm and
    activation are part of their convolution.
    """
    return jnp.max(layer_costs(layers).peak_activations, axis=-1)


def weight_bytes(layers: Layers, bytes_per_weight: int = 4) -> Int[Array, "*n"]:
    """Memory of the weights; exact below 2^31."""
    return params(layers) * bytes_per_weight


def peak_activation_bytes(layers: Layers, bytes_per_activation: int = 4) -> Int[Array, "*n"]:
    """The most memory that activations take at once, see `peak_activations`; exact below 2^31."""
    return peak_activations(layers) * bytes_per_activation
