"""`jaxnas show`: the front of a run, its chosen networks, and which of them to take."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Int

from jaxnas.errors import UserError
from jaxnas.objectives.limits import budget
from jaxnas.records.candidates import CANDIDATES, Searched, read_searched
from jaxnas.records.data import read_data
from jaxnas.records.files import RECORDS, STAGES
from jaxnas.records.run_directory import RunDirectory, existing_run
from jaxnas.report import words
from jaxnas.report.headline import answer, read_head
from jaxnas.stages.job import space_of
from jaxnas.stages.settings import read_config

ROWS = 20  # of a front, unless more are asked for


def run_show(path: str, under: str | None, count: int | None) -> None:
    """Print what a run has found so far; of a search under a budget the best of its front."""
    run = existing_run(path)
    done = [
        record.made_by
        for record in RECORDS.values()
        if (record.completes or record.name == "report.html") and run.exists(record.name)
    ]
    missing = [stage for stage in STAGES if stage not in done]
    print(f"{path}: {', '.join(done)} done")
    if not run.exists(CANDIDATES):
        print(f"Nothing is searched yet; jaxnas {missing[0]} {path} goes on.")
        return
    searched = read_searched(run, CANDIDATES)
    most = _budget(under, searched.columns.costs)
    if run.exists("verified.csv"):
        print(_chosen(run, searched, advised=under is None))
    print(_front(run, searched, most, count or ROWS))


def _budget(text: str | None, costs: tuple[str, ...]) -> tuple[str, float] | None:
    """The cost that `--under` names, and the most that it may be."""
    if text is None:
        return None
    name, most = budget(text)
    if name not in costs:
        raise UserError(
            f"--under {text}: the run minimised {words.listed(costs)}; name one as NAME=NUMBER"
        )
    return name, most


def _chosen(run: RunDirectory, searched: Searched, advised: bool) -> str:
    """The chosen networks as they were measured, and the recommendation if it is asked for."""
    head = read_head(run, searched.columns.costs)
    rows = [
        ["", "network", "test accuracy", "95 %", f"ms, {head.said}", "p99", "predicted", "model"]
    ]
    for one in head.networks:
        low, high = map(words.percent, one["interval"])
        rows.append(
            [
                one["letter"],
                f"{one['name']} ({one['role']})" if one["role"] != one["name"] else one["name"],
                words.percent(one["accuracy"]),
                f"{low} to {high}",
                *(words.significant(one[name]) for name in ("ms", "p99_ms", "predicted_ms")),
                one["model"],
            ]
        )
    text = [answer(run, *head)["text"], ""] if advised else []
    return "\n".join(["", *text, *words.aligned(rows), ""])


def _front(
    run: RunDirectory, searched: Searched, under: tuple[str, float] | None, count: int
) -> str:
    """The networks of the front, by their first cost; under a budget the most accurate first."""
    in_words = _words_of(run)
    columns = searched.counted
    first, *_ = columns.costs or ("error",)
    rows = searched.front
    if under is None:
        rows = rows[np.argsort(columns[first][rows], kind="stable")]
        head = f"{len(rows)} networks on the front of the search, by {first}:"
    else:
        name, most = under
        rows = rows[columns[name][rows] <= most]
        rows = rows[np.argsort(columns["error"][rows], kind="stable")]
        head = f"{len(rows)} networks of the front have {name} of at most {most:g}:"
        if not len(rows):
            least = words.significant(float(np.nanmin(columns[name])))
            return f"No network of the search has {name} of at most {most:g}: the least is {least}."
    table = [["error", *columns.costs, "genome", "network"]]
    for row in rows[:count]:
        genome = searched.archive.genomes[row]
        table.append(
            [
                words.percent(float(columns["error"][row])),
                *(words.significant(float(columns[name][row])) for name in columns.costs),
                " ".join(map(str, genome)),
                in_words(genome),
            ]
        )
    more = [f"... {len(rows) - count} more: -n {len(rows)}"] if len(rows) > count else []
    return "\n".join([head, *words.aligned(table), *more])


def _words_of(run: RunDirectory) -> Callable[[Int[np.ndarray, "genes"]], str]:
    """What a genome of the run says; nothing where the device of its space is not at hand."""
    data = read_data(run)
    try:
        config = read_config(run.root)
        space = space_of(config, data.height, data.channels, len(data.class_names))
    except UserError:
        return lambda genome: ""
    return lambda genome: words.genome_in_words(space.decode(genome))
