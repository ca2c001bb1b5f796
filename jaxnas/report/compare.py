"""The comparison of algorithms: from compare/compare.npz to a table, figures and a page, compare/compare.html."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from jaxtyping import Float, Int
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from jaxnas.report import plots, words
from jaxnas.run_directory import RunDirectory
from jaxnas.search.indicators import attainment
from jaxnas.search.statistics import Comparison, bootstrap_band, compare_samples, holm, hypervolume_curve

COLUMNS = 3  # of the attainment figure
LINES = ("-", "--", "-.", ":")


class Curves(NamedTuple):
    """One algorithm: hypervolume in percent of the box between the best and the worst values that anyone found."""

    evaluations: Int[np.ndarray, "g"]
    hypervolume: Float[np.ndarray, "seeds g"]


def write_comparison(run: RunDirectory) -> str:
    """Write compare.csv, compare.html and PNGs beside compare.npz; returns the table as text."""
    arrays = run.read_npz("compare/compare.npz")
    names, objectives = arrays["algorithms"].tolist(), arrays["objectives"].tolist()
    fitness = {name: arrays[f"{name}_fitness"] for name in names}
    best, worst = _box(fitness)
    curves = {name: _curves(fitness[name], arrays[f"{name}_generation"], best, worst) for name in names}
    rows = comparison_rows({name: one.hypervolume[:, -1] for name, one in curves.items()})
    figures = {"hypervolume": hypervolume(curves)}
    if len(objectives) == 2:
        figures["attainment"] = attainment_panels(fitness, objectives)
    for name, figure in figures.items():
        run.write_bytes(f"compare/{name}.png", _png(figure))
    run.write_csv("compare/compare.csv", rows)
    box = zip(objectives, best.tolist(), worst.tolist(), strict=True)
    page = {
        "config": run.read_json("config.json") if run.exists("config.json") else {"name": run.root.name},
        "rows": rows,
        "seeds": arrays["seed"].tolist(),
        "evaluations": {name: int(one.evaluations[-1]) for name, one in curves.items()},
        "failed": sum(int(np.isnan(one).any(axis=-1).sum()) for one in fitness.values()),
        "box": [{"name": name, "best": low, "worst": high} for name, low, high in box],
        "figures": {name: Markup(plots.svg(figure, name)) for name, figure in figures.items()},
    }
    run.write_text("compare/compare.html", _template().render(page))
    return text_table(rows, len(page["seeds"]))


def comparison_rows(final: Mapping[str, Float[np.ndarray, "seeds"]]) -> list[dict[str, Any]]:
    """A row per algorithm, the largest median first: median and quartiles, and tests against random search and the best.

    P-values are corrected after Holm within a column; an algorithm is not compared with itself (NaN).
    """
    names = sorted(final, key=lambda name: -np.median(final[name]))
    against = {"random": "random", "best": names[0]}
    rows: list[dict[str, Any]] = []
    for name in names:
        q1, median, q3 = np.quantile(final[name], [0.25, 0.5, 0.75]).tolist()
        rows.append({"algorithm": name, "seeds": len(final[name]), "median": median, "q1": q1, "q3": q3})
    for label, other in against.items():
        others = [name for name in names if name != other]
        found = {name: compare_samples(final[name], final[other]) for name in others}
        corrected = [holm(np.array([found[name][i] for name in others])) for i in range(2)]
        for i, name in enumerate(others):
            found[name] = found[name]._replace(mann_whitney_p=float(corrected[0][i]), wilcoxon_p=float(corrected[1][i]))
        for row in rows:
            one = found.get(row["algorithm"], Comparison(*[np.nan] * 4))
            row |= {f"{field}_{label}": value for field, value in one._asdict().items()}
    return rows


def text_table(rows: list[dict[str, Any]], seeds: int) -> str:
    """The table for a terminal."""
    head = ["algorithm", "median", "quartiles"] + [f"{what} {label}" for label in ("random", "best") for what in ("U p", "W p", "A12", "r")]
    lines = [head]
    for row in rows:
        figures = [row[f"{field}_{label}"] for label in ("random", "best") for field in Comparison._fields]
        spread = f"{row['q1']:.2f} to {row['q3']:.2f}"
        lines.append([row["algorithm"], f"{row['median']:.2f}", spread, *(words.significant(value) for value in figures)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    legend = [
        f"Hypervolume in % of the box between the best and the worst values found, {seeds} seeds; against random search, and the best.",
        "U p: Mann-Whitney, W p: Wilcoxon signed rank, corrected after Holm; A12: share of pairs won; r: rank-biserial correlation.",
    ]
    return "\n".join(table + legend)


def _box(fitness: Mapping[str, Float[np.ndarray, "seeds n objectives"]]) -> tuple[np.ndarray, np.ndarray]:
    """Best and worst value of each objective over all that was evaluated; the worst is the reference, as in the report of a run."""
    rows = np.concatenate([one.reshape(-1, one.shape[-1]) for one in fitness.values()]).astype(np.float64)
    rows = rows[np.isfinite(rows).all(axis=1)]
    return rows.min(axis=0), rows.max(axis=0)


def _curves(fitness: Float[np.ndarray, "seeds n m"], generation: Int[np.ndarray, "seeds n"], best: np.ndarray, worst: np.ndarray) -> Curves:
    scaled = ((fitness - best) / np.where(worst > best, worst - best, 1)).astype(np.float32)
    ones = np.ones(len(best), np.float32)
    grown = [100 * hypervolume_curve(rows, told, ones) for rows, told in zip(scaled, generation, strict=True)]
    return Curves(np.cumsum(np.bincount(generation[0])), np.array(grown, np.float64))


def attained(fitness: Float[np.ndarray, "seeds n 2"]) -> tuple[Float[np.ndarray, "points"], Float[np.ndarray, "3 points"]]:
    """Attainment surfaces: values of objective 1, and the least of objective 0 that the best seed, half of the seeds and
    every seed reach with at most that, infinite where they do not. Only where a surface takes a step, and its first point."""
    seeds = len(fitness)
    grid, surfaces = attainment(jnp.asarray(fitness[..., ::-1]), [1, (seeds + 1) // 2, seeds])
    places, reached = np.asarray(grid), np.asarray(surfaces)
    last = np.isfinite(places) & np.append(places[1:] > places[:-1], True)  # of points with one value of objective 1
    places, reached = places[last], reached[:, last]
    steps = np.append(True, (reached[:, 1:] != reached[:, :-1]).any(axis=0))
    return places[steps], reached[:, steps]


def _last_gain(places: np.ndarray, reached: np.ndarray) -> float:
    """Where the last of the surfaces comes to rest."""
    return float(places[[np.argmin(row) for row in reached]].max())


def _extended(places: np.ndarray, reached: np.ndarray, end: float) -> tuple[np.ndarray, np.ndarray]:
    """The surfaces as far as `end`, and not drawn where nothing is attained."""
    inside = places <= end
    reached = np.where(np.isfinite(reached), reached, np.nan)[:, inside]
    return np.append(places[inside], end), np.concatenate([reached, reached[:, -1:]], axis=1)


def _heights(surfaces: Sequence[tuple[np.ndarray, np.ndarray]], end: float) -> tuple[float, float]:
    """From the best value on to what every seed attains within the first twentieth of the way, beyond which a surface is a wall."""
    start = min(places[0] for places, _ in surfaces)
    there = [reached[:, max(np.searchsorted(places, start + (end - start) / 20, side="right") - 1, 0)] for places, reached in surfaces]
    low = min(float(reached[0].min()) for _, reached in surfaces)
    high = max(float(column[np.isfinite(column)].max(initial=low)) for column in there)
    margin = 0.05 * (high - low or 1)
    return low - margin, high + margin


def _colour(i: int) -> str:
    return plots.CYCLE[i % len(plots.CYCLE)]


@mpl.rc_context(plots.STYLE)
def hypervolume(curves: Mapping[str, Curves]) -> Figure:
    """Median hypervolume against evaluations, with a band that holds the median with 95 % confidence."""
    figure = Figure(figsize=(8.0, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="evaluations", ylabel="hypervolume (% of the box)")
    for i, (name, (evaluations, grown)) in enumerate(curves.items()):
        low, high = bootstrap_band(grown, 0)
        axes.fill_between(evaluations, low, high, color=_colour(i), alpha=0.2, lw=0)
        axes.plot(evaluations, np.median(grown, axis=0), LINES[i // len(plots.CYCLE) % len(LINES)], color=_colour(i), lw=1.8, label=name)
    axes.legend(loc="lower right")
    return figure


@mpl.rc_context(plots.STYLE)
def attainment_panels(fitness: Mapping[str, Float[np.ndarray, "seeds n 2"]], objectives: list[str]) -> Figure:
    """A panel per algorithm: what the best seed, half of the seeds and every seed attain, beside the median of random search."""
    surfaces = {name: attained(one) for name, one in fitness.items()}
    columns = min(len(surfaces), COLUMNS)
    lines = -(-len(surfaces) // columns)
    figure = Figure(figsize=(3.6 * columns, 0.6 + 3.2 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    end = max(_last_gain(*surface) for surface in surfaces.values())
    for i, (axes, (name, surface)) in enumerate(zip(panels, surfaces.items(), strict=False)):
        places, reached = _extended(*surface, end)
        axes.fill_between(places, reached[0], reached[2], step="post", color=_colour(i), alpha=0.2, lw=0)
        for row, line, label in zip(reached, ("--", "-", ":"), ("best seed", "half of the seeds", "every seed"), strict=True):
            axes.step(places, row, line, where="post", color=_colour(i), lw=1.5, label=label)
        if name != "random" and "random" in surfaces:
            places, reached = _extended(*surfaces["random"], end)
            axes.step(places, reached[1], where="post", color="#777777", lw=1, label="random, half of the seeds")
        axes.set(title=name, xlabel=objectives[1], ylabel=objectives[0])
        axes.label_outer()
        axes.legend(loc="upper right", fontsize=8)
    panels[0].set_ylim(*_heights(list(surfaces.values()), end))
    for axes in panels[len(surfaces) :]:
        axes.remove()
    return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


def _template():
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"significant": words.significant}
    return environment.get_template("compare.html.jinja")
