"""What a page holds of a search, so that its reader can ask: every candidate, and the budget."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxnas.algorithms import pareto
from jaxnas.records.candidates import Searched
from jaxnas.records.measurements import by_network, read_asked, read_measurements
from jaxnas.records.run_directory import RunDirectory
from jaxnas.report import words
from jaxnas.report.answer import Measured, advice
from jaxnas.report.charts import listed
from jaxnas.report.importance import explained
from jaxnas.report.spelled import Spelled
from jaxnas.spaces.genomes import key_of

DIGITS = 36  # choices that one character tells apart
AXES = 10  # of genes beside each other
LOG_SPAN = 20  # times the least cost from which on a budget is moved by shares


def is_front(fitness: Float[np.ndarray, "n objectives"]) -> np.ndarray:
    """Which rows are on the front."""
    return np.asarray(jax.jit(pareto.front)(jnp.asarray(fitness)))


def explored(
    run: RunDirectory,
    found: Searched,
    sampled: Searched | None,
    networks: Sequence[Mapping[str, Any]],
    spelled: Spelled,
    name: str,
) -> dict[str, Any]:
    """The candidates of both searches, the front and the chosen networks, as JSON has them."""
    genomes = [one.archive.genomes for one in (found, sampled) if one is not None]
    commas = max(int(some.max(initial=0)) for some in genomes) >= DIGITS
    front = found.front
    labels = [
        {"name": one, "label": label, "short": short(label)} for one, label in found.labels.items()
    ]
    importance = importances(sampled)
    return {
        "name": re.sub(r"[^\w.-]+", "-", name)[:60],
        "begun": "drawn at random or given",
        "genes": [*spelled.genes],
        "commas": commas,
        "objectives": labels,
        "found": _group(found, commas)
        | _costs(spelled, found, front)
        | {"front": front.tolist(), "measured": _measured(run, found)},
        "random": _group(sampled, commas) if sampled is not None else None,
        "chosen": _chosen(found, networks),
        "said": "simulated" if any(one["simulated"] for one in networks) else "measured",
        "axes": _axes(importance, genomes[0].shape[1]),
    }


def short(label: str) -> str:
    """A label without what everybody knows.

    >>> short("predicted latency (ms)")
    'latency (ms)'
    """
    return label.removeprefix("predicted ")


def _group(searched: Searched, commas: bool) -> dict[str, Any]:
    archive = searched.archive
    digits = [np.base_repr(i, DIGITS).lower() for i in range(DIGITS)]
    rows = archive.genomes.tolist()
    texts = [
        ",".join(map(str, row)) if commas else "".join([digits[i] for i in row]) for row in rows
    ]
    columns = searched.columns
    return {
        "genomes": " ".join(texts),
        "error": listed(columns["error"]),
        "costs": {name: listed(columns[name]) for name in columns.costs},
        "generation": archive.generation.tolist(),
        "parents": archive.parents.tolist(),
    }


def _costs(spelled: Spelled, found: Searched, front: Int[np.ndarray, "front"]) -> dict[str, Any]:
    """Multiply-adds and parameters of the networks of the front, by row."""
    if spelled.space is None or not spelled.space.parts:
        return {}
    ops = {int(row): spelled.ops(found.archive.genomes[row])[0] for row in front}
    return {
        "macs": {row: sum(op.macs for op in some) for row, some in ops.items()},
        "params": {row: sum(op.params for op in some) for row, some in ops.items()},
    }


def _measured(run: RunDirectory, found: Searched) -> list[float | None]:
    """Latency of each candidate that was measured before or in the search, ms."""
    latencies = {
        key_of(one.genome): one.latency_ms for one in by_network(read_measurements(run))
    } | {key_of(one.genome): one.measurement.latency_ms for one in read_asked(run)}
    genomes = found.archive.genomes.astype(np.int32)
    return listed([latencies.get(key_of(genome), math.nan) for genome in genomes])


def _chosen(found: Searched, networks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    rows: dict[bytes, int] = {}
    for row, genome in enumerate(found.archive.genomes.astype(np.int32)):
        rows.setdefault(key_of(genome), row)
    return [
        {
            **{name: one[name] for name in ("letter", "name", "role", "words")},
            "row": rows.get(key_of(np.asarray(one["genome"])), -1),
            **dict(
                zip(
                    ("accuracy", "low", "high", "ms", "p10", "p90"),
                    listed(
                        [one["accuracy"], *one["interval"], one["ms"], one["p10_ms"], one["p90_ms"]]
                    ),
                    strict=True,
                )
            ),
            "costs": dict(zip(one["costs"], listed([*one["costs"].values()]), strict=True)),
        }
        for one in networks
    ]


# Genes that count


def importances(sampled: Searched | None) -> dict[str, Float[np.ndarray, "genes"]]:
    """What each gene explains of each objective, among the random candidates; {} without any."""
    if sampled is None:
        return {}
    columns = sampled.columns
    return {
        name: explained(sampled.archive.genomes, columns[name].astype(np.float64))
        for name in columns.names
    }


def importance_table(
    found: Searched, sampled: Searched | None, spelled: Spelled
) -> dict[str, Any] | None:
    """The genes that explain most, with their shares for each of up to two objectives."""
    shares = importances(sampled)
    names = ["error", *found.columns.costs[:1]]
    if not shares:
        return None
    table = np.stack([shares[name] for name in names], axis=1)
    order = np.argsort(-table.max(axis=1), kind="stable")[: AXES + 2]
    kept = order[table[order].max(axis=1) > 0]
    return {
        "objectives": [
            "accuracy" if name == "error" else short(found.labels[name]) for name in names
        ],
        "genes": [
            {"name": spelled.genes[i]["name"], "shares": table[i].tolist()} for i in kept.tolist()
        ],
        "left": table.shape[0] - len(kept),
        "total": table.sum(axis=0).tolist(),
    }


def _axes(shares: Mapping[str, Float[np.ndarray, "genes"]], genes: int) -> list[int]:
    """The genes that count most, in the order of the genome."""
    if not shares:
        return [*range(min(AXES, genes))]
    most = np.max([*shares.values()], axis=0)
    return sorted(np.argsort(-most, kind="stable")[:AXES].tolist())


# The budget


def budget(
    found: Searched,
    known: Sequence[Measured],
    within: float,
    limit_ms: float | None,
    least: float,
    text: str,
) -> dict[str, Any] | None:
    """What a reader may spend, and what to take for it; None where the search has no cost.

    `text` is the answer without another budget than the run's own.
    """
    columns = found.counted
    if not columns.costs:
        return None
    name = "latency_ms" if "latency_ms" in columns.costs else columns.costs[0]
    timed = name == "latency_ms"
    label = short(found.labels[name])
    unit = re.search(r"\(([^()]*)\)$", label)
    front = columns[name][found.front].astype(np.float64)
    ends = [*front.tolist(), *([one.ms for one in known] if timed else [])]
    ends += [limit_ms] if timed and limit_ms is not None else []
    low, high = 0.97 * min(ends), 1.03 * max(ends)
    return {
        "name": name,
        "label": label.removesuffix(f" ({unit[1]})") if unit else label,
        "unit": unit[1] if unit else name,
        "low": low,
        "high": high if high > low else low + 1,
        "log": low > 0 and high / low > LOG_SPAN,
        "limit": limit_ms if timed else None,
        "pick": "Xms" if timed else f"{name}=X",
        "text": text,
        "below": _below(known) if timed else "",
        "steps": _steps(known, within, least) if timed else [],
    }


def _steps(known: Sequence[Measured], within: float, least: float) -> list[dict[str, Any]]:
    """What to take from each budget on: it changes only where another network fits in."""
    return [
        {"from": ms, "text": advice(known, within, ms, least)}
        for ms in sorted({one.ms for one in known})
    ]


def _below(known: Sequence[Measured]) -> str:
    if not known:
        return ""
    fastest = min(known, key=lambda one: one.ms)
    return (
        f"None of the networks that were tested keeps this budget: the fastest, {fastest.letter}, "
        f"takes {words.significant(fastest.ms)} ms."
    )
