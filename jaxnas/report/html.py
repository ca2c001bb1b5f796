"""The report of a run.

One HTML page that opens offline, made from the files of the run directory alone. Of a run that is
not finished it shows what is there.
"""

from pathlib import Path
from typing import Any

import numpy as np

from jaxnas.records.candidates import CANDIDATES, RANDOM, Searched, read_searched
from jaxnas.records.claims import read_claims
from jaxnas.records.environment import ENVIRONMENT, read_environment
from jaxnas.records.layers import LAYERS
from jaxnas.records.reading import require_earlier
from jaxnas.records.run_directory import RunDirectory
from jaxnas.report import sections, words
from jaxnas.report.cautions import commonest
from jaxnas.report.drawing import drawings
from jaxnas.report.explore import budget, explored, importance_table, short
from jaxnas.report.files import check_files, drawing
from jaxnas.report.headline import Head, answer, least_accuracy, read_head, within_points
from jaxnas.report.networks import measured
from jaxnas.report.pages import rendered
from jaxnas.report.sections import Charts
from jaxnas.report.spelled import spelled
from jaxnas.report.state import State, state_of

PAGE = "report.html"
TIMED = "Bars: what the table of parts that was fitted to whole networks adds for each."
COUNTED = "Bars: multiply-adds; jaxnas profile RUN --per-layer fits milliseconds to the parts."
SCRIPTS = ("chart.js", "explore.js", "parallel.js")


def write_report(run: RunDirectory, figures: bool = False, watched: bool = False) -> Path:
    """Write `report.html` from the files of a run, and return its path.

    `figures`: also every figure as SVG, PDF and PNG, in `figures`. A page that is `watched` loads
    itself anew while the run is not finished.

    Raises:
        UserError: a file is damaged, or is missing where a later stage is done.
    """
    state = state_of(run)
    require_earlier(run, "train", "report")
    check_files(run)
    with drawing(run):
        page, charts, explore = _page(run, state)
        data = {"charts": charts, "explore": explore}
        page["watched"] = watched and state.next is not None
        text = rendered("report.html.jinja", page, SCRIPTS, data)
        drawn = _drawn(charts) if figures else {}
    for name, content in drawn.items():
        run.write_bytes(f"figures/{name}", content)
    run.write_text(PAGE, text)
    return run.path(PAGE)


def _drawn(charts: Charts) -> dict[str, bytes]:
    """Every figure as files for papers."""
    from jaxnas.report import papers  # matplotlib: most of a second of import

    return papers.files(charts)


def _page(run: RunDirectory, state: State) -> tuple[dict[str, Any], Charts, dict[str, Any] | None]:
    candidates = read_searched(run, CANDIDATES) if run.exists(CANDIDATES) else None
    random = read_searched(run, RANDOM) if run.exists(RANDOM) else None
    head = read_head(run, candidates.columns.costs if candidates else ())
    config, data, networks, said = head
    page: dict[str, Any] = {
        "state": state,
        "folder": run.root.resolve().name,
        "config": config,
        "experiment": {
            name: value for name, value in config.items() if not isinstance(value, dict)
        },
        "environment": read_environment(run) if run.exists(ENVIRONMENT) else {},
        "data": data,
        "commonest": {split: commonest(sizes) for split, sizes in data["class_sizes"].items()},
        "networks": networks,
        "said": said,
        "claims": read_claims(run),
        # Older runs have none.
        "hybrid": config.get("search", {}).get("hybrid") or {"epochs": 0, "head_epochs": 0},
        "measurements": sections.measurements(run),
        "stages": sections.stages(run),
    }
    page["training"], charts = sections.training(run, networks)
    page["training"]["method"] = config.get("train", {}).get("method")
    for name, (section, drawn) in {
        "predictor": sections.predictor(run, said),
        "gradient": sections.gradient(run),
        "doubt": sections.doubt(run),
    }.items():
        page[name] = section
        charts |= drawn
    found, explore = {"search": None, "also": {}, "answer": None}, None
    if candidates is not None and _any(candidates):
        found, drawn, explore = _found(run, head, candidates, random)
        charts |= drawn
    page |= {"drawings": [], "importance": None, "budget": None} | found
    return page, charts, explore


def _found(
    run: RunDirectory, head: Head, candidates: Searched, random: Searched | None
) -> tuple[dict[str, Any], Charts, dict[str, Any]]:
    """What a search adds to the page."""
    config, data, networks, _ = head
    section, drawn = sections.search(candidates, random, networks, config)
    spelling = spelled(run, candidates.archive.genomes)
    explore = explored(run, candidates, random, networks, spelling, config["name"])
    answered = answer(run, *head) if networks else None
    known = measured(run, networks)
    explore["budget"] = budget(
        candidates,
        known,
        within_points(config),
        config["latency_limit_ms"],
        least_accuracy(data),
        answered["text"] if answered else "",
    )
    page = {
        "search": section,
        "also": {
            name: candidates.labels[name]
            for name in candidates.columns.costs
            if name != "latency_ms"
        },
        "answer": answered,
        "best": _best(candidates),
        "drawings": drawings(networks, spelling, run),
        "layers_said": TIMED if run.exists(LAYERS) else COUNTED,
        "importance": importance_table(candidates, random, spelling),
        "budget": explore["budget"],
    }
    return page, drawn, explore


def _any(candidates: Searched) -> bool:
    """Whether there is one that counts."""
    return bool(np.isfinite(candidates.counted.fitness).all(axis=1).any())


def _best(candidates: Searched) -> str:
    """The most accurate network so far, in words."""
    columns = candidates.counted
    row = int(np.nanargmin(columns["error"]))
    costs = ", ".join(
        f"{short(candidates.labels[name])} {words.significant(float(columns[name][row]))}"
        for name in columns.costs
    )
    right = words.percent(1 - float(columns["error"][row]))
    return f"{right} of the search images right, {costs}" if costs else right
