"""Progressive width scaling: a space's networks on a chip, and their front.

The front is that of operations against efficiency, over every network of a space of widths.

What a chip asks of a network is a sum over its layers, and a layer depends on few genes. So the
figures of millions of networks are sums of small tables, one for each part of the space
(Castagnetti et al. search the same grid: section on progressive scaling).
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int, Int32

from jaxnas.errors import UserError
from jaxnas.hardware.cost_model import LayeredModel
from jaxnas.networks.costs import Layers
from jaxnas.spaces.cost_tables import part_layers
from jaxnas.spaces.space import Space

MAX_NETWORKS = 50_000_000  # networks at one resolution: four float32 figures each


class Grid(NamedTuple):
    """Figures of every network at one resolution.

    In the order of `np.ndindex` over the genes' choices.
    """

    shape: tuple[int, ...]  # choices of each gene, 1 for the resolution
    static: int | None  # position of the resolution
    choice: int  # of the resolution
    operations: Float32[np.ndarray, "n"]  # millions
    mu: Float32[np.ndarray, "n"]
    latency_ms: Float32[np.ndarray, "n"]

    def genomes(self, rows: Int[np.ndarray, "k"]) -> Int32[np.ndarray, "k genes"]:
        """Genomes of these networks."""
        genomes = np.stack(np.unravel_index(rows, self.shape), axis=1).astype(np.int32)
        if self.static is not None:
            genomes[:, self.static] = self.choice
        return genomes

    @property
    def points(self) -> Float32[np.ndarray, "n 3"]:
        """Operations, mu and latency of every network."""
        return np.stack([self.operations, self.mu, self.latency_ms], axis=1)


def every_network(space: Space, chip: LayeredModel, resolution: int) -> Grid:
    """All networks of a space whose images have `resolution` pixels.

    Raises:
        UserError: the space lacks this resolution, or has more than 50 million networks at it.
    """
    choice = space.resolution_choice(resolution)
    shape = tuple(1 if i == space.static else int(size) for i, size in enumerate(space.sizes))
    if (count := np.prod(shape, dtype=float)) > MAX_NETWORKS:
        raise UserError(
            f"{space.name} has {count:.2g} networks at {resolution} pixels, too many to try them "
            "all: search it (jaxnas run)"
        )
    npu, system, operations = (np.zeros(shape, np.float32) for _ in range(3))
    for at in range(len(space.parts)):
        for total, table in zip(
            (npu, system, operations), _table(space, chip, at, resolution), strict=True
        ):
            total += table
    latency_ms = np.asarray(chip.latency_ms(npu, system))
    return Grid(
        shape,
        space.static,
        choice,
        operations.ravel() / np.float32(1e6),
        (npu / system).ravel(),
        latency_ms.ravel(),
    )


def _table(space: Space, chip: LayeredModel, at: int, resolution: int) -> list[np.ndarray]:
    """Accelerator and system cycles and operations of a part, for all choices of its genes.

    Every other gene has length 1.
    """
    part = space.parts[at]
    choice = space.resolution_choice(resolution)
    table = part_layers(space, at)
    index = tuple(
        slice(choice, choice + 1) if i == space.static else slice(None) for i in part.genes
    )
    each = chip.layer_by_layer(Layers(*(jnp.asarray(x[index], jnp.int32) for x in table)))
    sums = (each.npu_cycles, each.system_cycles, chip.operations(each.macs, each.activation_bytes))
    number = {i: 1 if i == space.static else len(space.genes[i].choices) for i in part.genes}
    shape = [number.get(i, 1) for i in range(len(space.genes))]
    order = np.argsort(part.genes)  # a part's genes need not be in the genome's order
    return [
        np.asarray(x.sum(-1)).reshape(list(number.values())).transpose(order).reshape(shape)
        for x in sums
    ]


def front(grid: Grid, limit_ms: float = np.inf) -> Int[np.ndarray, "k"]:
    """The networks within a limit that no other surpasses.

    None has more operations and at least their efficiency, or the reverse.

    Fewest operations first; none where no network is within the limit.
    """
    within = np.flatnonzero(grid.latency_ms <= limit_ms)
    order = within[np.lexsort((-grid.mu[within], -grid.operations[within]))]
    before = (
        np.concatenate([[-np.inf], np.maximum.accumulate(grid.mu[order])])[:-1]
        if len(order)
        else np.zeros(0)
    )
    return order[grid.mu[order] > before][::-1]
