"""Search error against predicted latency, and as many networks at random for comparison; then ask the device where it is in doubt."""

from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np

from jaxnas.config import SearchConfig, make_algorithm
from jaxnas.errors import UserError
from jaxnas.predictors import mlp
from jaxnas.predictors.features import gene_values
from jaxnas.profiling import covering_sample
from jaxnas.progress import progress
from jaxnas.search.loop import Archive, search
from jaxnas.stages.doubt import ask_device
from jaxnas.stages.evaluation import evaluator
from jaxnas.stages.job import Job, reading
from jaxnas.stages.predict import read_predictor


def run_search(job: Job) -> bool:
    """Write candidates.npz and random.npz, and with a budget of look-ups doubt.npz; False if all are complete."""
    searched = _run_searches(job)
    return ask_device(job) or searched


def _run_searches(job: Job) -> bool:
    """Generation by generation; False if both are complete."""
    settings = job.config.search
    searches = {"search": ("candidates.npz", settings), "random": ("random.npz", replace(settings, algorithm="random"))}
    recorded = {file: read_archive(job, file) if job.run.exists(file) else None for file, _ in searches.values()}
    if all(archive is not None and is_complete(archive, settings) for archive in recorded.values()):
        return False
    predictor = read_predictor(job)
    _check_limit(job, predictor)
    evaluate, _ = evaluator(job, predictor)
    for purpose, (file, one) in searches.items():
        _search(job, purpose, file, one, evaluate, recorded[file])
    return True


def read_archive(job: Job, file: str) -> Archive:
    """What a search has evaluated so far."""
    with reading(job.run, file):
        arrays = job.run.read_npz(file)
        archive = Archive(**{name: arrays[name] for name in Archive._fields})
        n, genes = len(archive.genomes), len(job.space.genes)
        shapes = [array.shape for array in archive]
        if shapes != [(n, genes), (n, len(job.config.search.objectives)), (n,), (n, 2)] or not (archive.genomes < job.space.sizes).all():
            raise ValueError(f"arrays of shapes {shapes}, not candidates of {job.space.name}")
    return archive


def is_complete(archive: Archive, settings: SearchConfig) -> bool:
    """Whether all generations are there."""
    return len(archive.fitness) == settings.population * settings.generations


def _search(job: Job, purpose: str, file: str, settings: SearchConfig, evaluate: Callable, recorded: Archive | None) -> None:
    algorithm = make_algorithm(settings)
    done = 0 if recorded is None else len(recorded.fitness)
    with progress(settings.algorithm, settings.population * settings.generations, done) as advance:

        def save(_: int, archive: Archive) -> None:
            job.run.write_npz(file, **archive._asdict(), seed=np.int64(job.config.seed), objectives=np.array(settings.objectives))
            advance(settings.population, best_error=float(np.fmin.reduce(archive.fitness[:, 0])))

        search(algorithm, job.space, job.key(purpose), evaluate, settings.generations, recorded, save)


def _check_limit(job: Job, predictor: mlp.LatencyMLP) -> None:
    """Refuses a latency limit below all that the predictor knows in the space, before hours are spent."""
    limit_ms = job.config.latency_limit_ms
    if limit_ms is None:
        return
    genomes = covering_sample(jax.random.key(0), job.space, min(1000, job.space.size() // 2))
    least_ms = float(mlp.predict(predictor, gene_values(job.space, genomes)).min())
    if least_ms > limit_ms:
        raise UserError(
            f"latency_limit_ms {limit_ms:g} cannot be reached: the fastest networks of {job.space.name} take {least_ms:.3g} ms; "
            "raise it, and use another --out"
        )
