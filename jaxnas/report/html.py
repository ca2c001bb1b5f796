"""The report of a run: one HTML page that opens offline, made from the files of the run directory alone."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from jaxnas.errors import UserError
from jaxnas.report import plots, words
from jaxnas.report.claims import read_claims
from jaxnas.run_directory import RunDirectory
from jaxnas.search import pareto
from jaxnas.search.statistics import hypervolume_curve

MADE_BY = {  # the command that makes each file that the report reads
    "config.json": "data",
    "environment.json": "data",
    "data.json": "data",
    "metrics.jsonl": "train",
    "measurements.csv": "profile",
    "predictions.csv": "predict",
    "predictor.json": "predict",
    "candidates.npz": "search",
    "random.npz": "search",
    "chosen.json": "finetune",
    "verified.csv": "verify",
}
COSTS = {  # objectives beside the error, for people
    "latency_ms": "predicted latency (ms)",
    "energy_uj": "energy (uJ)",
    "mmacs": "multiply-adds (million)",
    "mparams": "parameters (million)",
    "peak_kib": "most activations at once, computed in place (KiB)",
}
ACCURACIES = ("search_accuracy", "finetuned_search_accuracy", "test_accuracy", "top1_agreement")
MILLISECONDS = ("predicted_ms", "measured_ms", "p10_ms", "p90_ms", "float32_ms", "int8_ms")
NUMBERS = ("macs", "params", "max_logit_difference", "int8_test_accuracy", *MILLISECONDS, *ACCURACIES)


def write_report(run: RunDirectory) -> Path:
    """Write `report.html` from the files of a finished run and return its path; a missing file is a `UserError`."""
    for file, command in MADE_BY.items():
        if not run.exists(file):
            raise UserError(f"no {file} in {run.root}: run `jaxnas {command}` first")
    networks, config = _networks(run), run.read_json("config.json")
    also = config.get("search", {}).get("also", [])  # older runs have none
    limit_ms, said = config["latency_limit_ms"], "simulated" if any(one["simulated"] for one in networks) else "measured"
    page = {
        "config": config,
        "experiment": {name: value for name, value in config.items() if not isinstance(value, dict)},
        "environment": run.read_json("environment.json"),
        "data": run.read_json("data.json"),
        "networks": networks,
        "also": {name: COSTS[name] for name in also},
        "limit_ms": limit_ms,
        "search": _search(run, networks, also, limit_ms),
        "doubt": _doubt(run) if run.exists("doubt.npz") else None,
        "claims": read_claims(run),
        "hybrid": config.get("search", {}).get("hybrid") or {"epochs": 0, "head_epochs": 0},  # older runs have none
        "said": said,
        "predictor": _predictor(run, said),
        "measurements": _measurements(run),
        "training": _training(run, networks),
        "stages": _stages(run),
    }
    run.write_text("report.html", _environment().get_template("report.html.jinja").render(page))
    return run.path("report.html")


def _environment() -> Environment:
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        function.__name__: function for function in (words.significant, words.percent, words.signed_percent, words.quantity)
    }
    return environment


def _figure(figure: Figure, name: str) -> Markup:
    return Markup(plots.svg(figure, name))


def _networks(run: RunDirectory) -> list[dict[str, Any]]:
    """The chosen networks in order, each with what its verification says, numbers as numbers."""
    verified = {row["name"]: row for row in run.read_csv("verified.csv")}
    images = run.read_json("data.json")["test"]
    networks = []
    for i, chosen in enumerate(run.read_json("chosen.json")):
        if chosen["name"] not in verified:
            raise UserError(f"verified.csv in {run.root} lacks {chosen['name']!r}: run `jaxnas verify` first")
        row = verified[chosen["name"]]
        networks.append(
            {
                **{column: row[column] for column in ("name", "role", "device")},
                **(numbers := {column: float(row.get(column) or "nan") for column in NUMBERS}),  # older runs have no int8
                "letter": plots.letter(i),
                "costs": {"latency_ms": numbers["predicted_ms"]} | {name: chosen[name] for name in COSTS if name in chosen},
                "setup": _setup(row),
                "simulated": _simulated(row),
                "warning": row.get("warning", ""),  # older runs have none
                "test_interval": words.interval(numbers["test_accuracy"], images),
                "words": words.genome_in_words(chosen["network"]),
                "model": "models/" + quote(PurePosixPath(row["model"]).name),
            }
        )
    return networks


def _search(run: RunDirectory, networks: list[dict[str, Any]], also: Sequence[str], limit_ms: float | None) -> dict[str, Any]:
    candidates, costs = run.read_npz("candidates.npz"), ("latency_ms", *also)
    found, sampled = candidates["fitness"], run.read_npz("random.npz")["fitness"]
    both = np.concatenate([found, sampled])
    reference = both[~np.isnan(both).any(axis=1)].max(axis=0)
    growth = [hypervolume_curve(rows, candidates["generation"], reference) for rows in (found, sampled)]
    return {
        "pareto": _paretos(found, sampled, networks, costs, limit_ms),
        "hypervolume": _figure(plots.hypervolume(*growth), "hypervolume"),
        "reference": dict(zip(("error", *costs), reference.tolist(), strict=True)),
        "final": (final := [float(curve[-1]) for curve in growth]),
        "verdict": words.verdict(*final),
        "evaluations": [len(found), len(sampled)],
        "failed": int(np.isnan(found).any(axis=1).sum()),
        "front_size": int(_front(found).sum()),
        "generations": len(growth[0]),
    }


def _paretos(found, sampled, networks: list[dict[str, Any]], costs: Sequence[str], limit_ms: float | None) -> dict[str, Markup]:
    """Accuracy against each cost, {what it is: figure}, with the front that the two have by themselves."""
    labels, figures = [f"{network['name']} ({network['role']})" for network in networks], {}
    for i, name in enumerate(costs, 1):
        points = [rows[:, [0, i]] for rows in (found, sampled)]
        fronts = [_front(rows) for rows in points]
        chosen = np.array([[1 - network["search_accuracy"], network["costs"][name]] for network in networks]).reshape(-1, 2)
        limit = limit_ms if name == "latency_ms" else None
        figure = plots.pareto(points[0], fronts[0], points[1], fronts[1], chosen, labels, limit, COSTS[name])
        figures[COSTS[name]] = _figure(figure, f"pareto-{name}")
    return figures


def _front(fitness: np.ndarray) -> np.ndarray:
    """Which rows are on the front."""
    return np.asarray(jax.jit(pareto.front)(jnp.asarray(fitness)))


def _doubt(run: RunDirectory) -> dict[str, Any]:
    """Of a search that asked the device: the fronts, and how many networks it asked for."""
    found = run.read_npz("doubt.npz")
    measured, error = found["measured"], found["error"]
    predicted, known = (np.stack([error, latency], axis=1) for latency in (found["mean_ms"], found["measured_ms"]))
    known, interval = known[measured & np.isfinite(found["measured_ms"])], np.stack([found["low_ms"], found["high_ms"]], axis=1)
    fronts = [_front(rows) for rows in (predicted, known)]
    asked = run.read_csv("asked.csv") if run.exists("asked.csv") else []
    return {
        "figure": _figure(plots.doubt(predicted, fronts[0], interval, known, fronts[1]), "doubt"),
        "asked": len(asked),
        "failed": sum(bool(row["failure"]) for row in asked),
        "before": int(measured.sum()) - len(asked),
        "rounds": int(found["rounds"]) - 1,
        "doubtful": int(found["doubtful"]),
    }


def _predictor(run: RunDirectory, said: str) -> dict[str, Any]:
    splits: dict[str, list[list[float]]] = {"train": [], "validation": [], "test": []}
    for row in run.read_csv("predictions.csv"):
        splits[row["split"]].append([float(row["measured_ms"] or "nan"), float(row["predicted_ms"] or "nan")])
    points = {split: np.array(rows).reshape(-1, 2) for split, rows in splits.items()}
    return {"figure": _figure(plots.predictor(points, said), "predictor"), "metrics": run.read_json("predictor.json")}


def _simulated(row: Mapping[str, str]) -> bool:
    """Whether a model gave this latency."""
    return row.get("simulated") == "True"  # older runs do not say


def _setup(row: Mapping[str, str]) -> str:
    if _simulated(row):
        return f"{row['device']} ({row['runtime']})"
    return f"{row['device']}, {row['threads']} {'thread' if row['threads'] == '1' else 'threads'}, {row['runtime']}"


def _measurements(run: RunDirectory) -> dict[str, Any]:
    """How the device was measured: how many networks, how many failed, and the median spread of the repeats."""
    rows = run.read_csv("measurements.csv")
    good = [row for row in rows if not row["failure"]]
    spread = [(float(row["p90_ms"]) - float(row["p10_ms"])) / float(row["latency_ms"]) for row in good]
    setups = sorted({_setup(row) for row in good})
    return {
        "networks": len({row["genome"] for row in rows}),
        "count": len(rows),
        "failed": len(rows) - len(good),
        "spread": float(np.median(spread)) if spread else math.nan,
        "setups": setups,
    }


def _training(run: RunDirectory, networks: list[dict[str, Any]]) -> dict[str, Any]:
    """The curves; of a step that was trained twice (after a resume) the last line counts."""
    lines = [line for line in run.read_jsonl("metrics.jsonl") if "event" not in line]
    steps = {line["step"]: line for line in lines if line["stage"] == "train"}
    curves: dict[str, dict[int, float]] = {network["name"]: {} for network in networks}
    for line in lines:
        if line["stage"] == "finetune" and line["name"] in curves:
            curves[line["name"]][line["epoch"]] = line["search_accuracy"]
    arrays = {f"{network['letter']}: {network['name']}": _curve(curves[network["name"]]) for network in networks}
    loss = [np.array([steps[step][column] for step in sorted(steps)], float) for column in ("loss", "loss_largest")]
    return {
        "supernet": _figure(plots.training(np.array(sorted(steps), int), *loss), "training"),
        "finetuning": _figure(plots.finetuning(arrays), "finetuning") if any(curves.values()) else None,
    }


def _curve(points: Mapping[int, float]) -> Float[np.ndarray, "n 2"]:
    return np.array(sorted(points.items()), float).reshape(-1, 2)


def _stages(run: RunDirectory) -> dict[str, float]:
    """Seconds that each stage took, all its runs together."""
    seconds: dict[str, float] = {}
    for line in run.read_jsonl("metrics.jsonl"):
        if line.get("event") == "done":
            seconds[line["stage"]] = seconds.get(line["stage"], 0.0) + line["seconds"]
    return seconds
