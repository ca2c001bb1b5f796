"""`jaxnas inspect` and `jaxnas scale`: a network's costs block by block, and a space's front.

Both ask a cost model that accounts for each layer (`hardware.cost_model.LayeredModel`).
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxnas.config import make_analog_chip, make_layered_model, make_space
from jaxnas.errors import UserError
from jaxnas.hardware.analog_chip import AnalogChip
from jaxnas.hardware.cost_model import Estimate, LayeredModel
from jaxnas.networks.costs import cost_table
from jaxnas.networks.op import Op
from jaxnas.report import chip_plots
from jaxnas.report.plots import svg_file
from jaxnas.spaces.space import Space
from jaxnas.studies import analog_inspection
from jaxnas.studies.width_scaling import every_network, front

MAX_DRAWN = 20_000  # networks drawn beside a front
# Figures of a whole network, in words.
SUMMARY: dict[str, Callable[[float], str]] = {
    "operations": lambda value: f"{value / 1e6:.1f} M operations",
    "mu": lambda value: f"mu {value:.3f}",
    "latency_ms": lambda value: f"{value:.1f} ms",
    "energy_uj": lambda value: f"{value:.0f} uJ",
    "peak_bytes": lambda value: f"at most {value / 1e3:.0f} kB in a layer",
}


class Block(NamedTuple):
    """The costs of a block of a network: bytes, cycles, millions of multiply-adds."""

    name: str
    size: int  # pixels of its output's side
    macs: float
    weight_bytes: float
    activation_bytes: float  # of the layer with the most
    spills: tuple[str, ...]  # layers that do not fit
    npu_cycles: float
    system_cycles: float


def genome_of(space: Space, text: str, resolution: int | None = None) -> np.ndarray:
    """The genome of a text: `smallest`, `largest`, or a choice index for every gene.

    `resolution` replaces the genome's own.
    """
    if text in ("smallest", "largest"):
        genome = getattr(space, text).copy()
    elif re.fullmatch(r"\d{1,9}([ ,]+\d{1,9})*", text.strip()):
        genome = np.array(re.split(r"[ ,]+", text.strip()), np.int32)
    else:
        raise UserError(
            f"a genome is smallest, largest, or {len(space.genes)} numbers like '0 2 1 ...', got "
            f"{text[:60]!r}"
        )
    space.decode(genome)  # refuses what is none
    if resolution is not None:
        genome = space.at_resolution(genome, space.resolution_choice(resolution))
    return genome


def account(chip: LayeredModel, space: Space, genome: np.ndarray) -> tuple[list[Block], Estimate]:
    """The costs of each part of a network, in order, and of the whole."""
    ops = space.ops(genome)
    size = space.pixels(genome)
    layers = cost_table(ops, size, size)
    each = jax.device_get(chip.layer_by_layer(layers))
    names = space.owners(genome)
    rows = []
    for name in dict.fromkeys(names):
        at = np.array([i for i, other in enumerate(names) if other == name])
        macs, weights, npu, system = (
            x[at].sum() for x in (each.macs, each.weight_bytes, each.npu_cycles, each.system_cycles)
        )
        spilled = tuple(_layer(ops[i]) for i in at if each.spills[i])
        most = float(each.activation_bytes[at].max())
        rows.append(
            Block(name, ops[at[-1]].height, macs / 1e6, weights, most, spilled, npu, system)
        )
    return rows, chip(layers)


def _layer(op: Op) -> str:
    return op.path.rpartition("/")[2] or op.kind


def run_inspect(
    device: str,
    space_name: str,
    genome: str,
    image: tuple[int, int, int],
    resolution: int | None,
    out: str | None,
) -> None:
    """Print each block's costs on a chip, and draw them.

    `image` is size, channels and classes.
    """
    space = make_space(space_name)(*image)
    chosen = genome_of(space, genome, resolution)
    size = space.pixels(chosen)
    name = f"{re.sub('[^a-z0-9_.]+', '_', space_name)}_{size}"
    analog = make_analog_chip(device)
    if analog is not None:
        _inspect_analog(analog, space, chosen, out or f"{name}_{analog.name}.svg")
        return
    chip = make_layered_model(device)
    blocks, whole = account(chip, space, chosen)
    print(f"{space.name} at {size} pixels on {chip.name} ({chip.error})\n")
    wide = max(13, *(len(row.name) for row in blocks)) + 1
    print(
        f"{'block':<{wide}}{'pixels':>7}{'MMACs':>9}{'weights kB':>12}{'activations kB':>16}"
        f"{'NPU cycles':>12}{'system':>12}  "
        "does not fit"
    )
    for row in blocks:
        kb = f"{row.weight_bytes / 1e3:>12.1f}{row.activation_bytes / 1e3:>16.1f}"
        print(
            f"{row.name:<{wide}}{row.size:>7}{row.macs:>9.2f}{kb}"
            f"{row.npu_cycles:>12,.0f}{row.system_cycles:>12,.0f}  "
            f"{', '.join(row.spills)}"
        )
    print(
        "\n"
        f"{summary(whole)}; {sum(len(row.spills) for row in blocks)} layers do not fit into "
        f"{chip.memory_bytes / 1e3:.0f} kB"
    )
    weights, activations = (
        np.array([getattr(row, f"{what}_bytes") for row in blocks])
        for what in ("weight", "activation")
    )
    spills = np.array([bool(row.spills) for row in blocks])
    figure = chip_plots.memory(
        [row.name for row in blocks], weights, activations, spills, chip.memory_bytes
    )
    _write(out or f"{name}_{chip.name}.svg", svg_file(figure))


def _inspect_analog(chip: AnalogChip, space: Space, genome: np.ndarray, out: str) -> None:
    """Print and draw the tiles and the noise of each layer."""
    size = space.pixels(genome)
    rows = analog_inspection.analog_layers(chip, space, genome, seed=0)
    print(f"{space.name} at {size} pixels on {chip.name} ({chip.error})\n")
    print(analog_inspection.table(chip, rows))
    print(
        "\nerrors of weights, root mean squares in percent of the layer's largest weight, of "
        f"weights that nobody has trained; {sum(row.tiles for row in rows)} tiles of "
        f"{chip.tile_rows} x {chip.tile_columns}; drift compensation: {chip.compensation}"
    )
    errors = np.array([[row.programming, *row.later] for row in rows])
    labels = ["programmed", *map(analog_inspection.told, analog_inspection.times(chip))]
    _write(out, svg_file(chip_plots.noise([row.name for row in rows], errors, labels)))


def summary(whole: Estimate) -> str:
    """The figures of one network in a line, those that the chip has."""
    figures = whole.figures
    return ", ".join(
        words(float(figures[name])) for name, words in SUMMARY.items() if name in figures
    )


def run_scale(
    device: str, space_name: str, resolution: int, limit_ms: float | None, out: str | None
) -> None:
    """Print and draw the front of operations against efficiency, at one resolution."""
    chip = make_layered_model(device)
    space = make_space(space_name)(resolution, 3, 1000)
    grid = every_network(space, chip, resolution)
    found = front(grid, np.inf if limit_ms is None else limit_ms)
    if not len(found):
        raise UserError(
            f"no network of {space.name} is as fast as {limit_ms:g} ms: the fastest takes "
            f"{grid.latency_ms.min():.3g} ms"
        )
    print(
        f"{len(grid.mu):,} networks of {space.name} at {resolution} pixels on {chip.name} "
        f"({chip.error})\n"
    )
    print("mu: the share of the cycles in which the accelerator computes\n")
    print(f"{'M operations':>13}{'mu':>8}{'ms':>8}  genome")
    for i, genome in zip(found, grid.genomes(found), strict=True):
        print(
            f"{grid.operations[i]:>13.1f}{grid.mu[i]:>8.3f}{grid.latency_ms[i]:>8.1f}  "
            f"{' '.join(map(str, genome))}"
        )
    title = f"{space.name} at {resolution} pixels on {chip.name}" + (
        "" if limit_ms is None else f", at most {limit_ms:g} ms"
    )
    within = np.ones(len(grid.mu), bool) if limit_ms is None else grid.latency_ms <= limit_ms
    slower = None if within.all() else thinned(grid.points[~within])
    figure = chip_plots.efficiency(
        thinned(grid.points[within]), grid.points[found], {}, title, slower
    )
    _write(out or f"scaling_{resolution}_{chip.name}.svg", svg_file(figure))


def thinned(points: np.ndarray) -> np.ndarray:
    """At most as many rows as a figure can show, evenly spread over all."""
    return points[:: max(1, len(points) // MAX_DRAWN), :2]


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; name another --out") from error
    print(f"\n{path}")
