"""Weights on tiles of analog memory: programming, what weights are later, the product.

Equations are those of aihwkit 1.2.0's inference tiles; Rasch et al. ("Hardware-aware training for
large-scale and diverse deep learning inference workloads using in-memory computing-based
accelerators", Nature Communications 14, 2023) describe them. All functions are pure and trace. Two
things differ: both conductances of a pair are kept, of which aihwkit keeps the difference, and
weights are not scaled again after programming. The noise of a read and that of the output are
drawn as one, for the sum of two independent normal terms is a normal one.

Arrays have the rows of one tile by all columns of the matrix; which tile a column is on matters to
scales and compensations alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.hardware.analog_cell import Cell, polynomial
from jaxnas.hardware.analog_layout import Count, Layout, layout_of
from jaxnas.types import PRNGKey

G_RATIO = 1 / (0.35 * 5e-6)  # of a wire segment's conductance to a cell's largest
IR_DROP = (0.0, 0.5, -0.2, 0.05)  # coefficients of the load, from the constant on
LEAST_RESPONSE = 1e-4  # by which a compensation may divide
NONE, TILE, COLUMN, EXACT = COMPENSATIONS = ("none", "tile", "column", "exact")
SCALINGS = (TILE, COLUMN)
# Normal numbers a weight: of a pair's programming and drift; of a pair's read and its output.
WRITES, READS = 4, 3
Tiles = Float[Array, "across rows outputs"]
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


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """Programmed cells: targets in microsiemens, positive and negative, and what each cell drew.

    Columns from `live` on are there for shape alone, and count nowhere.
    """

    layout: Layout = field(metadata={"static": True})
    live: Count
    target: Float[Array, "2 across rows outputs"]
    normal: Float[Array, "2 across rows outputs"]  # of the programming
    exponent: Float[Array, "2 across rows outputs"]  # of the drift
    scale: Float[Array, "across outputs"]  # digital: the weight at the largest conductance
    response: Float[Array, "across outputs"]  # to which a compensation returns


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Read:
    """Weights at one time: `weights` as shares of the largest, `factor` digital, per column.

    (across, rows, outputs) and (across, outputs), float32; of several times these come first.
    """

    layout: Layout = field(metadata={"static": True})
    weights: Any
    factor: Any  # scale and compensation


class Sums(NamedTuple):
    """What the wires of tiles add up over their rows, each (..., across, outputs)."""

    product: Array  # of w x
    squares: Array | None  # of |w| x^2, where reads are noisy
    load: Array | None  # of |w x|, where wires resist
    far: Array | None  # of w x, less where a row is near: `Layout.far`


def program(
    chip: Tiled,
    key: PRNGKey,
    weights: Float[Array, "inputs outputs"],
    layout: Layout | None = None,
    live: Count | None = None,
) -> State:
    """Writes a matrix, and reads out how its tiles respond.

    By default all columns are live, and all rows are inputs of all of them.
    """
    layout = layout or layout_of(chip.tile_rows, chip.tile_columns, *weights.shape)
    write_key, read_key = jax.random.split(key)
    state = written(chip, _drawn(write_key, layout, WRITES), weights, layout, live)
    if chip.compensation in (NONE, EXACT):
        return state
    first = seen(chip, _drawn(read_key, layout, READS), state, first_read(chip))
    return replace(state, response=first[1])


def first_read(chip: Tiled) -> float:
    """Seconds after programming at which a compensation learns how tiles respond."""
    return chip.cell.times_s[0] if chip.cell.times_s else 0.0


def written(
    chip: Tiled,
    noise: Float[Array, "outputs 4 across rows"],
    weights: Float[Array, "inputs outputs"],
    layout: Layout,
    live: Count | None = None,
) -> State:
    """A matrix in cells, by noise that was drawn before: of a column it is the column's own.

    The response is that of ideal weights.
    """
    noise = jnp.moveaxis(noise, 0, -1)
    live = layout.outputs if live is None else live
    split = layout.split(weights)
    scale = _largest(chip, layout, live, split)
    shares = split / scale[:, None]
    target = chip.cell.g_max * jnp.clip(jnp.stack([shares, -shares]), 0.0, 1.0)
    exponent = chip.cell.exponent(target, noise[2:])
    response = _mean(chip, layout, live, jnp.abs(shares))
    return State(layout, live, target, noise[:2], exponent, scale, response)


def _drawn(key: PRNGKey, layout: Layout, count: int) -> Float[Array, "outputs count across rows"]:
    shape = (layout.outputs, count, layout.across, layout.rows)
    return jax.random.normal(key, shape, jnp.float32)


def _largest(
    chip: Tiled, layout: Layout, live: Count, split: Tiles
) -> Float[Array, "across outputs"]:
    largest = jnp.abs(split).max(axis=1)
    if chip.scaling == TILE:
        on = layout.on_tile(live)
        by_tile = jnp.where(on, largest[:, None], 0.0).max(-1)
        largest = by_tile[:, layout.tile(live)]
    return jnp.where(largest > 0, largest, 1.0)


def weights_of(
    chip: Tiled, noise: Float[Array, "2 across rows outputs"], state: State, t: Time
) -> Tiles:
    """What the cells hold when they are read `t` seconds after programming, as shares."""
    cell = chip.cell
    t = jnp.asarray(t, jnp.float32)
    programmed = cell.programmed(state.target, state.normal, t)
    drifted = cell.drifted(programmed, state.exponent, t)
    held = jnp.maximum(drifted + cell.read_noise(programmed, drifted, t) * noise, 0.0)
    return (held[0] - held[1]) / cell.g_max


def read(chip: Tiled, key: PRNGKey, state: State, t: Time) -> Read:
    """The weights `t` seconds after programming, and the digital factors that go with them."""
    weights, response = seen(chip, _drawn(key, state.layout, READS), state, t)
    return Read(state.layout, weights, factor(chip, state.scale, state.response, response))


def seen(
    chip: Tiled, noise: Float[Array, "outputs 3 across rows"], state: State, t: Time
) -> tuple[Tiles, Float[Array, "across outputs"]]:
    """The weights at a time, by noise that was drawn before, and how the tiles respond then."""
    noise = jnp.moveaxis(noise, 0, -1)
    weights = weights_of(chip, noise[:2], state, t)
    if chip.compensation == NONE:
        return weights, state.response
    return weights, response_of(chip, noise[2], state.layout, state.live, weights)


def factor(
    chip: Tiled, scale: Array, first: Array, now: Float[Array, "*n across outputs"]
) -> Float[Array, "*n across outputs"]:
    """By which outputs are multiplied: their scale, and what brings the response back."""
    return scale * (1.0 if chip.compensation == NONE else first / now)


def response_of(
    chip: Tiled, noise: Tiles, layout: Layout, live: Count, weights: Tiles
) -> Float[Array, "across outputs"]:
    """Mean magnitude of the outputs to each input by itself, through the noisy tile.

    A single input of 1 makes every sum that of one row.
    """
    rows, noise = (jnp.moveaxis(one, 1, 0) for one in (weights, noise))
    size = jnp.abs(rows)
    far = rows * jnp.moveaxis(jnp.asarray(layout.far), 1, 0)
    outputs = sensed(chip, noise, layout, Sums(rows, size, size, far))
    return _mean(chip, layout, live, jnp.moveaxis(jnp.abs(outputs), 0, 1))


def _mean(
    chip: Tiled, layout: Layout, live: Count, magnitude: Tiles
) -> Float[Array, "across outputs"]:
    """Over the inputs of a column, or the whole tile, without what only fills the tile."""
    used = layout.used
    summed = (magnitude * used[..., None]).sum(1)
    count = jnp.broadcast_to(used.sum(1, keepdims=True), summed.shape)
    if chip.compensation != COLUMN:
        on = layout.on_tile(live).astype(jnp.float32)
        tile = layout.tile(live)
        summed = (summed[:, None] * on).sum(-1)[:, tile]
        count = (count[:, None] * on).sum(-1)[:, tile]
    return jnp.maximum(summed / jnp.maximum(count, 1.0), LEAST_RESPONSE)


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
    layout = state.layout
    padded = jnp.pad(x, ((0, 0), (0, layout.across * layout.rows - layout.inputs)))
    ranges = jnp.broadcast_to(jnp.asarray(input_range, jnp.float32), (layout.across,))
    scaled = padded.reshape(-1, layout.across, layout.rows) / ranges[:, None]
    sums = summed(chip, layout, state.weights, converted(scaled, chip.input_bits, 1.0), _matmul)
    noise = jax.random.normal(key, sums.product.shape, jnp.float32)
    return digital(state, sensed(chip, noise, layout, sums), ranges) + bias


def summed(chip: Tiled, layout: Layout, weights: Tiles, x: Array, multiply: Callable) -> Sums:
    """What the wires add up, by `multiply(x, weights)`, a product or a convolution of each tile.

    Inputs are those behind their converters.
    """
    size = jnp.abs(weights)
    squares = multiply(x**2, size) if chip.short_term_noise else None
    load = multiply(jnp.abs(x), size) if chip.ir_drop else None
    far = multiply(x, weights * layout.far) if chip.ir_drop else None
    return Sums(multiply(x, weights), squares, load, far)


def _matmul(x: Float[Array, "n across rows"], weights: Tiles) -> Float[Array, "n across outputs"]:
    return jnp.einsum("nar,arc->nac", x, weights, precision="highest")


def sensed(chip: Tiled, noise: Array, layout: Layout, sums: Sums) -> Array:
    """The tiles' outputs behind their converters, (..., across, outputs); `noise` is normal."""
    y = sums.product
    if sums.load is not None and sums.far is not None and chip.ir_drop:
        load = jnp.asarray(layout.wires) / G_RATIO * sums.load
        y = y - chip.ir_drop * polynomial(IR_DROP, load) * sums.far
    variance = jnp.float32(chip.output_noise) ** 2
    if sums.squares is not None and chip.short_term_noise:
        variance = variance + chip.short_term_noise**2 * sums.squares
    if chip.output_noise or chip.short_term_noise:
        y = y + jnp.sqrt(variance) * noise
    return converted(y, chip.output_bits, chip.output_bound)


def digital(
    state: Read, outputs: Float[Array, "*n across outputs"], ranges: Float[Array, "..."]
) -> Float[Array, "*n outputs"]:
    """Scaled, compensated and added up over the tiles across."""
    factor = state.factor * jnp.broadcast_to(ranges, (state.layout.across,))[:, None]
    return (outputs * factor).sum(-2)


def converted(x: Float[Array, "*n"], bits: int, bound: float) -> Float[Array, "*n"]:
    """At the 2^bits - 1 levels from -bound to bound; those beyond are clipped. 0 bits: exact."""
    if not bits:
        return jnp.clip(x, -bound, bound)
    step = 2 * bound / (2**bits - 2)
    return jnp.clip(jnp.round(x / step) * step, -bound, bound)
