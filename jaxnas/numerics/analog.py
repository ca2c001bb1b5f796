"""Networks whose convolutions and linear layers are computed in analog memory.

Norms are folded into the kernels that tiles hold; biases, activations, poolings, sums of branches
and norms by themselves are digital, float32. What the memory does is behind `InMemory`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable
from zlib import crc32

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

from jaxnas.networks.activations import ACTIVATIONS
from jaxnas.networks.op import Op
from jaxnas.networks.subnet import Arrays, Subnet, fold, operate
from jaxnas.numerics.noise import normals
from jaxnas.types import PRNGKey

MATRIX = ("conv", "linear")  # kinds whose weights are in tiles
DEVIATIONS = 3.0  # of a layer's inputs, to which its converters reach (aihwkit's initial range)


@runtime_checkable
class InMemory(Protocol):
    """Pure functions of a kind of memory; `analog_layer` has them for chips."""

    @property
    def name(self) -> str: ...

    def check_time(self, t: float) -> None:
        """Raises a `UserError` at a time of which nothing is known."""
        ...

    def check(self, op: Op) -> None:
        """Raises a `UserError` where a layer does not fit."""
        ...

    def writes(self, op: Op) -> int:
        """Normal numbers that programming a layer takes."""
        ...

    def reads(self, op: Op) -> int:
        """Those that a read of its cells takes."""
        ...

    def outputs(self, op: Op) -> int:
        """Those that the layer's result for an image takes."""
        ...

    def program(
        self,
        writes: Float[Array, "writes"],
        reads: Float[Array, "times_and_1 reads"],
        op: Op,
        kernel: Array,
        live: Int[Array, ""] | int,
        times: Float[Array, "times"],
    ) -> PyTree:
        """A layer's cells as they are read at each time, a first read for compensation before.

        Channels out from `live` on are not there. Rows of noise may be longer than they need be.
        """
        ...

    def product(
        self, noise: Float[Array, "n m"], op: Op, held: PyTree, x: Array, limit: Float[Array, ""]
    ) -> Array:
        """The layer's result without its bias; inputs beyond the limit are cut."""
        ...


class Held(NamedTuple):
    """A layer that was read: its cells, and the limit of its inputs."""

    read: PyTree
    limit: Float[Array, ""]


class Spread(NamedTuple):
    """Of a tensor: mean, mean square and largest magnitude, over equal parts of a batch."""

    mean: Float[Array, "*n"]
    square: Float[Array, "*n"]
    largest: Float[Array, "*n"]


def spread(x: Float[Array, "..."]) -> Spread:
    """Of one part."""
    return Spread(x.mean(), jnp.square(x).mean(), jnp.abs(x).max())


def input_limit(found: Spread) -> Float[Array, "*n"]:
    """Three standard deviations of the inputs, at most their largest magnitude."""
    variance = jnp.maximum(found.square - jnp.square(found.mean), 0.0)
    limit = jnp.minimum(DEVIATIONS * jnp.sqrt(variance), found.largest)
    return jnp.where(limit > 0, limit, jnp.where(found.largest > 0, found.largest, 1.0))


def keys_of(
    key: PRNGKey, times: Float[Array, "times"]
) -> tuple[Key[Array, "1"], Key[Array, "times_and_1"], Key[Array, "times"]]:
    """Of a programming: of its writing, its reads and their images.

    A time's are its own, whatever other times are asked for.
    """
    write_key, first_key, key = jax.random.split(key, 3)
    codes = jax.lax.bitcast_convert_type(jnp.asarray(times, jnp.float32), jnp.uint32)
    both = jax.vmap(lambda code: jax.random.split(jax.random.fold_in(key, code)))(codes)
    return write_key[None], jnp.concatenate([first_key[None], both[:, 0]]), both[:, 1]


def layer_keys(keys: Key[Array, "n"], paths: Sequence[str]) -> Key[Array, "layers n"]:
    """Each layer's own, by its path: the same in the supernet and in an extracted network."""
    codes = np.array([crc32(path.encode()) for path in paths], np.uint32)
    each = jax.vmap(jax.random.fold_in, (0, None))
    return jax.vmap(each, (None, 0))(keys, codes)


def image_keys(keys: Key[Array, "layers"], numbers: Int[Array, "n"]) -> Key[Array, "layers n"]:
    """A layer's own for each image."""
    each = jax.vmap(jax.random.fold_in, (None, 0))
    return jax.vmap(each, (0, None))(keys, numbers)


def forward(
    memory: InMemory,
    ops: Sequence[Op],
    weights: Arrays,
    held: Mapping[int, Held],
    inputs: Sequence[Array],
    noise: Mapping[int, Float[Array, "n m"]],
) -> Array:
    """The last operator's result: those in `held`, by position, as the memory computes them.

    `ops` are without norms.
    """
    values: list[Array] = []
    for i, op in enumerate(ops):
        read = [inputs[-1 - j] if j < 0 else values[j] for j in op.inputs]
        if i in held:
            layer = held[i]
            x = memory.product(noise[i], op, layer.read, read[0], layer.limit)
            x = x + weights[op.path]["bias"] if op.bias else x
        else:
            x = operate(op, weights, read)
        values.append(ACTIVATIONS[op.act](x))
    return values[-1]


def observed(
    ops: Sequence[Op], layers: Sequence[int], weights: Arrays, inputs: Sequence[Array]
) -> tuple[Array, dict[int, Spread]]:
    """The last result in float32, and of these layers, by position, what their inputs are like."""
    values: list[Array] = []
    found = {}
    for i, op in enumerate(ops):
        read = [inputs[-1 - j] if j < 0 else values[j] for j in op.inputs]
        if i in layers:
            found[i] = spread(read[0])
        values.append(ACTIVATIONS[op.act](operate(op, weights, read)))
    return values[-1], found


def layers_of(ops: Sequence[Op]) -> list[int]:
    """Positions of what is computed in memory; norms by themselves are not yet folded."""
    return [i for i, op in enumerate(ops) if op.kind in MATRIX]


class Programmed(NamedTuple):
    """A network in memory, read at one time or more: digital parts, and layers by position."""

    ops: tuple[Op, ...]
    weights: Arrays
    positions: list[int]
    layers: list[Held]  # cells by time
    keys: Key[Array, "times"]  # of images


def program(
    memory: InMemory,
    key: PRNGKey,
    subnet: Subnet,
    calibration: Float[Array, "n h w c"],
    times: Float[Array, "times"],
) -> Programmed:
    """A plain network with its stored statistics, written into memory once, and read.

    Limits of inputs are those of the calibration images.
    """
    write_keys, read_keys, keys = keys_of(key, times)
    positions = layers_of(subnet.ops)
    folded = fold(subnet)
    ops = folded.ops
    weights = folded.weights
    _, found = observed(ops, positions, weights, (calibration,))
    each = [ops[i] for i in positions]
    paths = [op.path for op in each]
    writes = _noise(layer_keys(write_keys, paths), [memory.writes(op) for op in each])
    reads = _noise(layer_keys(read_keys, paths), [memory.reads(op) for op in each])
    layers = []
    for i, op, write, read in zip(positions, each, writes, reads, strict=True):
        kernel = jnp.asarray(weights[op.path]["kernel"])
        cells = memory.program(write[0], read, op, kernel, op.c_out, times)
        layers.append(Held(cells, input_limit(found[i])))
    return Programmed(ops, weights, positions, layers, keys)


def logits(
    memory: InMemory, network: Programmed, at: int, images: Float[Array, "n h w c"]
) -> Float[Array, "n classes"]:
    """What the network says at one of its times, by position."""
    ops = [network.ops[i] for i in network.positions]
    held = {
        i: Held(jax.tree.map(lambda leaf: leaf[at], layer.read), layer.limit)
        for i, layer in zip(network.positions, network.layers, strict=True)
    }
    keys = layer_keys(network.keys[at][None], [op.path for op in ops])[:, 0]
    numbers = jnp.arange(len(images), dtype=jnp.int32)
    noise = _noise(image_keys(keys, numbers), [memory.outputs(op) for op in ops])
    by_position = dict(zip(network.positions, noise, strict=True))
    return forward(memory, network.ops, network.weights, held, (images,), by_position)


def _noise(keys: Key[Array, "layers n"], counts: Sequence[int]) -> list[Float[Array, "n _"]]:
    return normals(keys, jnp.array(counts, jnp.int32), counts)
