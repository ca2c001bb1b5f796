"""What a search of a run minimises: its objectives, the error on the search split among them."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.algorithms.formulations import tightest
from jaxnas.algorithms.loop import Archive
from jaxnas.algorithms.pareto import rank
from jaxnas.config import (
    NUMERICS,
    OBJECTIVES,
    Config,
    SearchConfig,
    make_device,
    make_formulation,
    make_memory,
    make_objective,
    make_predictor,
)
from jaxnas.data.dataset import Split
from jaxnas.errors import UserError
from jaxnas.hardware.cost_model import cost_model
from jaxnas.hardware.device import Device
from jaxnas.numerics.analog import InMemory
from jaxnas.objectives.analog import is_analog, times_of
from jaxnas.objectives.columns import Columns, joined
from jaxnas.objectives.objective import Context, EvaluationInputs, Objective, fitness
from jaxnas.predictors.predictor import Model
from jaxnas.records.cache import Store, digest, source_digest
from jaxnas.records.data import read_data
from jaxnas.records.predictor import read_predictor
from jaxnas.spaces.genomes import first_rows, to_text
from jaxnas.spaces.joint import alone, of_network, on_one_chip
from jaxnas.spaces.space import Space
from jaxnas.stages.job import Job, purpose_key, space_settings
from jaxnas.stages.shared import errors, evaluation_inputs
from jaxnas.supernets.supernet import Params, Supernet
from jaxnas.training.evaluate_analog import Trials
from jaxnas.training.parallel import all_devices
from jaxnas.training.population import QUARTER

# Objectives that no weights and no images decide.
COSTS = tuple(name for name in OBJECTIVES if name != "error" and not is_analog(name))
# What decides the error of a genome.
ERROR_CODE = ("networks", "spaces", "supernets", "training", "data", "objectives")

Evaluate = Callable[[np.ndarray], np.ndarray]  # genomes to a figure of each
Fitness = Callable[[np.ndarray], np.ndarray]  # genomes to fitness, a column an objective


def objectives(config: Config, net: Supernet) -> dict[str, Objective]:
    """All that the settings name, for the networks of this supernet; by name, in order."""
    names = config.search.objectives
    device = make_device(config.profile)
    numerics = NUMERICS[config.export.precision]
    context = Context(net, device, numerics, analog=_trials(config, names, device))
    made = {name: make_objective(name)(context) for name in names}
    # A user's own is known by its place, as the settings have it.
    return {name: replace(one, name=name) for name, one in made.items()}


def _trials(config: Config, names: Sequence[str], device: Device) -> tuple[InMemory, Trials] | None:
    """Of the chip that analog objectives are of; None where there is none of these."""
    times = times_of(names)
    if not times:
        return None
    key = purpose_key(config.seed, "analog")
    memory = make_memory(config.search, device)
    return memory, Trials(key, config.search.analog.programmings, times)


def constraints(config: Config, net: Supernet) -> dict[str, Objective]:
    """The figures that the settings bound and do not minimise; by name, in order.

    Raises:
        UserError: nobody knows the figure, or what it is without measurements.
    """
    bounded = replace(config.search, objectives=tuple(config.search.bounds))
    made = objectives(replace(config, search=bounded), net)
    if "latency_ms" in made and cost_model(make_device(config.profile)) is None:
        raise UserError(
            f"search.constraints bound latency_ms, which of the device {config.profile.device} is "
            "predicted where it is minimised: add it to search.objectives, and write search.limits"
        )
    return made


def evaluator(job: Job, models: dict[str, Model]) -> tuple[Fitness, str]:
    """What a search of this run minimises, genomes to its `objectives` and then `constraints`.

    And a digest of all that decides it but the genome.
    """
    split = search_split(job)
    inputs = _inputs(job, models, split)
    each, contexts = zip(*(_error(rung, inputs, split) for rung in _rungs(job)), strict=True)
    search = job.config.search
    names = search.objectives
    bounded = tuple(constraints(job.config, job.net))
    both = replace(search, objectives=(*names, *bounded))
    made = objectives(replace(job.config, search=both), job.net)
    costs = {name: one for name, one in made.items() if name != "error"}
    plain = fitness(job.space, [one for one in costs.values() if one.shared is None], inputs)
    tried = _analog(job, [one for one in costs.values() if one.shared is not None], inputs, split)

    def columns(genomes: np.ndarray) -> Columns:
        of = {False: iter(plain(genomes).T), True: iter(tried(genomes).T)}
        return joined(
            tuple(costs), {name: next(of[one.shared is not None]) for name, one in costs.items()}
        )

    evaluate = halving(names, each, columns)
    device = make_device(job.config.profile)
    settings = repr(search.analog)
    facts = [*contexts, device.name, settings, jax.tree.leaves(models), (*names, *bounded)]
    return evaluate, digest(facts)


def _analog(
    job: Job, made: Sequence[Objective], inputs: list[EvaluationInputs], split: Split
) -> Fitness:
    """Columns of analog objectives, each network tried once for all of them and kept."""
    if not made:
        return lambda genomes: np.zeros((len(genomes), 0), np.float32)
    memory = make_memory(job.config.search, make_device(job.config.profile))
    of_error = _error_context(job, inputs[0].params, split)
    facts = [of_error, repr(memory), job.config.search.analog.programmings, job.config.seed]
    code = source_digest("numerics", "hardware")
    stores = [Store("evaluations", digest([*facts, code, one.name])) for one in made]
    return stored_columns(stores, job.space, fitness(job.space, made, inputs))


def halving(
    names: Sequence[str], errors: Sequence[Evaluate], costs: Callable[[np.ndarray], Columns]
) -> Fitness:
    """Fitness of a population, by successive halving (Jamieson & Talwalkar 2016).

    The first of `errors` sees all candidates. Each later one sees the better half of the candidates
    that reached the previous one, by non-dominated rank, then error. A dropped candidate keeps its
    last error. A single one drops none. Costs that are not among `names` come last, and do not
    count for the rank.
    """
    others = len(names) - 1

    def evaluate(genomes: np.ndarray) -> np.ndarray:
        cost = costs(genomes)
        error = np.array(errors[0](genomes))
        alive = np.arange(len(genomes))
        for again in errors[1:]:
            found = np.column_stack([error, cost.fitness[:, :others]])
            ranks = np.asarray(rank(jnp.asarray(found[alive])))
            alive = alive[np.lexsort((error[alive], ranks))[: -(-len(alive) // 2)]]
            # The batch keeps its size; who is in it twice is evaluated once.
            asked = np.resize(alive, len(genomes))
            error[alive] = again(genomes[asked])[: len(alive)]
        values = {"error": error} | {name: cost[name] for name in cost.names}
        return joined((*names, *cost.names[others:]), values).fitness

    return evaluate


def _rungs(job: Job) -> list[Job]:
    """The job with each of the shares of images that candidates are trained on, the least first.

    The last is that without halving.
    """
    hybrid = job.config.search.hybrid
    shares = [
        hybrid.share / QUARTER**rung
        for rung in range(hybrid.halvings if hybrid.trains else 0, -1, -1)
    ]
    searches = [
        replace(job.config.search, hybrid=replace(hybrid, share=share, halvings=0))
        for share in shares
    ]
    return [replace(job, config=replace(job.config, search=one)) for one in searches]


def error_evaluator(job: Job, split: Split) -> tuple[Evaluate, str]:
    """The share of these images that each network gets wrong.

    And a digest of all that decides it but the genome. It takes the time of a search, so it is
    evaluated once for all runs with these weights and images.
    """
    return _error(_rungs(job)[-1], _inputs(job, {}, split), split)


def _error(job: Job, inputs: list[EvaluationInputs], split: Split) -> tuple[Evaluate, str]:
    context = _error_context(job, inputs[0].params, split)
    evaluate = errors(job, inputs, split)
    return stored(Store("evaluations", context), job.space, evaluate), context


def _inputs(job: Job, models: dict[str, Model], split: Split) -> list[EvaluationInputs]:
    return evaluation_inputs(job, job.params(), models, split, all_devices())


def search_split(job: Job) -> Split:
    """The images that candidates are evaluated on.

    The first of the search split, which hold the classes in proportion.
    """
    return _divided(job)[0].first(job.config.search.images)


def selection_split(job: Job) -> Split | None:
    """The part of the search split that the search never sees.

    None where the run holds none out, as older ones did.
    """
    selection = _divided(job)[1]
    return selection if len(selection) else None


def divided(search: Split, share: float) -> tuple[Split, Split]:
    """The first images for the search, and a share of all for the selection.

    The classes are in proportion in both.
    """
    held_out = min(round(share * len(search)), len(search) - 1)
    seen = len(search) - held_out
    return search.first(seen), Split(search.images[seen:], search.labels[seen:])


def _divided(job: Job) -> tuple[Split, Split]:
    """As data.json says.

    Runs from before there was a selection have searched on all of the split.
    """
    held_out = read_data(job.run).selection is not None
    share = job.config.data.selection_share if held_out else 0.0
    return divided(job.data.search, share)


def _error_context(job: Job, params: Params, split: Split) -> str:
    """A digest of the weights, images, code and kind of machine that give errors."""
    data = job.data
    device = jax.devices()[0]
    hybrid = job.config.search.hybrid
    trained_on = [data.train.images, data.train.labels] if isinstance(data.train, Split) else []
    settings = [asdict(hybrid), asdict(job.augmentation), job.config.train.class_weights]
    training = [*settings, job.config.seed, *trained_on] if hybrid.trains else []
    own = alone(job.space)  # no chip changes an error
    drawn = job.config.seed if job.prepared.recalibration != "plain" else None
    facts = {
        "objective": ["error", job.config.export.precision, *training],
        "space": {"genes": repr(own.genes), "structure": repr(space_settings(own))},
        "weights": params,
        "search": [split.images, split.labels],
        "calibration": [
            data.calibration.images,
            data.mean,
            data.deviation,
            asdict(job.prepared),
            drawn,
        ],
        "code": source_digest(*ERROR_CODE),
        "machine": [
            device.platform,
            device.device_kind,
            *(version(package) for package in ("jax", "jaxlib", "flax")),
        ],
    }
    return digest(facts)


def stored(
    store: Store, space: Space, evaluate: Callable[[np.ndarray], np.ndarray]
) -> Callable[[np.ndarray], np.ndarray]:
    """`stored_columns` of a single column, which it gives as one."""
    columns = stored_columns([store], space, evaluate)
    return lambda genomes: columns(genomes)[:, 0]


def stored_columns(stores: Sequence[Store], space: Space, evaluate: Fitness) -> Fitness:
    """`evaluate`, asked only for what one of its columns' stores lacks, each network once.

    The batch keeps its size, so that there is one compiled program; rows not wanted get a static
    choice that does not exist. Evaluations that failed (NaN) are not stored, for another attempt.
    """

    def through(genomes: np.ndarray) -> np.ndarray:
        canonical = on_one_chip(space, np.asarray(space.canonical(genomes)))
        keys = [to_text(genome) for genome in of_network(space, canonical)]
        known = np.array([[one is not None for one in store.get(keys)] for store in stores])
        first = np.zeros(len(genomes), bool)
        first[first_rows(space, canonical)] = True
        wanted = first & ~known.all(0)
        if wanted.any():
            found = evaluate(space.left_out(canonical, ~wanted))
            for store, column in zip(stores, found.T, strict=True):
                rows = np.flatnonzero(wanted & ~np.isnan(column))
                store.put({keys[i]: float(column[i]) for i in rows})
        each = [[np.nan if one is None else one for one in store.get(keys)] for store in stores]
        return np.array(each, np.float32).T

    return through


def read_models(job: Job) -> dict[str, Model]:
    """The fitted predictors, by the objective that each predicts; none where none is predicted."""
    if not job.config.predicts:
        return {}
    predictor = make_predictor(job.config.predict)
    return {"latency_ms": read_predictor(job.run, job.space, predictor)}


def measured_alone(cost: Objective, models: dict[str, Model]) -> Evaluate:
    """One of `COSTS`, of genomes, without weights and images."""

    @jax.jit
    def measure(genomes, models):
        inputs: Any = EvaluationInputs({}, models, jnp.int32(0), None)  # type: ignore[arg-type]
        return cost.measure(genomes, inputs)

    return lambda genomes: np.asarray(measure(jnp.asarray(genomes), models))


def in_batches(evaluate: Evaluate, genomes: np.ndarray, size: int) -> np.ndarray:
    """`evaluate` of `size` genomes at a time, for there is one compiled program.

    The last is repeated.
    """
    padded = np.pad(genomes, ((0, -len(genomes) % size), (0, 0)), mode="edge")
    return np.concatenate([evaluate(padded[i : i + size]) for i in range(0, len(padded), size)])[
        : len(genomes)
    ]


def feasible(fitness: np.ndarray, settings: SearchConfig) -> np.ndarray:
    """Which candidates have no objective beyond its limit; those that failed are not.

    Nor a figure beyond its bound: those of constraints come after the objectives.
    """
    every = *all_limits(settings).values(), *settings.bounds.values()
    most = np.array([np.inf if limit is None else limit for limit in every], np.float32)
    return np.all(np.asarray(fitness, np.float32) <= most, axis=1)  # a NaN is within nothing


def all_limits(settings: SearchConfig) -> dict[str, float | None]:
    """The limit of each objective by name, those of the formulation among them."""
    count = len(settings.objectives)
    limits = settings.upper_limits
    if settings.formulation is not None:
        limits = tightest(limits, make_formulation(settings.formulation).limits(count))
    return dict(zip(settings.objectives, limits or (None,) * count, strict=True))


def limits_of(settings: SearchConfig) -> str:
    """The limits and constraints of a search, for people; nothing where it has none."""
    formulation = settings.formulation
    of_formulation = formulation is not None and any(
        make_formulation(formulation).limits(len(settings.objectives))
    )
    said = [*settings.limits, *settings.constraints, *([formulation] if of_formulation else [])]
    return " ".join(filter(None, said))


def is_complete(archive: Archive, settings: SearchConfig) -> bool:
    """Whether all generations of a search are there, or those after which it stopped."""
    whole = len(archive.fitness) == settings.population * settings.generations
    return whole or archive.stopped is not None
