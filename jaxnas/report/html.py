"""The report of a run.

One HTML page that opens offline, made from the files of the run directory alone.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from jaxnas.algorithms import pareto
from jaxnas.algorithms.stopping import stopped_in_words
from jaxnas.errors import UserError
from jaxnas.objectives.columns import Columns
from jaxnas.records.candidates import CANDIDATES, RANDOM, Searched, read_searched
from jaxnas.records.claims import read_claims
from jaxnas.records.environment import read_environment
from jaxnas.records.files import OF_LATENCY, RECORDS
from jaxnas.records.found import FOUND, read_found
from jaxnas.records.measurements import by_network, read_asked, read_measurements
from jaxnas.records.metrics import read_metrics
from jaxnas.records.predictor import read_predictions, read_quality
from jaxnas.records.run_directory import RunDirectory
from jaxnas.report import plots, words
from jaxnas.report.algorithm_plots import Said, drawn
from jaxnas.report.cautions import commonest
from jaxnas.report.files import check_files, drawing, objectives_of
from jaxnas.report.gradient import read_gradient
from jaxnas.report.headline import answer, read_head
from jaxnas.report.networks import setup
from jaxnas.studies.statistics import hypervolume_curve


def write_report(run: RunDirectory) -> Path:
    """Write `report.html` from the files of a finished run and return its path.

    A missing or damaged file is a `UserError`.
    """
    latency = not run.exists("config.json") or "latency_ms" in objectives_of(run)
    for record in RECORDS.values():
        needed = record.reported and (latency or record.made_by not in OF_LATENCY)
        if needed and not run.exists(record.name):
            raise UserError(f"no {record.name} in {run.root}: run `jaxnas {record.made_by}` first")
    check_files(run)
    with drawing(run):
        return _write_report(run)


def _write_report(run: RunDirectory) -> Path:
    candidates = read_searched(run, CANDIDATES)
    costs = candidates.columns.costs
    what = candidates.labels
    head = read_head(run, costs)
    config, data, networks, said = head
    limit_ms = config["latency_limit_ms"]
    page = {
        "config": config,
        "experiment": {
            name: value for name, value in config.items() if not isinstance(value, dict)
        },
        "environment": read_environment(run),
        "data": data,
        "commonest": {split: commonest(sizes) for split, sizes in data["class_sizes"].items()},
        "networks": networks,
        "answer": answer(run, *head),
        "also": {name: what[name] for name in costs if name != "latency_ms"},
        "limit_ms": limit_ms,
        "search": _search(
            candidates,
            read_searched(run, RANDOM),
            networks,
            limit_ms,
            config.get("search", {}),
        ),
        "doubt": _doubt(run) if run.exists(FOUND) else None,
        "claims": read_claims(run),
        # Older runs have none.
        "hybrid": config.get("search", {}).get("hybrid") or {"epochs": 0, "head_epochs": 0},
        "said": said,
        "predictor": _predictor(run, said) if "latency_ms" in costs else None,
        "measurements": _measurements(run) if "latency_ms" in costs else None,
        "training": _training(run, networks),
        "gradient": _gradient(run),
        "stages": _stages(run),
    }
    run.write_text("report.html", _environment().get_template("report.html.jinja").render(page))
    return run.path("report.html")


def _environment() -> Environment:
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        function.__name__: function
        for function in (words.significant, words.percent, words.signed_percent, words.quantity)
    }
    return environment


def _figure(figure: Figure, name: str) -> Markup:
    return Markup(plots.svg(figure, name))


def _search(
    candidates: Searched,
    random: Searched,
    networks: list[dict[str, Any]],
    limit_ms: float | None,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    labels = candidates.labels
    found = candidates.counted.fitness
    sampled = random.counted.fitness
    both = np.concatenate([found, sampled])
    finite = both[~np.isnan(both).any(axis=1)]
    best = finite.min(axis=0)
    reference = finite.max(axis=0)
    box = float(np.prod(np.float64(reference) - best))
    growth = [
        100 * hypervolume_curve(rows, candidates.archive.generation, reference) / (box or 1)
        for rows in (found, sampled)
    ]
    return {
        "pareto": _paretos(candidates.counted, random.counted, networks, labels, limit_ms),
        "hypervolume": _figure(plots.hypervolume(*growth), "hypervolume"),
        "box": [
            {"name": "error" if name == "error" else labels[name], "best": low, "worst": high}
            for name, low, high in zip(labels, best.tolist(), reference.tolist(), strict=True)
        ],
        "final": (final := [float(curve[-1]) for curve in growth]),
        "verdict": words.verdict(*final),
        "counts": [_counts(candidates), _counts(random)],
        "failed": int(np.isnan(candidates.archive.fitness).any(axis=1).sum()),
        "constraints": _said_constraints(candidates, random, settings.get("constraints", ())),
        "formulation": settings.get("formulation"),
        "generations": len(growth[0]),
        "stopped": stopped_in_words(candidates.archive, settings.get("generations", 0)),
        "said": _said(candidates),
    }


def _said_constraints(candidates: Searched, random: Searched, constraints: Sequence[str]) -> str:
    """How many candidates keep to the constraints; nothing where there are none."""
    if candidates.constraints is None or candidates.feasible is None or random.feasible is None:
        return ""
    return (
        f"Only candidates that keep to the constraints ({', '.join(constraints)}) "
        f"count: {candidates.feasible.sum()} of the search, {random.feasible.sum()} at random."
    )


def _said(searched: Searched) -> dict[str, Any]:
    """What the algorithm says of itself: figures, and rank correlations of what it predicted."""
    archive = searched.archive
    evaluations = np.cumsum(np.bincount(archive.generation))
    figures = {name: array[None] for name, array in archive.figures.items()}
    one = Said(evaluations, figures, archive.fitness[None])
    labels = list(searched.labels.values())
    taus = {} if one.predicted is None else {n: one.correlation(i) for i, n in enumerate(labels)}
    figures = {name: _figure(each, name) for name, each in drawn({"": one}, labels).items()}
    return {"figures": figures, "taus": taus}


def _counts(searched: Searched) -> dict[str, Any]:
    """Candidates evaluated, different networks among them, and on the front.

    Genomes where an older run did not count networks.
    """
    network = searched.network
    front = _front(searched.counted.fitness)
    if network is None:
        network = np.unique(searched.archive.genomes, axis=0, return_inverse=True)[1].reshape(-1)
    return {
        "candidates": len(network),
        "networks": len(set(network.tolist())),
        "front": len(set(network[front].tolist())),
    }


def _paretos(
    found: Columns,
    sampled: Columns,
    networks: list[dict[str, Any]],
    labels: Mapping[str, str],
    limit_ms: float | None,
) -> dict[str, Markup]:
    """Accuracy against each cost, {what it is: figure}.

    With the front that the two have by themselves.
    """
    figures = {}
    for name in found.costs:
        points = [plots.Points(rows["error"], rows[name]) for rows in (found, sampled)]
        fronts = [_front(np.stack(some, axis=1)) for some in points]
        limit = limit_ms if name == "latency_ms" else None
        label = (
            "latency (ms): candidates predicted, chosen measured"
            if name == "latency_ms"
            else labels[name]
        )
        figure = plots.pareto(
            points[0], fronts[0], points[1], fronts[1], _chosen(networks, name), limit, label
        )
        figures[labels[name]] = _figure(figure, f"pareto-{name}")
    return figures


def _chosen(networks: list[dict[str, Any]], cost: str) -> plots.Chosen:
    """The chosen networks in a plot against this cost; all but latency is exact."""
    before = [[1 - one["search_accuracy"], one["costs"][cost]] for one in networks]
    after = [
        [1 - one["accuracy"], one["ms"] if cost == "latency_ms" else one["costs"][cost]]
        for one in networks
    ]
    spread = [
        [one["p10_ms"], one["p90_ms"]] if cost == "latency_ms" else 2 * [one["costs"][cost]]
        for one in networks
    ]
    ends = [[1 - end for end in one["interval"]] for one in networks]
    searched, final, error, reach = (
        np.array(some, float).reshape(-1, 2) for some in (before, after, ends, spread)
    )
    labels = [f"{one['name']} ({one['role']})" for one in networks]
    return plots.Chosen(plots.Points(*searched.T), plots.Points(*final.T), error, reach, labels)


def _front(fitness: np.ndarray) -> np.ndarray:
    """Which rows are on the front."""
    return np.asarray(jax.jit(pareto.front)(jnp.asarray(fitness)))


def _doubt(run: RunDirectory) -> dict[str, Any]:
    """Of a search that asked the device: the fronts, and how many networks it asked for."""
    found = read_found(run)
    mean_ms, low_ms, high_ms = map(np.asarray, found.predicted)
    predicted = plots.Points(found.error, mean_ms)
    known = plots.Points(found.error, found.measured_ms)
    known = known.of(found.measured & np.isfinite(found.measured_ms))
    interval = np.stack([low_ms, high_ms], axis=1)
    fronts = [_front(np.stack(some, axis=1)) for some in (predicted, known)]
    asked = read_asked(run)
    return {
        "figure": _figure(plots.doubt(predicted, fronts[0], interval, known, fronts[1]), "doubt"),
        "asked": len(asked),
        "failed": sum(bool(one.measurement.failure) for one in asked),
        "before": int(found.measured.sum()) - len(asked),
        "rounds": found.rounds - 1,
        "doubtful": found.undecided,
    }


def _predictor(run: RunDirectory, said: str) -> dict[str, Any]:
    splits: dict[str, list[list[float]]] = {"train": [], "validation": [], "test": []}
    for one in read_predictions(run):
        splits[one.split].append([one.measured_ms, one.predicted_ms])
    points = {split: np.array(rows).reshape(-1, 2) for split, rows in splits.items()}
    return {
        "figure": _figure(plots.predictor(points, said), "predictor"),
        "metrics": read_quality(run),
    }


def _measurements(run: RunDirectory) -> dict[str, Any]:
    """How the device was measured.

    How many networks, how many failed, and the median spread of the repeats.
    """
    rows = read_measurements(run)
    good = [row.measurement for row in rows if not row.measurement.failure]
    spread = [(one.p90_ms - one.p10_ms) / one.latency_ms for one in good]
    setups = sorted({setup(one.device, one.threads, one.runtime, one.simulated) for one in good})
    return {
        "networks": len(by_network(rows)),
        "count": len(rows),
        "failed": len(rows) - len(good),
        "spread": float(np.median(spread)) if spread else math.nan,
        "setups": setups,
    }


def _training(run: RunDirectory, networks: list[dict[str, Any]]) -> dict[str, Any]:
    """The curves; of a step that was trained twice (after a resume) the last line counts."""
    lines = [line for line in read_metrics(run) if "event" not in line]
    steps = {line["step"]: line for line in lines if line["stage"] == "train"}
    curves: dict[str, dict[int, float]] = {network["name"]: {} for network in networks}
    for line in lines:
        if line["stage"] == "finetune" and line["name"] in curves:
            curves[line["name"]][line["epoch"]] = line["search_accuracy"]
    arrays = {
        f"{network['letter']}: {network['name']}": _curve(curves[network["name"]])
        for network in networks
    }
    loss = [
        np.array([steps[step].get(column, math.nan) for step in sorted(steps)], float)
        for column in ("loss", "loss_largest")
    ]
    return {
        "supernet": _figure(plots.training(np.array(sorted(steps), int), *loss), "training"),
        "finetuning": _figure(plots.finetuning(arrays), "finetuning")
        if any(curves.values())
        else None,
    }


def _gradient(run: RunDirectory) -> dict[str, Any] | None:
    found = read_gradient(run)
    if found is None:
        return None
    drawn = {name: found[name] for name in ("entropies", "costs") if found[name] is not None}
    return found | {name: _figure(figure, name) for name, figure in drawn.items()}


def _curve(points: Mapping[int, float]) -> Float[np.ndarray, "n 2"]:
    return np.array(sorted(points.items()), float).reshape(-1, 2)


def _stages(run: RunDirectory) -> dict[str, float]:
    """Seconds that each stage took, all its runs together."""
    seconds: dict[str, float] = {}
    for line in read_metrics(run):
        if line.get("event") == "done":
            seconds[line["stage"]] = seconds.get(line["stage"], 0.0) + line["seconds"]
    return seconds
