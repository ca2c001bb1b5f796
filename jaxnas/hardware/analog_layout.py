"""Where the weights of a layer lie on tiles of analog memory.

Rows are ordered by input channel and, within a channel, by tap; tiles end at whole channels, so
that what shares a tile is a convolution of some of the input channels. Tiles are as equal as may
be. Assumed of a convolution in groups: its groups lie on the diagonal of a matrix, whole groups
share a tile as long as they fit, and cells off the diagonal are switched off, without conductance
and noise.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxnas.errors import UserError

Count = Int[Array, ""] | int


class Layout(NamedTuple):
    """Of a matrix with columns that have weights in `inputs` rows, those of their group."""

    inputs: int
    outputs: int
    across: int  # tiles that a column takes
    rows: int  # of a column on one of these; the last may have fewer
    tile_columns: int
    groups: int = 1
    together: int = 1  # groups on a tile

    @property
    def cells(self) -> int:
        """Pairs of cells, those that fill the last tile across among them."""
        return self.across * self.rows * self.outputs

    @property
    def used(self) -> Float[np.ndarray, "across rows"]:
        """1 where a column has a weight."""
        at = np.arange(self.across * self.rows).reshape(self.across, self.rows)
        return (at < self.inputs).astype(np.float32)

    @property
    def group(self) -> Int[np.ndarray, "outputs_or_1"]:
        """Of each column; a single 0 where there is one group."""
        count = self.outputs if self.groups > 1 else 1
        return np.arange(count) // (self.outputs // self.groups)

    @property
    def wires(self) -> Float[np.ndarray, "across outputs_or_1"]:
        """Rows in use on a column's tile, those of other groups among them."""
        first = self.group // self.together * self.together
        groups = np.minimum(self.together, self.groups - first)
        return (self.used.sum(1)[:, None] * groups).astype(np.float32)

    @property
    def far(self) -> Float[np.ndarray, "across rows outputs_or_1"]:
        """How much of a row's current a wire's resistance bears on: 1 - (1 - j / n)^2 of row j."""
        before = self.group % self.together * self.used.sum(1)[:, None]
        at = np.arange(self.rows)[:, None] + before[:, None]
        return (1 - (1 - at / self.wires[:, None]) ** 2).astype(np.float32)

    @property
    def down(self) -> int:
        """Tiles that share the rows of the matrix, at most."""
        of_group = -(-self.outputs // self.groups // self.tile_columns)
        return of_group * -(-self.groups // self.together)

    def tile(self, live: Count) -> Int[Array, "outputs"]:
        """The tile of each column, where those from `live` on are not there."""
        column = jnp.arange(self.outputs, dtype=jnp.int32)
        if self.groups == 1:
            tiles = -(-live // self.tile_columns)
            return jnp.minimum(column // -(-live // tiles), self.down - 1)
        each = self.outputs // self.groups
        tiles = -(-each // self.tile_columns)
        return column // each // self.together * tiles + column % each // -(-each // tiles)

    def on_tile(self, live: Count) -> Bool[Array, "down outputs"]:
        """Which of the columns that are there each tile has."""
        there = jnp.arange(self.outputs, dtype=jnp.int32) < live
        return (self.tile(live) == jnp.arange(self.down, dtype=jnp.int32)[:, None]) & there

    def split(self, weights: Float[Array, "inputs outputs"]) -> Float[Array, "across rows outputs"]:
        """The matrix on tiles, with zeros where a tile has no weights."""
        rows = self.across * self.rows - self.inputs
        padded = jnp.pad(jnp.asarray(weights, jnp.float32), ((0, rows), (0, 0)))
        return padded.reshape(self.across, self.rows, self.outputs)


def layout_of(
    tile_rows: int, tile_columns: int, inputs: int, outputs: int, taps: int = 1, groups: int = 1
) -> Layout:
    """The tiles that a matrix takes, of columns with `taps` rows for each input channel.

    Raises:
        UserError: a tile has too few rows for a channel.
    """
    channels = tile_rows // taps
    if not channels:
        raise UserError(
            f"a tile of {tile_rows} rows holds no filter of {taps} taps: choose a chip with larger "
            "tiles, or smaller kernels"
        )
    across = -(-(inputs // taps) // channels)
    rows = -(-(inputs // taps) // across) * taps
    fit = min(tile_rows // inputs, tile_columns // (outputs // groups))
    return Layout(inputs, outputs, across, rows, tile_columns, groups, max(min(fit, groups), 1))
