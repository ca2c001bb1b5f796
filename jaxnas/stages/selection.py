"""What networks are chosen from: the front, ranked anew on images that the search has not seen.

Of a thousand candidates ranked on a few hundred images the best are partly the luckiest.
"""

import math
from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxnas.algorithms import pareto
from jaxnas.algorithms.formulated import worth
from jaxnas.config import SearchConfig, make_formulation
from jaxnas.data.dataset import Split
from jaxnas.errors import UserError
from jaxnas.objectives.columns import Columns, joined
from jaxnas.progress import log, progress
from jaxnas.records.candidates import CANDIDATES, read_searched
from jaxnas.records.found import FOUND, read_found
from jaxnas.records.selection import Selection, write_selection
from jaxnas.spaces.genomes import first_rows
from jaxnas.stages.chosen import Preferred
from jaxnas.stages.evaluation import (
    error_evaluator,
    feasible,
    in_batches,
    is_complete,
    limits_of,
    selection_split,
)
from jaxnas.stages.job import Job


class Candidates(NamedTuple):
    """What networks are chosen from.

    `columns` have the measured latency where the search asked the device.
    """

    genomes: Int[np.ndarray, "n genes"]
    columns: Columns
    predicted_ms: Float[np.ndarray, "n"] | None  # None where latency is not minimised

    def of(self, rows: Int[np.ndarray, "m"]) -> "Candidates":
        """Those in these rows."""
        predicted_ms = None if self.predicted_ms is None else self.predicted_ms[rows]
        columns = replace(self.columns, fitness=self.columns.fitness[rows])
        return Candidates(self.genomes[rows], columns, predicted_ms)

    def latency_ms(self, row: int) -> float:
        """As predicted; NaN where latency is not minimised."""
        return math.nan if self.predicted_ms is None else float(self.predicted_ms[row])

    def costs(self, row: int) -> dict[str, float]:
        """The objectives of a candidate beside error and latency."""
        others = [name for name in self.columns.costs if name != "latency_ms"]
        return {name: float(self.columns[name][row]) for name in others}


def candidates_to_choose(job: Job) -> Candidates:
    """The networks of the front with their error on the held-out images.

    They also go to selection.npz.

    All candidates as the search has them, where the run holds no images out.
    """
    candidates = _found(job)
    split = selection_split(job)
    if split is None:
        return candidates
    front = _front(job, candidates)
    if not len(front.genomes):
        raise UserError(
            f"no candidate of the search in {job.run.root} could be evaluated: use another --out"
        )
    error = _unseen_error(job, split, front.genomes)
    searched = front.columns["error"]
    write_selection(job.run, Selection(front.genomes, searched, error))
    if np.isnan(error).all():
        raise UserError(
            f"no network of the front in {job.run.root} gives finite answers on the images held "
            "out: use another --out"
        )
    log(
        f"finetune: networks on the front: {len(error)}, on average {1 - np.nanmean(searched):.1%} "
        f"right on the images searched, {1 - np.nanmean(error):.1%} on the {len(split)} held out "
        "for choosing"
    )
    return front._replace(columns=front.columns.but(error=error))


def preferred(settings: SearchConfig, columns: Columns) -> Preferred | None:
    """What the formulation of the search says of candidates; None where there is none."""
    if settings.formulation is None:
        return None
    fitness = jnp.asarray(columns.fitness, jnp.float32)
    value = worth(make_formulation(settings.formulation), fitness, settings.upper_limits)
    return Preferred(settings.formulation, np.asarray(value))


def _front(job: Job, candidates: Candidates) -> Candidates:
    """The candidates on the front, each network once."""
    rows = pareto.front_rows(candidates.columns.fitness)
    rows = rows[first_rows(job.space, candidates.genomes[rows])]
    return candidates.of(rows)


def _unseen_error(job: Job, split: Split, genomes: np.ndarray) -> Float[np.ndarray, "n"]:
    """The share of the held-out images that each network gets wrong, by one compiled program."""
    error, _ = error_evaluator(job, split)
    size = job.config.search.population
    with progress("rank on held-out images", -(-len(genomes) // size) * size) as advance:

        def batch(genomes: np.ndarray) -> np.ndarray:
            found = error(genomes)
            advance(len(genomes))
            return found

        return in_batches(batch, genomes, size)


def _found(job: Job) -> Candidates:
    """What the search has found."""
    settings = job.config.search
    searched = read_searched(job.run, CANDIDATES, job.space, settings.objectives)
    asked = not settings.look_ups or job.run.exists(FOUND)
    if not is_complete(searched.archive, settings) or not asked:
        raise UserError(f"the search in {job.run.root} is not complete: run `jaxnas search` first")
    if not settings.look_ups:
        columns = searched.columns
        predicted_ms = columns["latency_ms"] if job.config.predicts else None
        within = _within_limits(job, columns, searched.whole)
        return Candidates(searched.archive.genomes, within, predicted_ms)
    found = read_found(job.run, job.space)
    columns = joined(settings.objectives, {"error": found.error, "latency_ms": found.latency_ms()})
    return Candidates(
        found.genomes, _within_limits(job, columns, columns), np.asarray(found.predicted.mean_ms)
    )


def _within_limits(job: Job, columns: Columns, whole: Columns) -> Columns:
    """The fitness of those within the limits and constraints of the search, NaN for the others."""
    settings = job.config.limited_search
    kept = feasible(whole.fitness, settings)
    if (limits := limits_of(settings)) and not kept.any():
        least = ", ".join(
            f"{name}={value:.3g}"
            for name, value in zip(whole.names, np.fmin.reduce(whole.fitness), strict=True)
        )
        raise UserError(
            f"no network found is within {limits}, the least of each alone are "
            f"{least}: raise the limits"
        )
    return replace(columns, fitness=np.where(kept[:, None], columns.fitness, np.nan))
