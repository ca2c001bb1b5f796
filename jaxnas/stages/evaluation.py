"""What a search of a run minimises: the error of its networks on the search split, and their latency as predicted."""

from collections.abc import Callable
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.config import make_device
from jaxnas.data.dataset import Split
from jaxnas.hardware.npu import Modelled
from jaxnas.objectives import Evidence, classification_error, fitness, modelled_latency, predicted_latency
from jaxnas.predictors import mlp
from jaxnas.spaces.space import Space
from jaxnas.stages.job import Job, space_settings
from jaxnas.store import Store, digest, source_digest
from jaxnas.supernets.supernet import Params
from jaxnas.training.parallel import all_devices, on_each

OBJECTIVES = ("error", "latency_ms")
ERROR_CODE = ("spaces", "supernets", "training", "data", "objectives.py", "workload.py")  # what decides the error of a genome

Evaluate = Callable[[np.ndarray], np.ndarray]  # genomes to fitness, a column an objective


def evaluator(job: Job, predictor: mlp.LatencyMLP) -> tuple[Evaluate, str]:
    """What a search of this run minimises, genomes to `OBJECTIVES`, and a digest of all that decides it but the genome."""
    evidence = _evidence(job, predictor)
    error, context = _error(job, evidence)
    device = make_device(job.config.profile)
    said = modelled_latency(job.space, device.model) if isinstance(device, Modelled) else predicted_latency(job.space)
    latency = fitness(job.space, (said,), evidence)
    facts = digest([context, device.name, mlp.to_arrays(predictor)])
    return lambda genomes: np.concatenate([error(genomes), latency(genomes)], axis=1), facts


def error_evaluator(job: Job) -> tuple[Evaluate, str]:
    """The share of the search images that each network gets wrong, (n, 1), and a digest of all that decides it but the genome.

    It takes the time of a search, so it is evaluated once for all runs with these weights and images.
    """
    return _error(job, _evidence(job, None))


def _error(job: Job, evidence: list[Evidence]) -> tuple[Evaluate, str]:
    mesh, context = all_devices(), _error_context(job, evidence[0].params)
    evaluate = fitness(job.space, (classification_error(job.net, mesh, int8=job.config.export.precision == "int8"),), evidence, mesh)
    return stored(Store(context, len(job.space.genes), 1), job.space, evaluate), context


def _evidence(job: Job, predictor: mlp.LatencyMLP | None) -> list[Evidence]:
    params, split, mesh = job.params(), search_split(job), all_devices()
    examples = [job.examples(split, size) for size in job.space.resolutions]
    return [on_each(mesh, Evidence(params, predictor, jnp.int32(i), some)) for i, some in enumerate(examples)]


def search_split(job: Job) -> Split:
    """The images that candidates are evaluated on: the first of the search split, which hold the classes in proportion."""
    n = job.config.search.images
    return Split(job.data.search.images[:n], job.data.search.labels[:n])


def _error_context(job: Job, params: Params) -> str:
    """A digest of the weights, images, code and kind of machine that give errors."""
    data, split, device = job.data, search_split(job), jax.devices()[0]
    facts = {
        "objective": ["error", job.config.export.precision],
        "space": {"genes": repr(job.space.genes), "structure": repr(space_settings(job.space))},
        "weights": params,
        "search": [split.images, split.labels],
        "calibration": [data.calibration.images, data.mean, data.deviation],
        "code": source_digest(*ERROR_CODE),
        "machine": [device.platform, device.device_kind, *(version(package) for package in ("jax", "jaxlib", "flax"))],
    }
    return digest(facts)


def stored(store: Store, space: Space, evaluate: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """`evaluate`, asked only for what the store lacks, each network once.

    The batch keeps its size, so that there is one compiled program; rows not wanted get a static choice that does not exist.
    """

    def through(genomes: np.ndarray) -> np.ndarray:
        canonical = np.asarray(space.canonical(genomes))
        known = store.get(canonical)[1]
        first = np.zeros(len(genomes), bool)
        first[np.unique(canonical, axis=0, return_index=True)[1]] = True
        wanted = first & ~known
        if wanted.any():
            asked = np.array(canonical)
            asked[~wanted, space.static] = -1
            store.put(canonical[wanted], evaluate(asked)[wanted])
        return store.get(canonical)[0]

    return through
