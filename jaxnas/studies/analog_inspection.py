"""`jaxnas inspect` on a chip with analog memory: tiles of each layer, and how far weights get off.

No network is trained here: weights are normally distributed, as a training begins. What matters is
how large most of them are beside the largest, which has the largest conductance.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnas.hardware.analog_cell import Cell
from jaxnas.hardware.analog_chip import AnalogChip
from jaxnas.hardware.analog_tile import COLUMN, EXACT, NONE
from jaxnas.networks.costs import cost_table
from jaxnas.networks.op import Op
from jaxnas.spaces.space import Space
from jaxnas.types import PRNGKey

DAY_S = 86_400.0
MONTH_S = 30 * DAY_S
MATRIX = ("conv", "linear")
UNITS = ((DAY_S, "d"), (3600.0, "h"), (1.0, "s"))


class AnalogLayer(NamedTuple):
    """A layer's matrix on a chip; errors are root mean squares, in shares of its largest weight."""

    name: str
    inputs: int
    outputs: int
    tiles: int
    utilisation: float  # of the tiles' cells
    programming: float  # error of cells that nobody has read, and that have not drifted
    later: tuple[float, ...]  # errors at `times`, drift compensated as the chip does it


def times(chip: AnalogChip) -> tuple[float, ...]:
    """Seconds after programming: a day and a month, or those at which the cell is known."""
    return chip.cell.times_s or (DAY_S, MONTH_S)


def analog_layers(
    chip: AnalogChip, space: Space, genome: np.ndarray, seed: int
) -> list[AnalogLayer]:
    """Of a network's convolutions and linear layers, in order; `seed` draws weights and noise."""
    ops = [op for op in space.ops(genome) if op.kind in MATRIX]
    draw = np.random.default_rng(seed)
    matrices = [_matrix(draw, op) for op in ops]
    blocks = [[*_blocks(chip, op, matrix)] for op, matrix in zip(ops, matrices, strict=True)]
    scales = [[_scale(chip, block) for block in row] for row in blocks]
    shares = np.concatenate(
        [
            np.ravel(block / scale)
            for row, own in zip(blocks, scales, strict=True)
            for block, scale in zip(row, own, strict=True)
        ]
    )
    programmed, first, *held = held_weights(chip.cell, jax.random.key(seed), shares, times(chip))
    rows = []
    start = 0
    for op, matrix, row, own in zip(ops, matrices, blocks, scales, strict=True):
        errors = []
        for block, scale in zip(row, own, strict=True):
            at = slice(start, start + block.size)
            start += block.size
            target, before = (one[at].reshape(block.shape) for one in (shares, first))
            seen = [programmed[at].reshape(block.shape)]
            for weights in held:
                now = weights[at].reshape(block.shape)
                seen.append(now * _compensation(chip, target, before, now))
            errors.append([np.square((one - target) * scale).sum() for one in seen])
        rms = np.sqrt(np.sum(errors, axis=0) / matrix.size) / np.abs(matrix).max()
        rows.append(_layer(chip, op, rms.tolist()))
    return rows


def held_weights(
    cell: Cell, key: PRNGKey, shares: Float[np.ndarray, "n"], times: tuple[float, ...]
) -> list[Float[np.ndarray, "n"]]:
    """What pairs of cells hold: before any read, at the first read, and at each time; shares."""
    found = _held(cell, key, jnp.asarray(shares, jnp.float32), jnp.asarray(times, jnp.float32))
    return [np.asarray(one, np.float64) for one in found]


@partial(jax.jit, static_argnums=0)
def _held(
    cell: Cell, key: PRNGKey, shares: Float[Array, "n"], times: Float[Array, "k"]
) -> list[Float[Array, "n"]]:
    normal_key, drift_key, read_key = jax.random.split(key, 3)
    target = cell.g_max * jnp.clip(jnp.stack([shares, -shares]), 0.0, 1.0)
    normal = jax.random.normal(normal_key, target.shape, jnp.float32)
    exponent = cell.exponent(target, jax.random.normal(drift_key, target.shape, jnp.float32))
    first = jnp.float32(cell.times_s[0] if cell.times_s else 0.0)

    def read(t: Float[Array, ""], key: PRNGKey) -> Float[Array, "n"]:
        programmed = cell.programmed(target, normal, t)
        drifted = cell.drifted(programmed, exponent, t)
        noise = jax.random.normal(key, target.shape, jnp.float32)
        deviation = cell.read_noise(programmed, drifted, t)
        return _difference(cell, jnp.maximum(drifted + deviation * noise, 0.0))

    keys = jax.random.split(read_key, len(times) + 1)
    reads = [read(t, key) for t, key in zip([first, *times], keys, strict=True)]
    return [_difference(cell, cell.programmed(target, normal, first)), *reads]


def _difference(cell: Cell, pair: Float[Array, "2 n"]) -> Float[Array, "n"]:
    return (pair[0] - pair[1]) / cell.g_max


def _matrix(draw: np.random.Generator, op: Op) -> Float[np.ndarray, "inputs outputs"]:
    """The weights of a layer, one group below the other where it has groups."""
    inputs = op.c_in // op.groups * op.kernel**2
    return draw.normal(size=(inputs, op.c_out))


def _blocks(
    chip: AnalogChip, op: Op, matrix: Float[np.ndarray, "inputs outputs"]
) -> Iterator[Float[np.ndarray, "rows columns"]]:
    """What a tile holds of the matrix: of tiles that are as equal as may be."""
    rows, columns = (
        -(-size // -(-size // most))
        for size, most in zip(matrix.shape, (chip.tile_rows, chip.tile_columns), strict=True)
    )
    for row in range(0, len(matrix), rows):
        for column in range(0, matrix.shape[1], columns):
            yield matrix[row : row + rows, column : column + columns]


def _scale(chip: AnalogChip, block: Float[np.ndarray, "rows columns"]) -> np.ndarray:
    """The weights at the largest conductance."""
    return np.abs(block).max(axis=0 if chip.scaling == COLUMN else None, keepdims=True)


def _compensation(
    chip: AnalogChip, target: np.ndarray, before: np.ndarray, now: np.ndarray
) -> np.ndarray:
    """The digital factor that returns a tile to how it responded, but for converters and noise."""
    if chip.compensation == NONE:
        return np.ones((1, 1))
    axis = 0 if chip.compensation == COLUMN else None
    reference = target if chip.compensation == EXACT else before
    wanted, found = (np.abs(one).mean(axis=axis, keepdims=True) for one in (reference, now))
    return wanted / np.maximum(found, np.finfo(np.float32).tiny)


def _layer(chip: AnalogChip, op: Op, errors: list[float]) -> AnalogLayer:
    alone = replace(op, inputs=(-1,))
    figures = chip(cost_table((alone,), op.height, op.width)).figures
    return AnalogLayer(
        op.path,
        op.c_in * op.kernel**2,
        op.c_out,
        int(figures["tiles"]),
        float(figures["utilisation"]),
        errors[0],
        tuple(errors[1:]),
    )


def table(chip: AnalogChip, rows: list[AnalogLayer]) -> str:
    """A line for each layer; errors in percent of its largest weight."""
    wide = max(5, *(len(row.name) for row in rows)) + 1
    later = "".join(f"{told(t):>8}" for t in times(chip))
    lines = [f"{'layer':<{wide}}{'matrix':>13}{'tiles':>7}{'used %':>8}{'programmed':>12}{later}"]
    for row in rows:
        size = f"{row.inputs} x {row.outputs}"
        errors = "".join(f"{100 * error:>8.2f}" for error in row.later)
        used = f"{100 * row.utilisation:>8.1f}{100 * row.programming:>12.2f}"
        lines.append(f"{row.name:<{wide}}{size:>13}{row.tiles:>7}{used}{errors}")
    return "\n".join(lines)


def told(seconds: float) -> str:
    """A time in the largest unit that it has one of.

    >>> told(86_400.0), told(1.0)
    ('1 d', '1 s')
    """
    unit, name = next((unit, name) for unit, name in UNITS if seconds >= unit)
    return f"{seconds / unit:g} {name}"
