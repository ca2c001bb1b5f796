"""`jaxnas compare`: algorithms over many seeds, random search beside.

All have the same objectives and as many evaluations.

Everything lies in the folder `compare` of the run. Each finished search is a file there, named by a
digest of all that decides it: it is not run again, and other settings, weights or code leave it
alone.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.algorithms.algorithm import Algorithm, AnySpace
from jaxnas.algorithms.compiled import search_many
from jaxnas.algorithms.loop import Archive, search
from jaxnas.algorithms.seeded import Seeded, begins_as_told
from jaxnas.config import ALGORITHMS, Config, SearchConfig, make_algorithm
from jaxnas.errors import UserError
from jaxnas.progress import log, progress
from jaxnas.records.cache import digest, source_digest
from jaxnas.records.candidates import archive_from, arrays_of
from jaxnas.records.files import OF_LATENCY
from jaxnas.records.reading import reading, require_earlier
from jaxnas.records.run_directory import RunDirectory
from jaxnas.report.compare import write_comparison
from jaxnas.spaces.box import Box
from jaxnas.spaces.genomes import check_genomes
from jaxnas.stages.checks import check_fit, check_settings
from jaxnas.stages.differences import check_same_settings, keep_settings
from jaxnas.stages.evaluation import evaluator, read_models
from jaxnas.stages.initial import of_settings
from jaxnas.stages.job import load_data, load_space, open_job, purpose_key
from jaxnas.stages.settings import recorded_settings
from jaxnas.stages.unread import check_read, without_unread
from jaxnas.studies.given_scale import given_scale
from jaxnas.studies.statistics import least_seeds

OBJECTIVES = 5  # at most


@dataclass(frozen=True, eq=False)
class Problem:
    """What is searched: `fitness` (genomes, data) to (n, objectives), minimised.

    Where it can be `traced`, all seeds of an algorithm are one compiled program; otherwise it gets
    and gives NumPy arrays.

    Hypervolume is measured below the `reference` point. Without one that is the worst value of each
    objective that the first seed's random search finds, which does not depend on the algorithms
    compared. With the true `front`, hypervolume is a share of the front's, and regret and IGD+ are
    told as well.

    Under `constraints` the fitness has a column for each of them after the objectives, and a
    candidate is feasible where all are at most 0: only feasible ones count.

    Searches may begin with the `initial` genomes, and with `same_start` all those of a seed have
    the rest of their first generation in common, but for algorithms that cannot begin with given
    genomes (evosax, controllers). It is off, for the tests take two algorithms' seeds to have
    nothing in common.
    """

    space: AnySpace
    objectives: tuple[str, ...]  # 1 to 5
    fitness: Callable[[Any, Any], Any]
    digest: str  # of all that decides the fitness but the genome
    data: Any = None
    traced: bool = False
    units: tuple[str, ...] = ()  # of the objectives, for the axes of figures
    reference: tuple[float, ...] | None = None
    front: Any = None  # (points, objectives), all of it
    constraints: tuple[str, ...] = ()  # names of the columns after the objectives
    initial: Any = None  # (k, genes)
    same_start: bool = False


def run_compare(
    config: Config,
    out: str,
    names: Sequence[str],
    seeds: int,
    problem: Callable[[], Problem] | None = None,
    same_start: bool = False,
    reference: Sequence[float] | None = None,
    front: str | None = None,
) -> None:
    """Compare algorithms in the run directory `out` and print the table.

    What is searched is the `problem` of the experiment, where it brings one (a table, say), or else
    the supernet and the predictor of the run. `search.initial`, `same_start`, the `reference` point
    and the `front`, a file, are those of a `Problem`.
    """
    check_settings(config)
    _check_read(config, names)
    if seeds < 2:
        raise UserError(
            f"--seeds must be at least 2, got {seeds}: a comparison needs several, 30 is usual"
        )
    searched = None if problem is None else _with_start(problem(), config, same_start)
    objectives = config.search.objectives if searched is None else searched.objectives
    constraints = tuple(config.search.bounds) if searched is None else searched.constraints
    scale = given_scale(objectives, reference, front)
    _check_scale(scale, searched, len(objectives))
    search = replace(
        config.search,
        objectives=objectives,
        limits=(),
        constraints=tuple(f"{name}=0" for name in constraints),
        formulation=None,
        patience=None,
        seconds=None,
        initial=None,
    )
    space = None if searched is None else searched.space
    algorithms = choose_algorithms(names, search, space)
    _log_left_out(config, searched is not None)
    if searched is None:
        _check_earlier(config, RunDirectory(out))
    else:
        searched = replace(searched, **scale)
        check_problem(searched)
        _check_begins(algorithms, searched.space)
    if seeds < (enough := least_seeds(len(algorithms))):
        log(
            f"compare: {seeds} seeds are too few to show any difference between {len(algorithms)} "
            f"algorithms: take {enough} or more"
        )
    with RunDirectory(out) as run:
        whole = config
        # The search may differ: what is compared is named by its own settings.
        if run.exists("config.json"):
            whole = replace(config, search=recorded_settings(run).search)
        check_same_settings(run, whole)
        run.clean()
        if searched is None:
            own = replace(_of_run(run, config, whole), **scale)
            searched = _with_start(own, config, same_start)
        if not run.exists("config.json"):
            run.write_json("config.json", asdict(config))
        compare_searches(run, searched, algorithms, search, range(config.seed, config.seed + seeds))
        table = write_comparison(run)
    print(table)
    log(f"compare: {run.path('compare/compare.html')}")


def _log_left_out(config: Config, brings_problem: bool) -> None:
    """Says which settings of the search do not count in a comparison."""
    whole = "for the hypervolume counts the whole front"
    if config.limited_search.limits:
        log(f"compare: the searches have no limits here, {whole}")
    if config.search.formulation is not None:
        log(f"compare: search.formulation does not count here, {whole}")
    if brings_problem and config.search.constraints:
        log("compare: search.constraints do not count here, for the problem brings its own")
    if config.search.patience is not None or config.search.seconds is not None:
        log("compare: no search stops early here, for all evaluate as many candidates")


def _check_read(config: Config, names: Sequence[str]) -> None:
    """Refuses settings that nothing reads.

    Neither the experiment's own algorithm nor one of those compared.
    """
    searches = [
        replace(config.search, algorithm=name) for name in (config.search.algorithm, *names)
    ]
    each = [replace(config, search=search) for search in searches]
    if not any(without_unread(one) == one for one in each):
        check_read(config)


def _check_earlier(config: Config, run: RunDirectory) -> None:
    """Refuses a run that has no supernet or no predictor, before anything is written."""
    require_earlier(run, "search", "compare", () if config.predicts else OF_LATENCY)
    data = load_data(config.data, config.seed)
    check_fit(config, data, load_space(config, data))


def _of_run(run: RunDirectory, config: Config, whole: Config) -> Problem:
    job = open_job(run, config)
    keep_settings(run, whole, job.space)
    evaluate, facts = evaluator(job, read_models(job))
    names = config.search.objectives
    bounds = np.array([*config.search.bounds.values()], np.float32)

    def fitness(genomes: np.ndarray, _: Any) -> np.ndarray:
        """Constraints as shares of their bounds beyond them."""
        found, beside = np.split(evaluate(genomes), [len(names)], axis=1)
        scale = np.where(bounds == 0, 1, np.abs(bounds))
        return np.concatenate([found, (beside - bounds) / scale], axis=1)

    return Problem(job.space, names, fitness, facts, constraints=tuple(config.search.bounds))


def _check_begins(algorithms: Mapping[str, Algorithm], space: AnySpace) -> None:
    """Refuses an algorithm that cannot search the space, before any has."""
    for algorithm in algorithms.values():
        jax.eval_shape(partial(algorithm.init, space=space), jax.random.key(0))


def _with_start(problem: Problem, config: Config, same_start: bool) -> Problem:
    """The problem with what the settings and the command say of the first generation."""
    problem = replace(problem, same_start=same_start or problem.same_start)
    if config.search.initial is None:
        return problem
    if isinstance(problem.space, Box):
        raise UserError(
            f"search.initial names choices, and the problem lies in the box {problem.space.name}: "
            "leave it away"
        )
    return replace(problem, initial=of_settings(config, problem.space))


def check_problem(problem: Problem) -> None:
    """Refuses a problem whose parts do not fit together, before anything is searched."""
    m = len(problem.objectives)
    if not 1 <= m <= OBJECTIVES:
        raise UserError(
            f"a problem must have 1 to {OBJECTIVES} objectives, got {m}: "
            f"{', '.join(problem.objectives)}"
        )
    if problem.units and len(problem.units) != m:
        raise UserError(
            f"units of the problem must be one per objective, {m}, or none, got "
            f"{len(problem.units)}"
        )
    columns = (*problem.objectives, *problem.constraints)
    if len({*columns}) < len(columns):
        raise UserError(
            f"objectives and constraints of the problem must have a name of their own, got "
            f"{', '.join(columns)}"
        )
    _check_scale({"reference": problem.reference, "front": problem.front}, None, m)
    if problem.initial is not None:
        _check_initial(problem)
    if problem.traced:
        sampled = jax.eval_shape(
            lambda key: problem.fitness(problem.space.sample(key, 2), problem.data),
            jax.random.key(0),
        )
        _check_columns(problem, sampled, 2)


def _check_scale(scale: Mapping[str, Any], problem: Problem | None, m: int) -> None:
    """Refuses a reference point and a front of another number of objectives, or that do not fit.

    What the `scale` does not tell is the problem's.
    """
    reference = scale.get("reference", problem and problem.reference)
    front = scale.get("front", None if problem is None else problem.front)
    if reference is not None and (np.shape(reference) != (m,) or not np.isfinite(reference).all()):
        raise UserError(
            f"reference of the problem must be {m} finite numbers, one per objective, got "
            f"{reference}"
        )
    if front is not None:
        _check_front(np.asarray(front), reference, m)


def _check_front(front: np.ndarray, reference: tuple[float, ...] | None, objectives: int) -> None:
    if (
        front.ndim != 2
        or front.shape[1] != objectives
        or not len(front)
        or not np.isfinite(front).all()
    ):
        raise UserError(
            f"front of the problem must have finite rows of {objectives} objectives, got shape "
            f"{front.shape}"
        )
    if reference is not None and not (front < np.array(reference)).all(axis=1).any():
        raise UserError(
            "reference of the problem must be worse than a point of its front in every objective, "
            f"got {reference}"
        )


def _check_initial(problem: Problem) -> None:
    if isinstance(problem.space, Box):
        raise UserError(
            f"initial of the problem must be choices, which the box {problem.space.name} does not "
            "have: leave it away"
        )
    try:
        check_genomes(problem.space, np.asarray(problem.initial).reshape(len(problem.initial), -1))
    except ValueError as error:
        raise UserError(
            f"initial of the problem must be rows of its choices, got {error}"
        ) from None


def _check_columns(problem: Problem, fitness: Any, rows: int) -> None:
    columns = (*problem.objectives, *problem.constraints)
    expected = rows, len(columns)
    if np.shape(fitness) != expected:
        names = ", ".join(columns)
        raise UserError(
            f"fitness of the problem must have shape {expected}, a column for each of {names}; got "
            f"{np.shape(fitness)}"
        )


def choose_algorithms(
    names: Sequence[str], settings: SearchConfig, space: AnySpace | None = None
) -> dict[str, Algorithm]:
    """The algorithms of these names for this space, and random search as the last one.

    Each evaluates as many candidates in all.
    """
    names = list(dict.fromkeys([*(name for name in names if name != "random"), "random"]))
    if len(names) < 2:
        raise UserError(
            "--algorithms must name one other than random, which is always beside; known: "
            + ", ".join(sorted(ALGORITHMS))
        )
    algorithms = {name: make_algorithm(replace(settings, algorithm=name), space) for name in names}
    budget = settings.population * settings.generations
    for name, algorithm in algorithms.items():
        if budget % algorithm.population:
            raise UserError(
                f"{name} evaluates {algorithm.population} candidates at a time, which does not "
                f"divide the {budget} of search.population x search.generations: change one of them"
            )
    return algorithms


def compare_searches(
    run: RunDirectory,
    problem: Problem,
    algorithms: Mapping[str, Algorithm],
    settings: SearchConfig,
    seeds: Sequence[int],
) -> None:
    """Run what is missing of every algorithm and seed.

    Writes all archives to compare/compare.npz.

    Seed s is the search of a run with seed s: the same keys, whatever the algorithm.
    """
    budget = settings.population * settings.generations
    algorithms = _beginning(algorithms, problem, settings.population)
    files = {name: [_file(problem, name, settings, seed) for seed in seeds] for name in algorithms}
    missing = {
        name: [i for i, file in enumerate(files[name]) if not run.exists(file)]
        for name in algorithms
    }
    total = len(algorithms) * len(seeds)
    with progress(
        "compare", total * budget, (total - sum(map(len, missing.values()))) * budget
    ) as advance:
        for name, algorithm in algorithms.items():
            todo = {seeds[i]: files[name][i] for i in missing[name]}
            if problem.traced and todo:
                _search_together(run, problem, algorithm, budget, todo)
                advance(len(todo) * budget, algorithm=name)
            elif todo:
                _search_in_turn(
                    run,
                    problem,
                    algorithm,
                    budget,
                    todo,
                    lambda n, seed, name=name: advance(n, algorithm=name, seed=seed),
                )
    arrays = {"algorithms": np.array(list(algorithms)), "seed": np.array(seeds, np.int64)} | _facts(
        problem, algorithms
    )
    for name in algorithms:
        each = [_read(run, file) for file in files[name]]
        arrays |= {f"{name}_{field}": np.stack([one[field] for one in each]) for field in each[0]}
    run.write_npz("compare/compare.npz", **arrays)


def _beginning(
    algorithms: Mapping[str, Algorithm], problem: Problem, population: int
) -> dict[str, Algorithm]:
    """The algorithms with the first generation that the problem asks for, where they take one."""
    given = () if problem.initial is None else np.asarray(problem.initial).tolist()
    if not (len(given) or problem.same_start):
        return dict(algorithms)
    if apart := [name for name, one in algorithms.items() if not begins_as_told(one)]:
        log(f"compare: {', '.join(apart)} cannot begin with given genomes: they choose their own")
    genomes = tuple(map(tuple, given))
    drawn = population if problem.same_start else 0
    return {
        name: one if name in apart else Seeded(one, genomes, drawn)
        for name, one in algorithms.items()
    }


def _facts(problem: Problem, algorithms: Mapping[str, Algorithm]) -> dict[str, np.ndarray]:
    """What the report says of the problem."""
    facts = {"objectives": np.array(problem.objectives), "space": np.array(problem.space.name)}
    if apart := [name for name, one in algorithms.items() if not isinstance(one, Seeded)]:
        facts["apart"] = np.array(apart)  # from those that begin as they are told
    if problem.constraints:
        facts["constraints"] = np.array(problem.constraints)
    if problem.units:
        facts["units"] = np.array(problem.units)
    if problem.reference is not None:
        facts["reference"] = np.array(problem.reference, np.float64)
    if problem.front is not None:
        facts["front"] = np.asarray(problem.front, np.float64)
    if problem.initial is not None:
        facts["initial"] = np.asarray(problem.initial, np.int32)
    if problem.same_start:
        facts["same_start"] = np.array(True)
    return facts


def _search_together(
    run: RunDirectory, problem: Problem, algorithm: Algorithm, budget: int, todo: Mapping[int, str]
) -> None:
    keys = jax.random.wrap_key_data(
        jnp.stack([jax.random.key_data(purpose_key(seed, "search")) for seed in todo])
    )
    archives = search_many(
        algorithm,
        problem.space,
        keys,
        problem.fitness,
        budget // algorithm.population,
        problem.data,
    )
    archives = jax.device_get(archives)
    for i, file in enumerate(todo.values()):
        one = Archive(*jax.tree.map(lambda array, i=i: array[i], archives))
        run.write_npz(file, **arrays_of(one))


def _search_in_turn(
    run: RunDirectory,
    problem: Problem,
    algorithm: Algorithm,
    budget: int,
    todo: Mapping[int, str],
    advance: Callable[[int, int], None],
) -> None:
    def evaluate(genomes: np.ndarray) -> np.ndarray:
        fitness = np.asarray(problem.fitness(genomes, problem.data))
        _check_columns(problem, fitness, len(genomes))
        return fitness

    for seed, file in todo.items():
        archive = search(
            algorithm,
            problem.space,
            purpose_key(seed, "search"),
            evaluate,
            budget // algorithm.population,
            on_generation=lambda _, archive, seed=seed: advance(algorithm.population, seed),
        )
        run.write_npz(file, **arrays_of(archive))


def _file(problem: Problem, name: str, settings: SearchConfig, seed: int) -> str:
    facts = [
        problem.digest,
        repr(problem.space.genes),
        _start(problem),
        name,
        asdict(replace(settings, algorithm=name)),
        source_digest("algorithms", "predictors", "spaces", "config.py"),
    ]
    plain = re.sub(r"[^\w.=-]", "-", name)[:100]
    return f"compare/searches/{plain}-{seed}-{digest(facts)[:16]}.npz"


def _start(problem: Problem) -> list[str]:
    """A digest of what searches begin with."""
    given = [] if problem.initial is None else [np.asarray(problem.initial)]
    return [digest([*given, problem.same_start])]


def _read(run: RunDirectory, file: str) -> dict[str, np.ndarray]:
    """The arrays of a search: a row a candidate, and figures of the algorithm."""
    with reading(run, file):
        return arrays_of(archive_from(run.read_npz(file)))
