"""Matrix products on tiles of analog memory: programming, what weights are later, the product.

Equations are those of aihwkit 1.2.0's inference tiles; Rasch et al. ("Hardware-aware training for
large-scale and diverse deep learning inference workloads using in-memory computing-based
accelerators", Nature Communications 14, 2023) describe them. All functions are pure and trace. Two
things differ: both conductances of a pair are kept, of which aihwkit keeps the difference, and
weights are not scaled again after programming.
"""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.hardware.analog_cell import Cell
from jaxnas.types import PRNGKey

G_RATIO = 1 / (0.35 * 5e-6)  # of a wire segment's conductance to a cell's largest
IR_DROP = (0.0, 0.5, -0.2, 0.05)  # coefficients of the load, from the constant on
LEAST_RESPONSE = 1e-4  # by which a compensation may divide
NONE, TILE, COLUMN, EXACT = COMPENSATIONS = ("none", "tile", "column", "exact")
SCALINGS = (TILE, COLUMN)
Tiles = Float[Array, "across down rows columns"]
Time = Float[Array, ""] | float


@runtime_checkable
class Tiled(Protocol):
    """What a product depends on; `AnalogChip` has it."""

    @property
    def cell(self) -> Cell: ...
    @property
    def tile_rows(self) -> int: ...
    @property
    def tile_columns(self) -> int: ...
    @property
    def scaling(self) -> str: ...
    @property
    def compensation(self) -> str: ...
    @property
    def input_bits(self) -> int: ...
    @property
    def output_bits(self) -> int: ...
    @property
    def output_bound(self) -> float: ...
    @property
    def output_noise(self) -> float: ...
    @property
    def short_term_noise(self) -> float: ...
    @property
    def ir_drop(self) -> float: ...


class Shape(NamedTuple):
    """Of a matrix on tiles that are as equal as may be: the last row and column of tiles may have
    fewer."""

    inputs: int
    outputs: int
    across: int  # tiles that share the inputs
    down: int  # tiles that share the outputs
    rows: int
    columns: int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """Programmed cells: targets in microsiemens, positive and negative, and what each cell drew."""

    shape: Shape = field(metadata={"static": True})
    target: Float[Array, "2 across down rows columns"]
    normal: Float[Array, "2 across down rows columns"]  # of the programming
    exponent: Float[Array, "2 across down rows columns"]  # of the drift
    scale: Float[Array, "across down columns"]  # digital: the weight at the largest conductance
    response: Float[Array, "across down columns"]  # to which a compensation returns


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Read:
    """Weights at one time: `weights` as shares of the largest, `factor` digital, per column."""

    shape: Shape = field(metadata={"static": True})
    weights: Tiles
    factor: Float[Array, "across down columns"]  # scale and compensation


def shape_of(chip: Tiled, inputs: int, outputs: int) -> Shape:
    """The tiles that a matrix takes."""
    across = -(-inputs // chip.tile_rows)
    down = -(-outputs // chip.tile_columns)
    return Shape(inputs, outputs, across, down, -(-inputs // across), -(-outputs // down))


def tiled(shape: Shape, weights: Float[Array, "inputs outputs"]) -> Tiles:
    """The matrix on tiles, with zeros where a tile has no weights."""
    rows = shape.across * shape.rows - shape.inputs
    columns = shape.down * shape.columns - shape.outputs
    padded = jnp.pad(jnp.asarray(weights, jnp.float32), ((0, rows), (0, columns)))
    split = padded.reshape(shape.across, shape.rows, shape.down, shape.columns)
    return split.transpose(0, 2, 1, 3)


def program(chip: Tiled, key: PRNGKey, weights: Float[Array, "inputs outputs"]) -> State:
    """Writes a matrix, and reads out how its tiles respond."""
    normal_key, exponent_key, response_key = jax.random.split(key, 3)
    shape = shape_of(chip, *weights.shape)
    split = tiled(shape, weights)
    scale = _largest(chip, split)
    shares = split / scale
    target = chip.cell.g_max * jnp.clip(jnp.stack([shares, -shares]), 0.0, 1.0)
    normal = jax.random.normal(normal_key, target.shape, jnp.float32)
    drawn = jax.random.normal(exponent_key, target.shape, jnp.float32)
    exponent = chip.cell.exponent(target, drawn)
    by_column = jnp.broadcast_to(scale[:, :, 0], (*split.shape[:2], shape.columns))
    state = State(shape, target, normal, exponent, by_column, jnp.ones_like(by_column))
    return _with_response(chip, response_key, state, shares)


def _largest(chip: Tiled, split: Tiles) -> Float[Array, "across down 1 columns_or_1"]:
    axes = (2,) if chip.scaling == COLUMN else (2, 3)
    largest = jnp.abs(split).max(axis=axes, keepdims=True)
    return jnp.where(largest > 0, largest, 1.0)


def _with_response(chip: Tiled, key: PRNGKey, state: State, shares: Tiles) -> State:
    """The state with the response that later ones are compared with."""
    if chip.compensation == NONE:
        return state
    first = chip.cell.times_s[0] if chip.cell.times_s else 0.0
    read_key, key = jax.random.split(key)
    seen = shares if chip.compensation == EXACT else weights_of(chip, read_key, state, first)
    response = (
        _mean(chip, state.shape, jnp.abs(seen))
        if chip.compensation == EXACT
        else response_of(chip, key, state.shape, seen)
    )
    parts = (state.target, state.normal, state.exponent, state.scale)
    return State(state.shape, *parts, response)


def weights_of(chip: Tiled, key: PRNGKey, state: State, t: Time) -> Tiles:
    """What the cells hold when they are read `t` seconds after programming, as shares."""
    cell = chip.cell
    t = jnp.asarray(t, jnp.float32)
    programmed = cell.programmed(state.target, state.normal, t)
    drifted = cell.drifted(programmed, state.exponent, t)
    noise = jax.random.normal(key, drifted.shape, jnp.float32)
    held = jnp.maximum(drifted + cell.read_noise(programmed, drifted, t) * noise, 0.0)
    return (held[0] - held[1]) / cell.g_max


def read(chip: Tiled, key: PRNGKey, state: State, t: Time) -> Read:
    """The weights `t` seconds after programming, and the digital factors that go with them."""
    weights_key, response_key = jax.random.split(key)
    weights = weights_of(chip, weights_key, state, t)
    factor = state.scale
    if chip.compensation != NONE:
        now = response_of(chip, response_key, state.shape, weights)
        factor = factor * state.response / now
    return Read(state.shape, weights, factor)


def response_of(
    chip: Tiled, key: PRNGKey, shape: Shape, weights: Tiles
) -> Float[Array, "across down columns"]:
    """Mean magnitude of the outputs to each input by itself, through the noisy tile."""
    each = jnp.broadcast_to(
        jnp.eye(shape.rows, dtype=jnp.float32)[:, None], (shape.rows, shape.across, shape.rows)
    )
    outputs = multiply(chip, key, shape, weights, each)
    return _mean(chip, shape, jnp.abs(outputs).transpose(1, 2, 0, 3))


def _mean(chip: Tiled, shape: Shape, magnitude: Tiles) -> Float[Array, "across down columns"]:
    """Over the inputs of a column, or the whole tile, without what only fills the tile."""
    there = live(shape.inputs, shape.across, shape.rows)[:, None, :, None]
    there = there * live(shape.outputs, shape.down, shape.columns)[None, :, None, :]
    axes = (2,) if chip.compensation == COLUMN else (2, 3)
    summed = (magnitude * there).sum(axes, keepdims=True)
    mean = summed / jnp.maximum(there.sum(axes, keepdims=True), 1.0)
    by_column = jnp.broadcast_to(mean, (*magnitude.shape[:2], 1, shape.columns))[:, :, 0]
    return jnp.maximum(by_column, LEAST_RESPONSE)


def live(count: int, tiles: int, each: int) -> Float[Array, "tiles each"]:
    """1 where a tile has a row or column in use."""
    return (jnp.arange(tiles * each).reshape(tiles, each) < count).astype(jnp.float32)


def product(
    chip: Tiled,
    key: PRNGKey,
    state: Read,
    x: Float[Array, "n inputs"],
    input_range: Float[Array, "..."] | float = 1.0,
    bias: Float[Array, "..."] | float = 0.0,
) -> Float[Array, "n outputs"]:
    """x @ weights as the chip computes it; inputs beyond a tile's range are clipped.

    There is one input range, or one for each tile across; the bias is digital.
    """
    shape = state.shape
    padded = jnp.pad(x, ((0, 0), (0, shape.across * shape.rows - shape.inputs)))
    ranges = jnp.broadcast_to(jnp.asarray(input_range, jnp.float32), (shape.across,))
    scaled = padded.reshape(-1, shape.across, shape.rows) / ranges[:, None]
    outputs = multiply(chip, key, shape, state.weights, converted(scaled, chip.input_bits, 1.0))
    digital = outputs * (state.factor * ranges[:, None, None])
    return digital.sum(1).reshape(len(x), -1)[:, : shape.outputs] + bias


def multiply(
    chip: Tiled,
    key: PRNGKey,
    shape: Shape,
    weights: Tiles,
    x: Float[Array, "n across rows"],
) -> Float[Array, "n across down columns"]:
    """Each tile's outputs behind its converters, from inputs of at most 1."""
    term_key, output_key = jax.random.split(key)
    y = _summed(x, weights)
    if chip.short_term_noise:
        deviation = chip.short_term_noise * jnp.sqrt(_summed(x**2, jnp.abs(weights)))
        y = y + deviation * jax.random.normal(term_key, y.shape, jnp.float32)
    if chip.ir_drop:
        y = y - chip.ir_drop * _dropped(shape, weights, x)
    if chip.output_noise:
        y = y + chip.output_noise * jax.random.normal(output_key, y.shape, jnp.float32)
    return converted(y, chip.output_bits, chip.output_bound)


def _summed(x: Float[Array, "n across rows"], weights: Tiles) -> Float[Array, "n across down c"]:
    return jnp.einsum("nar,adrc->nadc", x, weights, precision="highest")


def _dropped(
    shape: Shape, weights: Tiles, x: Float[Array, "n across rows"]
) -> Float[Array, "n across down columns"]:
    """What the wires' resistance takes: more, the more current flows and the farther it flows."""
    rows = live(shape.inputs, shape.across, shape.rows).sum(1)
    load = (rows / G_RATIO)[:, None, None] * _summed(jnp.abs(x), jnp.abs(weights))
    share = sum(c * load**power for power, c in enumerate(IR_DROP))
    position = jnp.arange(shape.rows, dtype=jnp.float32) / rows[:, None]
    return share * _summed(x * (1 - (1 - position) ** 2), weights)


def converted(x: Float[Array, "*n"], bits: int, bound: float) -> Float[Array, "*n"]:
    """At the 2^bits - 1 levels from -bound to bound; those beyond are clipped. 0 bits: exact."""
    if not bits:
        return jnp.clip(x, -bound, bound)
    step = 2 * bound / (2**bits - 2)
    return jnp.clip(jnp.round(x / step) * step, -bound, bound)
