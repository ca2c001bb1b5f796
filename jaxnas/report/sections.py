"""The sections of a report, each from a few files of the run: what its text says, and its charts.

Charts are kept by name; a section says which are there.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxnas.algorithms.stopping import stopped_in_words
from jaxnas.records.candidates import Searched
from jaxnas.records.found import FOUND, read_found
from jaxnas.records.measurements import MEASURED, by_network, read_asked, read_measurements
from jaxnas.records.metrics import METRICS, read_metrics
from jaxnas.records.predictor import QUALITY, read_predictions, read_quality
from jaxnas.records.run_directory import RunDirectory
from jaxnas.report import charts, words
from jaxnas.report.charts import Chart
from jaxnas.report.explore import is_front, short
from jaxnas.report.gradient import read_gradient
from jaxnas.report.networks import setup
from jaxnas.report.points import Chosen, Points
from jaxnas.report.said import Said
from jaxnas.studies.statistics import hypervolume_curve

Section = dict[str, Any]
Charts = dict[str, Chart]


def search(
    candidates: Searched,
    random: Searched | None,
    networks: Sequence[Mapping[str, Any]],
    config: Mapping[str, Any],
) -> tuple[Section, Charts]:
    """What was found: fronts, hypervolume, and what the algorithm says of itself."""
    settings = config.get("search", {})
    grown, section = _hypervolume(candidates, random)
    drawn = _paretos(candidates, random, networks, config["latency_limit_ms"])
    said = Said(
        np.cumsum(np.bincount(candidates.archive.generation)),
        {name: array[None] for name, array in candidates.archive.figures.items()},
        candidates.archive.fitness[None],
    )
    labels = [*candidates.labels.values()]
    taus = {} if said.predicted is None else {n: said.correlation(i) for i, n in enumerate(labels)}
    curves = charts.algorithm_curves({"": said})
    predictions = charts.predictions({"": said}, labels)
    section |= {
        "pareto": {f"pareto-{name}": candidates.labels[name] for name in candidates.columns.costs},
        "counts": [_counts(one) for one in (candidates, random) if one is not None],
        "failed": int(np.isnan(candidates.archive.fitness).any(axis=1).sum()),
        "constraints": _said_constraints(candidates, random, settings.get("constraints", ())),
        "formulation": settings.get("formulation"),
        "algorithm": settings.get("algorithm"),
        "generations": int(candidates.archive.generation[-1]) + 1,
        "stopped": stopped_in_words(candidates.archive, settings.get("generations", 0)),
        "curves": [*curves],
        "predictions": [*predictions],
        "taus": taus,
    }
    return section, drawn | grown | curves | predictions


def _hypervolume(candidates: Searched, random: Searched | None) -> tuple[Charts, Section]:
    """Growth as a share of the box between the best and the worst that either found."""
    both = [one.counted.fitness for one in (candidates, random) if one is not None]
    everything = np.concatenate(both)
    finite = everything[~np.isnan(everything).any(axis=1)]
    best = finite.min(axis=0)
    reference = finite.max(axis=0)
    box = float(np.prod(np.float64(reference) - best)) or 1.0
    growth = [
        100 * hypervolume_curve(rows, candidates.archive.generation, reference) / box
        for rows in both
        if len(rows) == len(candidates.archive.generation)
    ]
    final = [float(curve[-1]) for curve in growth]
    section = {
        "box": [
            {"name": "error" if name == "error" else label, "best": low, "worst": high}
            for (name, label), low, high in zip(
                candidates.labels.items(), best.tolist(), reference.tolist(), strict=True
            )
        ],
        "final": final,
        "verdict": words.verdict(*final) if len(final) == 2 else None,
    }
    return {"hypervolume": charts.hypervolume(*[*growth, np.empty(0)][:2])}, section


def _said_constraints(
    candidates: Searched, random: Searched | None, constraints: Sequence[str]
) -> str:
    """How many candidates keep to the constraints; nothing where there are none."""
    if candidates.constraints is None or candidates.feasible is None:
        return ""
    text = (
        f"Only candidates that keep to the constraints ({', '.join(constraints)}) "
        f"count: {candidates.feasible.sum()} of the search"
    )
    if random is None or random.feasible is None:
        return f"{text}."
    return f"{text}, {random.feasible.sum()} at random."


def _counts(searched: Searched) -> dict[str, Any]:
    """Candidates evaluated, different networks among them, and on the front.

    Genomes where an older run did not count networks.
    """
    network = searched.network
    front = is_front(searched.counted.fitness)
    if network is None:
        network = np.unique(searched.archive.genomes, axis=0, return_inverse=True)[1].reshape(-1)
    return {
        "candidates": len(network),
        "networks": len(set(network.tolist())),
        "front": len(set(network[front].tolist())),
    }


def _paretos(
    candidates: Searched,
    random: Searched | None,
    networks: Sequence[Mapping[str, Any]],
    limit_ms: float | None,
) -> Charts:
    """Accuracy against each cost, with the front that the two have by themselves."""
    found = {}
    for name in candidates.columns.costs:
        points, rows = _against(candidates, name)
        sampled = _against(random, name) if random is not None else None
        chosen = chosen_in(networks, name) if networks else None
        limit = limit_ms if name == "latency_ms" else None
        label = candidates.labels[name]
        if name == "latency_ms":
            label = "latency (ms): candidates predicted, chosen measured"
        one = charts.pareto(points, rows, sampled, chosen, label, limit)
        one["x"]["short"] = short(candidates.labels[name])
        found[f"pareto-{name}"] = one
    return found


def _against(searched: Searched, name: str) -> tuple[Points, np.ndarray]:
    """Error and a cost of the candidates that count, and the rows on the front of these two."""
    columns = searched.counted
    points = Points(columns["error"], columns[name])
    rows = np.flatnonzero(is_front(np.stack(points, axis=1)))
    if searched.network is None:
        return points, rows
    return points, rows[np.unique(searched.network[rows], return_index=True)[1]]


def chosen_in(networks: Sequence[Mapping[str, Any]], cost: str) -> Chosen:
    """The chosen networks in a plot against this cost; all but latency is exact."""
    timed = cost == "latency_ms"
    before = [[1 - one["search_accuracy"], one["costs"][cost]] for one in networks]
    after = [[1 - one["accuracy"], one["ms"] if timed else one["costs"][cost]] for one in networks]
    spread = [
        [one["p10_ms"], one["p90_ms"]] if timed else 2 * [one["costs"][cost]] for one in networks
    ]
    ends = [[1 - end for end in one["interval"]] for one in networks]
    searched, final, error, reach = (
        np.array(some, float).reshape(-1, 2) for some in (before, after, ends, spread)
    )
    labels = [f"{one['letter']} {one['name']} ({one['role']})" for one in networks]
    return Chosen(Points(*searched.T), Points(*final.T), error, reach, labels)


def doubt(run: RunDirectory) -> tuple[Section | None, Charts]:
    """Of a search that asked the device: the fronts, and how many networks it asked for."""
    if not run.exists(FOUND):
        return None, {}
    found = read_found(run)
    mean_ms, low_ms, high_ms = map(np.asarray, found.predicted)
    predicted = Points(found.error, mean_ms)
    known = Points(found.error, found.measured_ms)
    known = known.of(found.measured & np.isfinite(found.measured_ms))
    interval = np.stack([low_ms, high_ms], axis=1)
    fronts = [is_front(np.stack(some, axis=1)) for some in (predicted, known)]
    asked = read_asked(run)
    section = {
        "asked": len(asked),
        "failed": sum(bool(one.measurement.failure) for one in asked),
        "before": int(found.measured.sum()) - len(asked),
        "rounds": found.rounds - 1,
        "doubtful": found.undecided,
    }
    return section, {"doubt": charts.doubt(predicted, fronts[0], interval, known, fronts[1])}


def predictor(run: RunDirectory, said: str) -> tuple[Section | None, Charts]:
    """How right the predictor is on networks of each split."""
    if not run.exists(QUALITY):
        return None, {}
    splits: dict[str, list[list[float]]] = {"train": [], "validation": [], "test": []}
    for one in read_predictions(run):
        splits[one.split].append([one.measured_ms, one.predicted_ms])
    points = {split: np.array(rows).reshape(-1, 2) for split, rows in splits.items()}
    return {"metrics": read_quality(run)}, {"predictor": charts.predictor(points, said)}


def measurements(run: RunDirectory) -> Section | None:
    """How the device was measured.

    How many networks, how many failed, and the median spread of the repeats.
    """
    rows = read_measurements(run)
    if not rows:
        return None
    good = [row.measurement for row in rows if not row.measurement.failure]
    spread = [(one.p90_ms - one.p10_ms) / one.latency_ms for one in good]
    return {
        "file": MEASURED,
        "networks": len(by_network(rows)),
        "count": len(rows),
        "failed": len(rows) - len(good),
        "spread": float(np.median(spread)) if spread else math.nan,
        "setups": sorted(
            {setup(one.device, one.threads, one.runtime, one.simulated) for one in good}
        ),
        "simulated": any(one.simulated for one in good),
    }


def training(run: RunDirectory, networks: Sequence[Mapping[str, Any]]) -> tuple[Section, Charts]:
    """The curves; of a step that was trained twice (after a resume) the last line counts."""
    lines = [line for line in read_lines(run) if "event" not in line]
    steps = {line["step"]: line for line in lines if line["stage"] == "train"}
    names = {one["name"]: f"{one['letter']}: {one['name']}" for one in networks}
    curves: dict[str, dict[int, float]] = {name: {} for name in names}
    for line in lines:
        if line["stage"] == "finetune" and (line["name"] in curves or not networks):
            curves.setdefault(line["name"], {})[line["epoch"]] = line["search_accuracy"]
    found: Charts = {}
    if steps:
        loss = [
            np.array([steps[step].get(column, math.nan) for step in sorted(steps)], float)
            for column in ("loss", "loss_largest")
        ]
        found["training"] = charts.training(np.array(sorted(steps), int), *loss)
    if any(curves.values()):
        arrays = {names.get(name, name): _curve(rows) for name, rows in curves.items()}
        found["finetuning"] = charts.finetuning(arrays)
    return {"charts": [*found]}, found


def _curve(points: Mapping[int, float]) -> Float[np.ndarray, "n 2"]:
    return np.array(sorted(points.items()), float).reshape(-1, 2)


def gradient(run: RunDirectory) -> tuple[Section | None, Charts]:
    """How a search by gradient decided; None where there was none."""
    found = read_gradient(run)
    if found is None:
        return None, {}
    drawn = {"entropies": charts.entropies(found["entropies"])}
    if found["costs"]:
        drawn["costs"] = charts.expected_costs(found["costs"], found["targets"])
    return found | {"charts": [*drawn]}, drawn


def stages(run: RunDirectory) -> dict[str, float]:
    """Seconds that each stage took, all its runs together."""
    seconds: dict[str, float] = {}
    for line in read_lines(run):
        if line.get("event") == "done":
            seconds[line["stage"]] = seconds.get(line["stage"], 0.0) + line["seconds"]
    return seconds


def read_lines(run: RunDirectory) -> list[dict[str, Any]]:
    """Of metrics.jsonl; none before there are any."""
    return read_metrics(run) if run.exists(METRICS) else []
