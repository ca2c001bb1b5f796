"""What a report shows of a search by gradient: how it decided, and what it derived."""

from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxnas.records.derived import DERIVED, read_derived
from jaxnas.records.metrics import ARCHITECTURE, read_metrics
from jaxnas.records.run_directory import RunDirectory
from jaxnas.relaxations.architecture import collapse

Curves = dict[str, Float[np.ndarray, "n 2"]]  # rows of [step, figure]


def read_gradient(run: RunDirectory) -> dict[str, Any] | None:
    """Derived networks, cautions and curves; None where no training has learnt an architecture."""
    if not run.exists(DERIVED):
        return None
    derived = read_derived(run)
    lines = _lines(run)
    costs, targets = (
        {label: rows for label, rows in _curves(lines, name).items() if len(rows)}
        for name in ("cost", "target")
    )
    return {
        "networks": [asdict(one) | {"said": one.label or "the one"} for one in derived],
        "collapses": [
            collapse(one.label, one.skips, one.skippable) for one in derived if one.collapsed
        ],
        "entropies": _entropies(lines, list(derived[0].network)),
        "costs": costs,
        "targets": targets,
        "priced": bool(costs),
    }


def _lines(run: RunDirectory) -> dict[str, list[dict[str, Any]]]:
    """Those of each architecture in order; of a step told twice, after a resume, the last."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for line in read_metrics(run):
        if line.get("event") == ARCHITECTURE:
            found.setdefault(line["label"], {})[line["step"]] = line
    return {label: [by[step] for step in sorted(by)] for label, by in found.items()}


def _entropies(lines: dict[str, list[dict[str, Any]]], genes: list[str]) -> Curves:
    """Of every gene that has choices, or of several architectures the means over the genes."""
    if len(lines) > 1:
        return {
            label: np.array([[line["step"], np.mean(line["entropy"])] for line in some], float)
            for label, some in lines.items()
        }
    (some,) = lines.values()
    table = np.array([line["entropy"] for line in some])
    steps = [line["step"] for line in some]
    return {
        gene: np.column_stack([steps, column])
        for gene, column in zip(genes, table.T, strict=True)
        if column.any()
    }


def _curves(lines: dict[str, list[dict[str, Any]]], name: str) -> Curves:
    return {
        label: np.array(
            [[line["step"], line[name]] for line in some if name in line], float
        ).reshape(-1, 2)
        for label, some in lines.items()
    }
