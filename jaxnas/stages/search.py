"""Search for the front of the objectives, and as many networks at random for comparison.

Then ask the device where it is in doubt.
"""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.algorithms.local_search import moved, moves
from jaxnas.algorithms.loop import Archive, search
from jaxnas.algorithms.stopping import stopped_in_words
from jaxnas.config import SearchConfig, make_algorithm
from jaxnas.errors import UserError
from jaxnas.objectives.columns import Columns
from jaxnas.predictors.predictor import Model
from jaxnas.profiling.active_profile import covering_sample
from jaxnas.progress import log, progress
from jaxnas.records.candidates import (
    CANDIDATES,
    RANDOM,
    Searched,
    read_searched,
    write_searched,
)
from jaxnas.spaces.genomes import network_numbers, to_text
from jaxnas.spaces.space import Space
from jaxnas.stages.active_search import ask_device
from jaxnas.stages.derive import derive
from jaxnas.stages.evaluation import (
    COSTS,
    all_limits,
    constraints,
    evaluator,
    feasible,
    is_complete,
    limits_of,
    measured_alone,
    objectives,
    read_models,
    search_split,
)
from jaxnas.stages.initial import beginning_with, of_settings
from jaxnas.stages.job import Job
from jaxnas.stages.limit import note_wide_limit
from jaxnas.stages.stopping import Stop
from jaxnas.training.metrics import commonest_share


def run_search(job: Job) -> bool:
    """Write candidates.npz and random.npz, and with a budget of look-ups doubt.npz.

    False if all are complete.
    """
    searched = _run_searches(job)
    return ask_device(job) or searched


def _run_searches(job: Job) -> bool:
    """Generation by generation; False if both are complete."""
    settings = job.config.limited_search
    searched = _recorded(job, CANDIDATES)
    random = _beside(settings, searched)
    sampled = _recorded(job, RANDOM)
    if all(
        one is not None and is_complete(one.archive, asked)
        for one, asked in ((searched, settings), (sampled, random))
    ):
        return False
    models = read_models(job)
    _check_limits(job, models)
    note_wide_limit(job)
    evaluate, _ = evaluator(job, models)
    searched = _search(job, "search", CANDIDATES, settings, evaluate, searched)
    _search(job, "random", RANDOM, _beside(settings, searched), evaluate, sampled)
    return True


def _recorded(job: Job, file: str) -> Searched | None:
    if not job.run.exists(file):
        return None
    return read_searched(job.run, file, job.space, job.config.search.objectives)


def _beside(settings: SearchConfig, searched: Searched | None) -> SearchConfig:
    """Random sampling of as many generations as the search took, if it has ended."""
    random = replace(settings, algorithm="random", patience=None, seconds=None)
    if searched is None or not is_complete(searched.archive, settings):
        return random
    return replace(random, generations=int(searched.archive.generation[-1]) + 1)


def _search(
    job: Job,
    purpose: str,
    file: str,
    settings: SearchConfig,
    evaluate: Callable,
    recorded: Searched | None,
) -> Searched:
    algorithm = make_algorithm(settings)
    if purpose == "search":
        derived = [one.genome for one in derive(job)]
        given = of_settings(job.config, job.space)
        algorithm = beginning_with(algorithm, [*derived, *given])
    labels = {name: one.label for name, one in objectives(job.config, job.net).items()}
    before = None if recorded is None else _told(recorded)
    done = 0 if before is None else len(before.fitness)
    stop = Stop(settings, recorded)
    with progress(settings.algorithm, settings.population * settings.generations, done) as advance:

        def save(_: int, archive: Archive) -> str | None:
            reason = stop(archive)
            archive = archive._replace(stopped=reason)
            searched = _searched(job, settings, labels, archive, stop.spent)
            write_searched(job.run, file, searched, job.config.seed)
            advance(settings.population, best_error=float(np.fmin.reduce(searched["error"])))
            return reason

        archive = search(
            algorithm, job.space, job.key(purpose), evaluate, settings.generations, before, save
        )
    searched = _searched(job, settings, labels, archive, stop.spent)
    _log(job, settings, searched)
    return searched


def _searched(
    job: Job,
    settings: SearchConfig,
    labels: dict[str, str],
    archive: Archive,
    seconds: float | None,
) -> Searched:
    """What is recorded of an archive whose fitness has a column for each constraint as well."""
    whole = is_complete(archive, settings)
    network = network_numbers(job.space, archive.genomes) if whole else None
    kept = feasible(archive.fitness, settings)
    fitness, others = np.split(archive.fitness, [len(labels)], axis=1)
    beside = Columns(tuple(settings.bounds), others) if settings.bounds else None
    minimised = archive._replace(fitness=fitness)
    return Searched(minimised, labels, kept, network, beside, seconds)


def _told(searched: Searched) -> Archive:
    """What the algorithm has been told so far."""
    return searched.archive._replace(fitness=searched.whole.fitness)


def _log(job: Job, settings: SearchConfig, searched: Searched) -> None:
    """How many networks a search has seen, and what their errors say."""
    network = network_numbers(job.space, searched.archive.genomes)
    best = float(np.fmin.reduce(searched["error"]))
    worst = float(np.fmax.reduce(searched["error"]))
    counts = (
        f"{len(network)} candidates, {len(set(network))} networks, {len(searched.front)} of them "
        "on the front"
    )
    if ended := stopped_in_words(searched.archive, settings.generations):
        log(f"search: {settings.algorithm}: {ended}")
    log(f"search: {settings.algorithm}: {counts}; error {best:.1%} to {worst:.1%}")
    if (limits := limits_of(settings)) and not feasible(searched.whole.fitness, settings).any():
        log(f"search: {settings.algorithm}: no candidate is within {limits}")
    least = 1 - commonest_share(search_split(job).labels)
    if best >= least:
        log(
            "search: no candidate is better than always answering the commonest class, which gets "
            f"{least:.1%} wrong"
        )
    if settings.algorithm != "random":
        _log_best(searched, settings)
    if best == worst:
        log("search: all candidates have the same error, so that the other objectives alone decide")


def _log_best(searched: Searched, settings: SearchConfig) -> None:
    """The network that is the answer so far: most accurate of those within the limits."""
    error = np.where(feasible(searched.whole.fitness, settings), searched["error"], np.nan)
    if np.isnan(error).all():
        return
    best = int(np.nanargmin(error))
    columns = searched.whole
    figures = [f"{name} {columns[name][best]:.3g}" for name in columns.names if name != "error"]
    limits = limits_of(settings)
    log(
        f"search: most accurate {f'within {limits} ' if limits else ''}so far, by weights that it "
        f"shares: {1 - error[best]:.1%} right, {', '.join(figures)}; genome "
        f"{to_text(searched.archive.genomes[best])}"
    )


def _check_limits(job: Job, models: dict[str, Model]) -> None:
    """Refuses a limit or bound of a cost below every network that can be found by that cost.

    Before hours are spent.
    """
    settings = job.config.limited_search
    made = objectives(job.config, job.net) | constraints(job.config, job.net)
    for name, limit in {**all_limits(settings), **settings.bounds}.items():
        if limit is None or name not in COSTS:
            continue
        least = _least(job.space, measured_alone(made[name], models), limit)
        if not least > limit:
            continue
        setting = "search.formulation with"
        if name in settings.bounds:
            setting = "search.constraints"
        elif limit in settings.upper_limits:
            setting = "search.limits"
        if name == "latency_ms" and job.config.latency_limit_ms is not None:
            setting, name = "latency_limit_ms", ""
        raise UserError(
            f"{setting} {name and f'{name}='}{limit:g} is below every network of {job.space.name} "
            f"that was tried: step by step the least found is {least:.3g}; raise it"
        )


def _least(space: Space, cost: Callable[[np.ndarray], np.ndarray], enough: float) -> float:
    """The least cost that is met on the way down from the best of a sample.

    No other choice of a single gene costs less. NaN where a chip runs none of them. Where the
    smallest or the largest network costs at most `enough`, nothing else is tried.
    """
    corners = cost(np.stack([space.smallest, space.largest]))
    if (corners <= enough).any():
        return float(np.nanmin(corners))
    steps = moves(space.sizes)
    sample = np.asarray(covering_sample(jax.random.key(0), space, min(1000, space.size() // 2)))
    found = sample[[_place_of_least(cost(sample))]]
    while True:
        neighbours = np.concatenate(
            [found, moved(jnp.repeat(found, len(steps), axis=0), steps, space.sizes)]
        )
        costs = cost(neighbours)
        least = _place_of_least(costs)
        if least == 0:
            return float(costs[0])
        found = neighbours[[least]]


def _place_of_least(costs: np.ndarray) -> int:
    return int(np.where(np.isnan(costs), np.inf, costs).argmin())
