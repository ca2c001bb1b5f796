"""What a search of a run minimises.

The error of its networks on the search split, and their latency as predicted.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.algorithms.pareto import rank
from jaxnas.config import NUMERICS, ProfileConfig, make_device
from jaxnas.data.dataset import Split
from jaxnas.errors import choose
from jaxnas.hardware.cost_model import cost_model, model_with
from jaxnas.objectives.objective import (
    Evidence,
    Objective,
    classification_error,
    fitness,
    modelled_energy,
    modelled_latency,
    network_macs,
    network_params,
    peak_memory,
    predicted_latency,
    tuned_error,
)
from jaxnas.predictors import mlp
from jaxnas.records.cache import Store, digest, source_digest
from jaxnas.records.data import read_data
from jaxnas.spaces.genomes import first_rows, to_text
from jaxnas.spaces.space import Space
from jaxnas.stages.job import Job, space_settings
from jaxnas.supernets.supernet import Params
from jaxnas.training.loop import on_device
from jaxnas.training.parallel import all_devices, on_each
from jaxnas.training.population import QUARTER

# What `search.also` may name.
FURTHER: dict[str, Callable[[Space, ProfileConfig], Objective]] = {
    "energy_uj": lambda space, settings: modelled_energy(
        space, model_with(make_device(settings), "energy_uj")
    ),
    "mmacs": lambda space, _: network_macs(space),
    "mparams": lambda space, _: network_params(space),
    "peak_kib": lambda space, _: peak_memory(space),
}
# What decides the error of a genome.
ERROR_CODE = ("networks", "spaces", "supernets", "training", "data", "objectives")

Evaluate = Callable[[np.ndarray], np.ndarray]  # genomes to fitness, a column an objective


def evaluator(job: Job, predictor: mlp.LatencyMLP) -> tuple[Evaluate, str]:
    """What a search of this run minimises, genomes to its `objectives`.

    And a digest of all that decides it but the genome.
    """
    split = search_split(job)
    evidence = _evidence(job, predictor, split)
    errors, contexts = zip(*(_error(rung, evidence, split) for rung in _rungs(job)), strict=True)
    device = make_device(job.config.profile)
    model = cost_model(device)
    latency = predicted_latency(job.space) if model is None else modelled_latency(job.space, model)
    further = [
        choose("objective", name, FURTHER)(job.space, job.config.profile)
        for name in job.config.search.also
    ]
    facts = digest([*contexts, device.name, mlp.to_arrays(predictor), *job.config.search.also])
    return halving(errors, fitness(job.space, (latency, *further), evidence)), facts


def halving(errors: Sequence[Evaluate], costs: Evaluate) -> Evaluate:
    """Error and costs of a population, by successive halving (Jamieson & Talwalkar 2016).

    The first of `errors` sees all of it.

    Each one after sees the better half of what the one before has seen: by non-dominated rank, then
    by error. Who is stopped keeps the error it was stopped with. With one of `errors` nobody is.
    """

    def evaluate(genomes: np.ndarray) -> np.ndarray:
        found = np.concatenate([errors[0](genomes), costs(genomes)], axis=1)
        alive = np.arange(len(genomes))
        for error in errors[1:]:
            ranks = np.asarray(rank(jnp.asarray(found[alive])))
            alive = alive[np.lexsort((found[alive, 0], ranks))[: -(-len(alive) // 2)]]
            # The batch keeps its size; who is in it twice is evaluated once.
            asked = np.resize(alive, len(genomes))
            found[alive, 0] = error(genomes[asked])[: len(alive), 0]
        return found

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
    """The share of these images that each network gets wrong, (n, 1).

    And a digest of all that decides it but the genome.

    It takes the time of a search, so it is evaluated once for all runs with these weights and
    images.
    """
    return _error(_rungs(job)[-1], _evidence(job, None, split), split)


def _error(job: Job, evidence: list[Evidence], split: Split) -> tuple[Evaluate, str]:
    context = _error_context(job, evidence[0].params, split)
    evaluate = fitness(job.space, (_error_objective(job),), evidence, all_devices())
    return stored(Store("evaluations", context), job.space, evaluate), context


def _error_objective(job: Job) -> Objective:
    hybrid = job.config.search.hybrid
    mesh = all_devices()
    memory_gib = job.config.search.memory_gib
    if hybrid.trains:
        return tuned_error(job.net, hybrid, job.augmentation, job.key("hybrid"), mesh, memory_gib)
    return classification_error(job.net, mesh, NUMERICS[job.config.export.precision], memory_gib)


def _evidence(job: Job, predictor: mlp.LatencyMLP | None, split: Split) -> list[Evidence]:
    params = job.params()
    mesh = all_devices()
    examples = [job.examples(split, size) for size in job.space.resolutions]
    training = on_device(job.data) if job.config.search.hybrid.trains else None
    return [
        on_each(mesh, Evidence(params, predictor, jnp.int32(i), some, training))
        for i, some in enumerate(examples)
    ]


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
    trained_on = [data.train.images, data.train.labels]
    training = (
        [asdict(hybrid), asdict(job.augmentation), job.config.seed, *trained_on]
        if hybrid.trains
        else []
    )
    drawn = job.config.seed if job.prepared.recalibration != "plain" else None
    facts = {
        "objective": ["error", job.config.export.precision, *training],
        "space": {"genes": repr(job.space.genes), "structure": repr(space_settings(job.space))},
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
    """`evaluate`, whose errors are one column, asked only for what the store lacks, each once.

    The batch keeps its size, so that there is one compiled program; rows not wanted get a static
    choice that does not exist. Evaluations that failed (NaN) are not stored, for another attempt.
    """

    def through(genomes: np.ndarray) -> np.ndarray:
        canonical = np.asarray(space.canonical(genomes))
        keys = [to_text(genome) for genome in canonical]
        known = np.array([error is not None for error in store.get(keys)])
        first = np.zeros(len(genomes), bool)
        first[first_rows(space, canonical)] = True
        wanted = first & ~known
        if wanted.any():
            errors = evaluate(space.left_out(canonical, ~wanted))[:, 0]
            store.put(
                {keys[i]: float(errors[i]) for i in np.flatnonzero(wanted & ~np.isnan(errors))}
            )
        return np.array(
            [np.nan if error is None else error for error in store.get(keys)], np.float32
        )[:, None]

    return through
