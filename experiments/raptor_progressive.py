"""Question: what does a width multiplier for every row of MobileNetV2 bring, on a chip on which
wide maps are dear?

All widths at one resolution on the model of TinyRAPTOR, exactly; the front of operations against
efficiency mu, within a latency and without; beside it MobileNetV2 scaled uniformly and the
published configuration (Castagnetti et al., table 2).

Command: python experiments/raptor_progressive.py [--resolution 160] [--out FILE.svg]
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import tyro

from jaxnas.cli import told
from jaxnas.hardware.memory_chip import RAPTOR
from jaxnas.report import chip_plots
from jaxnas.report.plots import svg_file
from jaxnas.spaces.mobilenet_v2 import RAPTOR_WIDTHS, mobilenet_v2, uniform
from jaxnas.studies.inspection import thinned
from jaxnas.studies.width_scaling import every_network, front

UNIFORM = (0.3, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0)
COMPARED = 0.5


@dataclass(frozen=True)
class Settings:
    """What is tried."""

    resolution: int = 160
    out: Path = Path("raptor_progressive.svg")


def main() -> int:
    """Prints the comparison, draws the front; 1 if a bar is missed."""
    settings = tyro.cli(Settings, description=__doc__)
    start = perf_counter()
    grid = every_network(mobilenet_v2(), RAPTOR, settings.resolution)
    whole = grid.points[front(grid)]
    seconds = perf_counter() - start

    def one(multipliers) -> np.ndarray:
        return every_network(
            mobilenet_v2(multipliers=multipliers), RAPTOR, settings.resolution
        ).points[0]

    scaled = {width: one(uniform(width)) for width in UNIFORM}
    published = one([(width,) for width in RAPTOR_WIDTHS])
    compared = scaled[COMPARED]
    within = grid.points[front(grid, compared[2])]
    print(
        f"{len(grid.mu):,} networks at {settings.resolution} pixels in {seconds:.1f} s "
        f"({RAPTOR.error})\n"
    )
    print("| network | operations, M | mu | latency, ms |\n|---|---|---|---|")
    rows = [(f"MobileNetV2 {width}", found) for width, found in scaled.items()] + [
        ("published table 2", published)
    ]
    rows += [(f"front within {compared[2]:.1f} ms", found) for found in within] + [
        ("front", found) for found in whole
    ]
    for name, (operations, mu, latency_ms) in rows:
        print(f"| {name} | {operations:.1f} | {mu:.3f} | {latency_ms:.1f} |")
    others = np.stack(list(scaled.values()))
    dominated = all(
        (whole[:, 0] >= row[0]).any() and (whole[whole[:, 0] >= row[0], 1] > row[1]).any()
        for row in others
    )
    best = within[within[:, 1].argmax()]
    met = {
        "under a minute": seconds < 60,
        "the front dominates uniform scaling": dominated,
        (
            f"at the latency of MobileNetV2 {COMPARED}: mu {best[1] / compared[1]:.2f} times its "
            "own (bar 1.9)"
        ): best[1] >= 1.9 * compared[1],
        f"operations {best[0] / compared[0]:.2f} times (bar 2)": best[0] >= 2 * compared[0],
    }
    print()
    for name, held in met.items():
        print(f"{name}: {'met' if held else 'MISSED'}")
    marked = {
        "MobileNetV2 scaled uniformly": others,
        "published table 2": published[None],
        f"front within {compared[2]:.0f} ms": within,
    }
    title = (
        f"widths of MobileNetV2's rows at {settings.resolution} pixels on a simulated TinyRAPTOR"
    )
    settings.out.write_text(
        svg_file(chip_plots.efficiency(thinned(grid.points), whole, marked, title)),
        encoding="utf-8",
    )
    print(f"\n{settings.out}")
    return 0 if all(met.values()) else 1


if __name__ == "__main__":
    sys.exit(told(main))
