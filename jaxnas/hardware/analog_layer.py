"""Convolutions and linear layers on an analog chip: `numerics.analog.InMemory` of a chip.

A convolution multiplies once a pixel of its result. No patch is copied for that: what its tiles
compute are convolutions of the input channels that each one has.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.hardware import analog_tile
from jaxnas.hardware.analog_chip import AnalogChip
from jaxnas.hardware.analog_layout import Count, Layout, layout_of
from jaxnas.hardware.analog_tile import (
    EXACT,
    Read,
    Tiles,
    converted,
    digital,
    factor,
    seen,
    sensed,
    summed,
)
from jaxnas.networks.op import Op
from jaxnas.networks.operators import OPERATORS


@dataclass(frozen=True)
class ChipMemory:
    """The layers of a network on this chip."""

    chip: AnalogChip

    @property
    def name(self) -> str:
        return self.chip.name

    def check_time(self, t: float) -> None:
        """As the chip's cell does."""
        self.chip.cell.check_time(t)

    def check(self, op: Op) -> None:
        """A filter of a channel must fit on a tile."""
        self._layout(op)

    def writes(self, op: Op) -> int:
        """Numbers that programming draws."""
        return analog_tile.WRITES * self._layout(op).cells

    def reads(self, op: Op) -> int:
        """Numbers that each read of the cells draws, of which there is one more than times."""
        return analog_tile.READS * self._layout(op).cells

    def outputs(self, op: Op) -> int:
        """Numbers that an image draws."""
        noisy = self.chip.output_noise or self.chip.short_term_noise
        return op.height * op.width * self._layout(op).across * op.c_out if noisy else 0

    def program(
        self,
        writes: Float[Array, "writes"],
        reads: Float[Array, "times_and_1 reads"],
        op: Op,
        kernel: Array,
        live: Count,
        times: Float[Array, "times"],
    ) -> Read:
        """The layer's cells, read at each time; the first of the reads is the compensation's."""
        chip = self.chip
        layout = self._layout(op)
        writes = _by_column(writes, layout, analog_tile.WRITES)
        state = analog_tile.written(chip, writes, _matrix(kernel), layout, live)
        every = jnp.append(jnp.float32(analog_tile.first_read(chip)), times)

        def at(row):
            noise, t = row
            return seen(chip, _by_column(noise, layout, analog_tile.READS), state, t)

        weights, responses = jax.lax.map(at, (reads, every))
        first = state.response if chip.compensation == EXACT else responses[0]
        factors = factor(chip, state.scale, first, responses[1:])
        return Read(layout, weights[1:], factors)

    def product(
        self, noise: Float[Array, "n numbers"], op: Op, held: Read, x: Array, limit: Array
    ) -> Array:
        """The layer's result without its bias, one limit for all its tiles."""
        chip = self.chip
        layout = held.layout
        inputs = converted(x / limit, chip.input_bits, 1.0)

        def multiply(x: Array, weights: Tiles) -> Array:
            each = [_on_tile(op, layout, a, x, weights[a]) for a in range(layout.across)]
            return jnp.stack(each, axis=-2)

        sums = summed(chip, layout, held.weights, inputs, multiply)
        outputs = sensed(chip, self._noise(noise, sums.product), layout, sums)
        return digital(held, outputs, limit)

    def _noise(self, noise: Float[Array, "n numbers"], like: Float[Array, "n *s c"]) -> Array:
        """As the outputs are, one channel after the other: they do not depend on later ones."""
        if not (self.chip.output_noise or self.chip.short_term_noise):
            return jnp.zeros((), jnp.float32)
        n, *others, channels = like.shape
        row = noise[:, : like[0].size].reshape(n, channels, *others)
        return jnp.moveaxis(row, 1, -1)

    def _layout(self, op: Op) -> Layout:
        inputs = op.c_in // op.groups * op.kernel**2
        chip = self.chip
        return layout_of(
            chip.tile_rows, chip.tile_columns, inputs, op.c_out, op.kernel**2, op.groups
        )


def _matrix(kernel: Array) -> Float[Array, "inputs outputs"]:
    """Of a convolution, its rows by input channel and then tap."""
    if kernel.ndim == 4:
        kernel = kernel.transpose(2, 0, 1, 3)
    return kernel.reshape(-1, kernel.shape[-1])


def _on_tile(op: Op, layout: Layout, a: int, x: Array, weights: Float[Array, "rows c"]) -> Array:
    """What tile `a` of those across adds up, without converters."""
    if op.kind == "linear":
        rows = x.reshape(len(x), -1)[:, a * layout.rows : (a + 1) * layout.rows]
        return jnp.matmul(rows, weights[: rows.shape[1]], precision="highest")
    channels = layout.rows // op.kernel**2
    split = x.reshape(*x.shape[:-1], op.groups, -1)[..., a * channels : (a + 1) * channels]
    kernel = weights.reshape(channels, op.kernel, op.kernel, -1).transpose(1, 2, 0, 3)
    part = replace(op, c_in=split.shape[-1] * op.groups)
    x = split.reshape(*x.shape[:-1], -1)
    return OPERATORS["conv"].compute(part, {"kernel": kernel[:, :, : split.shape[-1]]}, x)


def _by_column(noise: Float[Array, "numbers"], layout: Layout, count: int) -> Array:
    shape = (layout.outputs, count, layout.across, layout.rows)
    return noise[: count * layout.cells].reshape(shape)
