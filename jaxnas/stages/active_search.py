"""Ask the device where the predictor leaves open which candidates are best.

Then search again with what it says.
"""

from collections.abc import Callable

import jax
import numpy as np

from jaxnas.algorithms.loop import Archive, search
from jaxnas.config import make_algorithm
from jaxnas.objectives.columns import Columns, joined
from jaxnas.predictors.ensemble import Ensemble
from jaxnas.predictors.predictor import Model
from jaxnas.profiling.active_search import active_search
from jaxnas.profiling.rounds import measure_in_rounds
from jaxnas.progress import log, progress
from jaxnas.records.found import FOUND, write_found
from jaxnas.records.measurements import (
    ASKED,
    Asked,
    add_younger_columns,
    append_asked,
    by_network,
    read_asked,
    read_measurements,
)
from jaxnas.spaces.genomes import key_of
from jaxnas.stages.evaluation import Evaluate, error_evaluator, in_batches, search_split
from jaxnas.stages.initial import beginning_with, of_settings
from jaxnas.stages.job import Job
from jaxnas.stages.measuring import as_exported, exporter, open_device
from jaxnas.stages.stopping import Stop
from jaxnas.types import PRNGKey

BATCH = 15  # networks asked for at a time


def ask_device(job: Job) -> bool:
    """Write doubt.npz, each network measured on the way to asked.csv.

    False if it is there, or no look-ups are wanted.

    Stopped and run again it takes the same way: measurements come from asked.csv, errors from the
    store.
    """
    if not job.config.search.look_ups or job.run.exists(FOUND):
        return False
    start, known = _start(job)
    error, _ = error_evaluator(job, search_split(job))
    size = job.config.search.population
    found = active_search(
        job.key("doubt"),
        job.space,
        Ensemble(),
        start,
        _searcher(job, error),
        lambda genomes: in_batches(error, genomes, size),
        _measurer(job, known),
        len(known) + job.config.search.look_ups,
        BATCH,
    )
    write_found(job.run, found)
    asked = int(found.measured.sum()) - len(known)
    log(
        f"search: {asked} networks measured in {found.rounds - 1} rounds; the place of "
        f"{found.undecided} candidates is still open"
    )
    return True


def _start(job: Job) -> tuple[np.ndarray, dict[bytes, float]]:
    """The measured networks that the predictor may know, and the latency of each.

    NaN if all failed.
    """
    rows = [row for row in read_measurements(job.run, job.space) if row.split != "test"]
    networks = by_network(rows)
    genomes = np.asarray(job.space.canonical(np.array([one.genome for one in networks])))
    best: dict[bytes, float] = {}
    for genome, one in zip(genomes, networks, strict=True):
        key = key_of(genome)
        best[key] = float(np.fmin(best.get(key, np.nan), one.latency_ms))
    return genomes, best


def _measurer(job: Job, known: dict[bytes, float]) -> Callable[[np.ndarray], np.ndarray]:
    """Latency of genomes, ms.

    As measured before, in the profile or by a run of this that was stopped, or by the device.
    """
    add_younger_columns(job.run, ASKED)
    known = known | {
        key_of(one.genome): one.measurement.latency_ms for one in read_asked(job.run, job.space)
    }
    device = open_device(job)
    export = exporter(job)

    def one(genome: np.ndarray) -> float:
        if (key := key_of(genome)) not in known:
            model, costs = export(genome)
            best = measure_in_rounds(device, as_exported(job, model, genome), job.config.profile)
            append_asked(job.run, Asked(genome, best, **costs))
            known[key] = best.latency_ms
        return known[key]

    return lambda genomes: np.array([one(genome) for genome in genomes])


def _searcher(job: Job, error: Evaluate) -> Callable[[PRNGKey, Model], np.ndarray]:
    """The run's search, of error against the latency that a model has it by.

    Returns all that it has come across.
    """
    settings = job.config.limited_search
    algorithm = beginning_with(make_algorithm(settings), of_settings(job.config, job.space))
    stop = Stop(settings)
    latency = jax.jit(lambda model, genomes: model(genomes))

    def under(key: PRNGKey, model: Model) -> np.ndarray:
        with progress(
            f"{settings.algorithm}, device asked", settings.population * settings.generations
        ) as advance:

            def evaluate(genomes: np.ndarray) -> np.ndarray:
                latency_ms = np.asarray(latency(model, genomes))
                values = {"error": error(genomes), "latency_ms": latency_ms}
                return joined(settings.objectives, values).fitness

            def seen(_: int, archive: Archive) -> str | None:
                best = np.fmin.reduce(Columns(settings.objectives, archive.fitness)["error"])
                advance(settings.population, best_error=float(best))
                return stop(archive)

            return search(
                algorithm, job.space, key, evaluate, settings.generations, None, seen
            ).genomes

    return under
