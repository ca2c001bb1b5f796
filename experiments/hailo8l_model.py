"""Question: how far is the analytic model of the Hailo-8L from published throughput, for networks
that it has not seen?

Command: python experiments/hailo8l_model.py   (half a minute)

HAILO_TABLES names the folder of `layer_tables.csv` (28 networks, layer by layer) and
`all_tasks.csv` (published). The model is fitted again without each network in turn (on both chips,
in all its variants), and then asked for it: its frame time at batch 1, and whether it fits in one
piece. Release v2.18, or v2.15 where a network is missing there; both are of high compiler effort.
One network in one piece in v2.18 but several in v2.17, whose effort was lower, also counts for the
fit of the loading times.
"""

import csv
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from scipy.optimize import least_squares

from jaxnas.cli import told
from jaxnas.errors import UserError
from jaxnas.hardware.dataflow_chip import HAILO_8L, DataflowChip, Workload, workload
from jaxnas.networks.costs import ADD, AVGPOOL2, CONV, LINEAR, POOL, Layers
from jaxnas.predictors import metrics

# Errors of the logarithm beyond this count linearly, so that no outlier draws the fit to itself.
ABSOLUTE = 0.03
# Of the line between networks in one piece and in several: at 5 % of occupancy beside it, odds of e
# to 1.
SHARPNESS = 20.0
# Millions of parameters, and of activations in rows.
CAPACITIES = np.exp(np.linspace(np.log([8, 0.7]), np.log([60, 4]), 161))


PIECES = {False: "one piece", True: "several"}


class Run(NamedTuple):
    """Published throughput of a network on a chip."""

    network: str
    chips: int  # in units of a Hailo-8L
    several: bool
    ms: float  # per image at batch 1
    ms8: float  # per batch of 8


class Fit(NamedTuple):
    """What follows from all runs but those of one network."""

    chip: DataflowChip
    single: list[Run]
    several: list[Run]


def main() -> int:
    """Prints the fit, and its error; exit code 1 if a bar is missed."""
    folder = os.environ.get("HAILO_TABLES")
    if not folder or not Path(folder, "layer_tables.csv").is_file():
        print(
            "hailo8l_model: set HAILO_TABLES to the folder of layer_tables.csv and all_tasks.csv",
            file=sys.stderr,
        )
        return 2
    works = read_works(Path(folder))
    runs = read_runs(Path(folder))
    chip = fit(works, runs)
    print("fitted:", *(f"{name} {getattr(chip, name):.5g}" for name in COEFFICIENTS + CAPACITY))
    print(
        "ranges:",
        *(f"{name} {least:.4g} to {most:.4g};" for name, least, most in fitted_range(works)),
    )
    return report(*left_out(works, runs))


def read_works(folder: Path) -> dict[str, Workload]:
    """The workload of each network of layer_tables.csv, as float64 numbers."""
    tables: dict[str, list[dict[str, str]]] = {}
    with open(folder / "layer_tables.csv", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            tables.setdefault(row["network"], []).append(row)
    return {
        name: Workload(*(np.asarray(x, np.float64) for x in workload(as_layers(rows))))
        for name, rows in tables.items()
    }


def as_layers(rows: list[dict[str, str]]) -> Layers:
    """A table as the model sees it; poolings of any window count as jaxnas's halving one."""
    kinds = {"conv": CONV, "dw": CONV, "fc": LINEAR, "gap": POOL, "pool": AVGPOOL2, "add": ADD}
    names = ("out_h", "out_w", "c_in", "c_out", "kernel", "stride", "groups")
    columns = [np.array([int(row[name]) for row in rows]) for name in names]
    kind = np.array([kinds[row["kind"]] for row in rows])
    table = dict(zip(("height", "width", *names[2:]), columns, strict=True))
    weighted = (kind == CONV) | (kind == LINEAR)
    within = table["c_in"] // table["groups"]
    weights = weighted * table["c_out"] * within * table["kernel"] ** 2
    extras = weighted * np.where(kind == CONV, 2, 1)
    table |= {
        "kind": kind,
        "macs": weights * table["height"] * table["width"],
        "params": weights + extras * table["c_out"],
        "reads": np.zeros_like(kind),
        "live": np.zeros_like(kind),
        "repeat": np.ones_like(kind),
    }
    return Layers(**{name: jax.numpy.asarray(column, np.int32) for name, column in table.items()})


def read_runs(folder: Path) -> list[Run]:
    """The published runs.

    The first of each network and chip is the one that counts, of high effort.
    """
    frames: dict[tuple[str, str, str], tuple[float, float]] = {}
    with open(folder / "all_tasks.csv", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            frames[row["network"], row["hw_arch"], row["release"]] = (
                float(row["fps_batch1"] or 0),
                float(row["fps_batch8"] or 0),
            )
    with open(folder / "layer_tables.csv", encoding="utf-8", newline="") as lines:
        names = list(dict.fromkeys(row["network"] for row in csv.DictReader(lines)))
    runs = []
    for name in names:
        for arch, chips in (("hailo8l", 1), ("hailo8", 2)):
            run = _run(
                name, chips, frames.get((name, arch, "v2.18")) or frames[name, arch, "v2.15"]
            )
            runs.append(run)
            earlier = frames.get((name, arch, "v2.17"))
            if chips == 1 and earlier and not run.several and _run(name, 1, earlier).several:
                runs.append(_run(name, 1, earlier))
    return runs


def _run(name: str, chips: int, frames: tuple[float, float]) -> Run:
    """Equal throughput at batch 1 and 8, to 2 %, means that nothing is loaded between batches."""
    return Run(
        name, chips, abs(frames[0] / frames[1] - 1) >= 0.02, 1e3 / frames[0], 8e3 / frames[1]
    )


COEFFICIENTS = (
    "pixel_cycles",
    "dense",
    "depthwise",
    "elementwise",
    "load_params_ms",
    "load_lines_ms",
    "parts_slower",
)
CAPACITY = ("params_capacity", "lines_capacity")


def fit(works: dict[str, Workload], runs: list[Run], without: str = "") -> DataflowChip:
    """The chip that the runs of all networks but one speak for."""
    runs = [run for run in runs if run.network != without]
    single = [run for run in runs if not run.several]
    several = [run for run in runs if run.several and run.chips == 1]
    chip = _fitted(HAILO_8L, COEFFICIENTS[:4], lambda chip: _single_errors(chip, works, single))
    chip = _fitted(chip, COEFFICIENTS[4:], lambda chip: _several_errors(chip, works, several))
    return replace(chip, **dict(zip(CAPACITY, _capacities(works, runs), strict=True)))


def _fitted(
    chip: DataflowChip, names: tuple[str, ...], errors: Callable[[DataflowChip], np.ndarray]
) -> DataflowChip:
    """The chip whose coefficients, all above 0, make the errors of logarithms small."""

    def changed(logs: np.ndarray) -> DataflowChip:
        return replace(chip, **dict(zip(names, np.exp(logs).tolist(), strict=True)))

    start = np.log([getattr(chip, name) for name in names])
    return changed(
        least_squares(lambda logs: errors(changed(logs)), start, loss="soft_l1", f_scale=ABSOLUTE).x
    )


def _stacked(works: dict[str, Workload], runs: list[Run]) -> Workload:
    return Workload._make(np.array([works[run.network] for run in runs]).T)


def _single_errors(chip: DataflowChip, works: dict[str, Workload], runs: list[Run]) -> np.ndarray:
    """Of n chips in one.

    They do n times the work in a millisecond and take the input in as fast.
    """
    work = _stacked(works, runs)
    chips = np.array([run.chips for run in runs])
    shared = work._replace(
        dense=work.dense / chips,
        depthwise=work.depthwise / chips,
        elementwise=work.elementwise / chips,
    )
    return np.log(chip.whole_ms(shared) / np.array([run.ms for run in runs]))


def _several_errors(chip: DataflowChip, works: dict[str, Workload], runs: list[Run]) -> np.ndarray:
    work = _stacked(works, runs)
    image_ms = chip.parts_slower * chip.whole_ms(work)
    loading_ms = chip.loading_ms(work)
    measured = np.array([(run.ms, run.ms8) for run in runs])
    return np.log(np.stack([loading_ms + n * image_ms for n in (1, 8)], axis=1) / measured).reshape(
        -1
    )


def _capacities(works: dict[str, Workload], runs: list[Run]) -> tuple[float, float]:
    """The mean of the two logarithms over all pairs.

    Each by its likelihood (a logistic regression with a flat prior).

    Only runs of high effort, on a Hailo-8L.
    """
    first = {run.network: run for run in reversed(runs) if run.chips == 1}
    several = np.array([run.several for run in first.values()])
    params, lines = (
        np.array([getattr(works[name], what) for name in first]) for what in ("params", "lines")
    )
    logs = np.log(CAPACITIES)
    occupancy = (
        params[:, None, None] / CAPACITIES[:, None, 0]
        + lines[:, None, None] / CAPACITIES[None, :, 1]
    )
    likelihood = np.exp(
        -np.logaddexp(
            0, SHARPNESS * np.where(several[:, None, None], 1 - occupancy, occupancy - 1)
        ).sum(axis=0)
    )
    share = likelihood / likelihood.sum()
    return float(np.exp(share.sum(axis=1) @ logs[:, 0])), float(
        np.exp(share.sum(axis=0) @ logs[:, 1])
    )


def fitted_range(works: dict[str, Workload]) -> list[tuple[str, float, float]]:
    """The least and the most of what the model reads, over the networks."""
    quantities = ("pixels", "dense", "depthwise", "elementwise", "params", "lines")
    return [
        (
            name,
            min(getattr(w, name) for w in works.values()),
            max(getattr(w, name) for w in works.values()),
        )
        for name in quantities
    ]


def left_out(
    works: dict[str, Workload], runs: list[Run]
) -> tuple[list[Run], np.ndarray, np.ndarray]:
    """The Hailo-8L runs of high effort.

    And of a model that has not seen their network: ms per image, and whether several parts.
    """
    first = list({run.network: run for run in reversed(runs) if run.chips == 1}.values())[::-1]
    said = []
    for run in first:
        said.append(fit(works, runs, without=run.network).estimate(works[run.network]))
    return (
        first,
        np.array([float(one.figures["period_ms"]) for one in said]),
        np.array([bool(one.figures["several"]) for one in said]),
    )


def report(runs: list[Run], predicted_ms: np.ndarray, several: np.ndarray) -> int:
    """Prints each network and the summary."""
    ms = np.array([run.ms for run in runs])
    truth = np.array([run.several for run in runs])
    for run, said, cut in zip(runs, predicted_ms, several, strict=True):
        said_so = f"{said:7.3f} ms, {PIECES[bool(cut)]}, {said / run.ms - 1:+.0%}"
        print(f"{run.network:34} {run.ms:7.3f} ms, {PIECES[run.several]}; left out {said_so}")
    for name, rows in (
        ("all", np.ones(len(ms), bool)),
        ("in one piece", ~truth),
        ("right about pieces", several == truth),
    ):
        error = np.abs(predicted_ms[rows] / ms[rows] - 1)
        log = np.log(predicted_ms[rows] / ms[rows])
        spearman, kendall = (
            statistic(ms[rows], predicted_ms[rows])
            for statistic in (metrics.spearman, metrics.kendall)
        )
        print(
            f"{name}: {rows.sum()} networks, Spearman {spearman:.3f}, Kendall {kendall:.3f}, error "
            f"median {np.median(error):.1%}, mean {error.mean():.1%}, RMS of the logarithm "
            f"{np.sqrt((log**2).mean()):.3f}, worst x{np.exp(np.abs(log).max()):.2f}"
        )
    right = int((several == truth).sum())
    error = float(np.median(np.abs(predicted_ms / ms - 1)))
    spearman = metrics.spearman(ms, predicted_ms)
    print(f"one piece or several: right {right} of {len(ms)}")
    met = right >= 27, error <= 0.15, spearman >= 0.94
    print(
        "bars: pieces right at least 27, median error at most 15 %, Spearman at least 0.94: "
        f"{'met' if all(met) else 'MISSED'}"
    )
    return 0 if all(met) else 1


if __name__ == "__main__":
    try:
        sys.exit(told(main))
    except UserError as error:
        sys.exit(f"hailo8l_model: {error}")
