"""What a network costs to run.

`Op`, one layer of one network, and `Layers`, the traced cost table of many.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jaxnas.networks.op import CONV, KINDS, LINEAR, Op


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
    # Numbers stored per output channel beside the weights: bias 1, norm 2.
    extras: Int[Array, "*n layers"]
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
        extras = op.bias + 2 * op.norm
        sides = op.height, op.width, op.c_in, op.c_out, op.kernel, op.stride, op.groups
        rows.append(
            (
                KINDS.index(op.kind),
                *sides,
                extras,
                sum(sizes[before] for before in op.inputs),
                live,
                1,
            )
        )
    return Layers(*jnp.asarray(np.array(rows, np.int32).T))


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
    """Costs of each layer by itself, 0 where it is skipped.

    For ints, NumPy and traced columns alike.
    """
    weighted = (layers.kind == CONV) | (layers.kind == LINEAR)
    runs = layers.repeat > 0
    weights = weighted * layers.c_out * (layers.c_in // layers.groups) * layers.kernel**2
    return Costs(
        layers.repeat * layers.height * layers.width * weights,
        layers.repeat * (weights + layers.c_out * layers.extras),
        runs * layers.live,
    )


def macs(layers: Layers) -> Int[Array, "*n"]:
    """Multiply-adds of the whole network, counted once; exact below 2^31."""
    return jnp.sum(layer_costs(layers).macs, axis=-1)


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
