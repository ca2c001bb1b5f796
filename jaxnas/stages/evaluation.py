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
from jaxnas.training.parallel import all_devices, on_each

OBJECTIVES = ("error", "latency_ms")
ERROR_CODE = ("spaces", "supernets", "training", "data", "objectives.py", "workload.py")  # what decides the error of a genome

Evaluate = Callable[[np.ndarray], np.ndarray]  # genomes to fitness, a column an objective


def evaluator(job: Job, predictor: mlp.LatencyMLP) -> tuple[Evaluate, str]:
    """What a search of this run minimises, genomes to `OBJECTIVES`, and a digest of all that decides it but the genome."""
    error, context = error_evaluator(job)
    device = make_device(job.config.profile)
    said = modelled_latency(job.space, device.model) if isinstance(device, Modelled) else predicted_latency(job.space)
    latency = fitness(job.space, (said,), _evidence(job, predictor))
    facts = digest([context, device.name, mlp.to_arrays(predictor)])
    return lambda genomes: np.concatenate([error(genomes), latency(genomes)], axis=1), facts


def error_evaluator(job: Job) -> tuple[Evaluate, str]:
    """The share of the search images that each network gets wrong, (n, 1), and a digest of all that decides it but the genome.

    It takes the time of a search, so it is evaluated once for all runs with these weights and images.
    """
    mesh, context = all_devices(), _error_context(job)
    evidence = [on_each(mesh, one) for one in _evidence(job, None)]
    evaluate = fitness(job.space, (classification_error(job.net, mesh, int8=job.config.export.precision == "int8"),), evidence, mesh)
    return stored(Store(context, len(job.space.genes), 1), job.space, evaluate), context


def _evidence(job: Job, predictor: mlp.LatencyMLP | None) -> list[Evidence]:
    params, split = job.params(), search_split(job)
    return [Evidence(params, predictor, jnp.int32(i), job.examples(split, size)) for i, size in enumerate(job.space.resolutions)]


def search_split(job: Job) -> Split:
    """The images that candidates are evaluated on: the first of the search split, which hold the classes in proportion."""
    n = job.config.search.images
    return Split(job.data.search.images[:n], job.data.search.labels[:n])


def _error_context(job: Job) -> str:
    """A digest of the weights, images, code and kind of machine that give errors."""
    data, split, device = job.data, search_split(job), jax.devices()[0]
    facts = {
        "objective": ["error", job.config.export.precision],
        "space": {"genes": repr(job.space.genes), "structure": repr(space_settings(job.space))},
        "weights": job.params(),
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
