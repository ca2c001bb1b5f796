"""Chips that multiply in analog memory: tiles of cells hold the weights, and do not move them.

`program`, `read` and `product` of analog_tile.py compute as such a chip does; here are its
settings, and what a network costs on it.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import jax.numpy as jnp

from jaxnas.errors import UserError
from jaxnas.hardware import analog_cell
from jaxnas.hardware.analog_cell import Cell
from jaxnas.hardware.analog_tile import COLUMN, COMPENSATIONS, SCALINGS, TILE
from jaxnas.hardware.cost_model import Estimate, unknown
from jaxnas.networks.costs import CONV, LINEAR, Layers
from jaxnas.spaces.choices import among

POSITIVE = ("tile_rows", "tile_columns", "output_bound", "product_ns")


@dataclass(frozen=True)
class AnalogChip:
    """A chip with a tile wherever the network needs one, so that no weight is ever loaded.

    A layer multiplies once for each pixel of its output, on all its tiles at once; layers follow
    each other. Assumed: additions, poolings and activations are hidden behind that; a tile takes
    its whole energy however few of its cells are used; a grouped convolution has its groups on the
    diagonal of one matrix; time and energy double with each bit of the output beyond 8.
    """

    elastic: ClassVar = ("tile_rows", "tile_columns", "output_bits")  # settings to be chosen
    memories: ClassVar = ()

    name: str
    error: str
    cell: Cell
    product_ns: float  # of a tile, at 8 bits of output
    pj_per_cell: float  # and product, converters among it
    tile_rows: int = 512
    tile_columns: int = 512
    scaling: str = COLUMN
    """Whose largest weight has the largest conductance: each column's, or each tile's."""
    compensation: str = TILE
    """Of drift, by one factor a tile or column, from what it responded when it was programmed, or
    of a tile from its ideal weights (exact), or none."""
    # 0 bits: no rounding. Inputs are at most 1, outputs `output_bound`, in shares of the range.
    input_bits: int = 8
    output_bits: int = 8
    output_bound: float = 10.0
    output_noise: float = 0.04
    short_term_noise: float = 0.0175  # of a read, as a share of the square root of the current
    ir_drop: float = 1.0

    def __post_init__(self):
        among("scaling", self.scaling, SCALINGS)
        among("compensation", self.compensation, COMPENSATIONS)
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Cell) or field.name in ("scaling", "compensation"):
                continue
            if isinstance(value, str):
                if not value.strip():
                    raise UserError(f"{field.name} must be a text, got none")
            elif not (0 <= value < math.inf and (value or field.name not in POSITIVE)):
                least = "above" if field.name in POSITIVE else "at least"
                raise UserError(f"{field.name} must be {least} 0 and finite, got {value}")
        for name in ("input_bits", "output_bits"):
            bits = getattr(self, name)
            if bits == 1 or bits > 16:
                raise UserError(f"{name} must be 2 to 16, or 0 for exact converters, got {bits}")

    def __call__(self, layers: Layers) -> Estimate:
        """`latency_ms`, `energy_uj`, `tiles`, and the share of their cells in use.

        More channels take more tiles and energy, and no more time.
        """
        matrix = (layers.kind == CONV) | (layers.kind == LINEAR) | unknown(layers)
        used = matrix & (layers.repeat > 0) & (layers.params > 0)
        taps = layers.kernel**2
        channels = jnp.maximum(self.tile_rows // taps, 1)  # a tile has whole ones
        across = -(-layers.c_in // channels) * -(-taps // self.tile_rows)
        down = -(-layers.c_out // self.tile_columns)
        tiles = jnp.where(used, across * down, 0).astype(jnp.float32)
        pixels = jnp.where(used, layers.height * layers.width, 0).astype(jnp.float32)
        weights = layers.c_in // layers.groups * taps * layers.c_out
        held = jnp.where(used, weights, 0).astype(jnp.float32).sum(-1)
        longer = 2.0 ** jnp.maximum(jnp.asarray(self.output_bits, jnp.float32) - 8, 0)
        area = jnp.asarray(self.tile_rows, jnp.float32) * self.tile_columns
        picojoules = self.pj_per_cell * longer * area * (tiles * pixels).sum(-1)
        figures = {
            "latency_ms": self.product_ns * longer * pixels.sum(-1) / 1e6,
            "energy_uj": picojoules / 1e6,
            "tiles": tiles.sum(-1),
            "utilisation": held / jnp.maximum(tiles.sum(-1) * area, 1.0),
        }
        return Estimate(figures, {"extrapolated": unknown(layers).any(-1)})


# Throughput and efficiency at 8 bits, one-phase reads, 64 cores of 256 x 256 (Le Gallo et al.,
# Nature Electronics 6, 2023, abstract): 63.1 TOPS and 9.76 TOPS/W, a multiply-add two operations.
HERMES_TILE = 256
HERMES_PRODUCT_NS = 64 * 2 * HERMES_TILE**2 / 63.1e12 * 1e9
HERMES_PJ_PER_CELL = 2 / 9.76

COSTS = (
    "latency and energy follow from the peak throughput that the HERMES chip's authors publish, as "
    "if nothing but its tiles took time; nobody has measured them on these networks"
)
HERMES = AnalogChip(
    name="hermes",
    error=f"simulated HERMES, two devices a conductance: {COSTS}",
    cell=analog_cell.HERMES,
    product_ns=HERMES_PRODUCT_NS,
    pj_per_cell=HERMES_PJ_PER_CELL,
    tile_rows=HERMES_TILE,
    tile_columns=HERMES_TILE,
)
HERMES_ONE = replace(
    HERMES,
    name="hermes_one",
    error=f"simulated HERMES, one device a conductance: {COSTS}",
    cell=analog_cell.HERMES_ONE,
)
PCM = AnalogChip(
    name="pcm",
    error=f"no machine at all: published PCM cells on tiles of 512 x 512; assumed, {COSTS}",
    cell=analog_cell.PCM,
    product_ns=HERMES_PRODUCT_NS,
    pj_per_cell=HERMES_PJ_PER_CELL,
)
RERAM = replace(
    PCM,
    name="reram",
    error=f"no machine at all: published ReRAM cells on tiles of 512 x 512; assumed, {COSTS}",
    cell=analog_cell.RERAM,
)
