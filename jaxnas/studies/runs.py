"""`jaxnas compare RUN --with RUN,...`: the fronts of finished runs, and what they took.

A two-stage search stands beside a joint one, or beside any other way to a front. Runs that differ
in nothing but their seed and name are one sample.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxnas.algorithms.indicators import hypervolume
from jaxnas.config import Config
from jaxnas.errors import UserError
from jaxnas.records.candidates import CANDIDATES, RANDOM, Searched, read_searched
from jaxnas.records.data import read_data
from jaxnas.records.files import OF_LATENCY
from jaxnas.records.metrics import read_metrics
from jaxnas.records.reading import require_earlier
from jaxnas.records.run_directory import RunDirectory
from jaxnas.records.selection import read_selection
from jaxnas.report import words
from jaxnas.stages.settings import recorded_settings
from jaxnas.studies.statistics import LEVEL, compare_all, leaders

SEARCHING = ("train", "profile", "predict", "search")  # the stages that a front takes
HEAD = ["", "runs", "training", "search", "seeds", "hypervolume", "networks", "seconds"]


class Finished(NamedTuple):
    """A run whose front is known."""

    path: str
    config: Config
    front: Float[np.ndarray, "n objectives"]  # errors on the images held out for choosing
    networks: int  # evaluated by the search
    seconds: float  # of the stages that a front takes, as far as they were not interrupted
    conditions: dict[str, str]  # without which figures of runs cannot be compared

    @property
    def sample(self) -> str:
        """All that it shares with runs of other seeds."""
        return repr(asdict(self.config) | {"seed": 0, "name": ""})


def compare_runs(paths: Sequence[str]) -> str:
    """A table of runs: the hypervolume of their fronts, the networks evaluated, and the seconds.

    Hypervolume is a share of the box between 0 and the worst of each objective that the first run's
    random search finds. Which is better is tested where all samples have several seeds.

    Raises:
        UserError: a path is no run, or a run has no chosen networks yet, other objectives, images
            or another device than the first, or the settings and seed of another.
    """
    for path in paths:
        if not path or not (Path(path) / "config.json").is_file():
            raise UserError(
                f"{path!r} is no run directory: name finished runs, with commas between and none "
                "in their names"
            )
    by_place: dict[Path, str] = {}
    for path in paths:
        by_place.setdefault(Path(path).resolve(), str(Path(path)))
    runs = [_finished(path) for path in by_place.values()]
    reference = _reference(RunDirectory(runs[0].path))
    samples: dict[str, list[Finished]] = defaultdict(list)
    for run in runs:
        _check_alike(runs[0], run)
        _check_seed(run, samples[run.sample])
        samples[run.sample].append(run)
    volumes = {
        name: np.array([_share(run.front, reference) for run in runs])
        for name, runs in samples.items()
    }
    return _table(samples, volumes)


def _share(
    front: Float[np.ndarray, "n objectives"], reference: Float[np.ndarray, "objectives"]
) -> float:
    scaled = jnp.asarray(front / reference, jnp.float32)
    return float(hypervolume(scaled, jnp.ones_like(scaled[0])))


def _table(
    samples: dict[str, list[Finished]], volumes: dict[str, Float[np.ndarray, "seeds"]]
) -> str:
    tested = len(samples) > 1 and min(map(len, volumes.values())) > 1
    best = leaders(compare_all(volumes)) if tested else []
    lines = [HEAD]
    for name in sorted(samples, key=lambda name: -float(np.median(volumes[name]))):
        runs = samples[name]
        config = runs[0].config
        others = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
        lines.append(
            [
                "*" if name in best else "",
                runs[0].path + others,
                config.train.method,
                config.search.algorithm,
                str(len(runs)),
                f"{np.median(volumes[name]):.4f}",
                f"{np.median([run.networks for run in runs]):.0f}",
                f"{np.median([run.seconds for run in runs]):.0f}",
            ]
        )
    return "\n".join([*words.aligned(lines), *_legend(tested)])


def _legend(tested: bool) -> list[str]:
    return [
        "Medians. Hypervolume: the share of the box between 0 and the worst of each objective that "
        "the first run's random search finds.",
        f"Networks evaluated by the search; seconds of {', '.join(SEARCHING)}.",
        f"*: no other is shown to be better (Mann-Whitney after Holm, p below {LEVEL})."
        if tested
        else "Not tested: that takes several seeds of each.",
    ]


def _reference(run: RunDirectory) -> Float[np.ndarray, "objectives"]:
    fitness = read_searched(run, RANDOM).archive.fitness
    return np.nanmax(np.where(np.isfinite(fitness), fitness, np.nan), axis=0).astype(np.float32)


def _finished(path: str) -> Finished:
    """Refuses a run that has no chosen networks."""
    run = RunDirectory(path)
    config = recorded_settings(run)
    require_earlier(run, "export", "compare", () if config.predicts else OF_LATENCY)
    searched = read_searched(run, CANDIDATES)
    seconds = sum(
        line["seconds"]
        for line in read_metrics(run)
        if line.get("event") == "done" and line["stage"] in SEARCHING
    )
    data = read_data(run)
    size = f"{data.height}x{data.width}x{data.channels}"
    conditions = {
        "objectives": " ".join(config.search.objectives),
        "images": f"{data.name} ({size}, {len(data.class_names)} classes)",
        "device": config.profile.device,
    }
    networks = len(np.unique(searched.archive.genomes, axis=0))
    return Finished(path, config, _front(run, searched), networks, seconds, conditions)


def _check_alike(first: Finished, other: Finished) -> None:
    """Refuses runs whose figures cannot be compared."""
    for what, one in first.conditions.items():
        if one != other.conditions[what]:
            raise UserError(
                f"{first.path} has the {what} {one}, and {other.path} {other.conditions[what]}: "
                "compare runs that agree"
            )


def _check_seed(run: Finished, sample: Sequence[Finished]) -> None:
    """Refuses a run that is no further seed of its sample."""
    for other in sample:
        if other.config.seed == run.config.seed:
            raise UserError(
                f"{other.path} and {run.path} have the same settings and the seed "
                f"{run.config.seed}, which counts once: leave one out"
            )


def _front(run: RunDirectory, searched: Searched) -> Float[np.ndarray, "n objectives"]:
    selection = read_selection(run)
    if selection is None:
        return searched.archive.fitness
    row_of = {genome.tobytes(): i for i, genome in enumerate(searched.archive.genomes)}
    rows = [row_of[genome.tobytes()] for genome in selection.genomes]
    columns = searched.columns
    front = columns.fitness[rows].copy()
    front[:, columns.names.index("error")] = selection.selection_error
    return front
