"""Search error against predicted latency, and sample as many networks at random for comparison."""

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.config import SearchConfig, make_algorithm, make_device
from jaxnas.data.dataset import Split
from jaxnas.errors import UserError
from jaxnas.hardware.npu import Modelled
from jaxnas.objectives import Evidence, classification_error, fitness, modelled_latency, predicted_latency
from jaxnas.predictors import mlp
from jaxnas.predictors.features import gene_values
from jaxnas.profiling import covering_sample
from jaxnas.progress import progress
from jaxnas.search.loop import Archive, search
from jaxnas.spaces.space import Space
from jaxnas.stages.job import Job, reading, space_settings
from jaxnas.stages.predict import read_predictor
from jaxnas.store import Store, digest, source_digest
from jaxnas.supernets.supernet import Params
from jaxnas.training.parallel import all_devices, on_each

OBJECTIVES = ("error", "latency_ms")
ERROR_CODE = ("spaces", "supernets", "training", "data", "objectives.py", "workload.py")  # what decides the error of a genome


def run_search(job: Job) -> bool:
    """Write candidates.npz and random.npz, generation by generation; False if both are complete."""
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


def search_split(job: Job) -> Split:
    """The images that candidates are evaluated on: the first of the search split, which hold the classes in proportion."""
    n = job.config.search.images
    return Split(job.data.search.images[:n], job.data.search.labels[:n])


def read_archive(job: Job, file: str) -> Archive:
    """What a search has evaluated so far."""
    with reading(job.run, file):
        arrays = job.run.read_npz(file)
        archive = Archive(**{name: arrays[name] for name in Archive._fields})
        n, genes = len(archive.genomes), len(job.space.genes)
        shapes = [array.shape for array in archive]
        if shapes != [(n, genes), (n, len(OBJECTIVES)), (n,), (n, 2)] or not (archive.genomes < job.space.sizes).all():
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
            job.run.write_npz(file, **archive._asdict(), seed=np.int64(job.config.seed), objectives=np.array(OBJECTIVES))
            advance(settings.population, best_error=float(np.nanmin(archive.fitness[:, 0])))

        search(algorithm, job.space, job.key(purpose), evaluate, settings.generations, recorded, save)


def evaluator(job: Job, predictor: mlp.LatencyMLP) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    """What a search of this run minimises, genomes to `OBJECTIVES`, and a digest of all that decides it but the genome.

    The error of a network, which takes the time, is evaluated once for all runs with these weights and images.
    """
    params, split = job.params(), search_split(job)
    mesh = all_devices()
    examples = [job.examples(split, size) for size in job.space.resolutions]
    evidence = [on_each(mesh, Evidence(params, predictor, jnp.int32(i), some)) for i, some in enumerate(examples)]
    context = _error_context(job, params, split)
    evaluate_error = fitness(job.space, (classification_error(job.net, mesh, int8=job.config.export.precision == "int8"),), evidence, mesh)
    error = stored(Store(context, len(job.space.genes), 1), job.space, evaluate_error)
    device = make_device(job.config.profile)
    said = modelled_latency(job.space, device.model) if isinstance(device, Modelled) else predicted_latency(job.space)
    latency = fitness(job.space, (said,), evidence)
    return lambda genomes: np.concatenate([error(genomes), latency(genomes)], axis=1), digest(
        [context, device.name, mlp.to_arrays(predictor)]
    )


def _error_context(job: Job, params: Params, split: Split) -> str:
    """A digest of the weights, images, code and kind of machine that give errors."""
    data, device = job.data, jax.devices()[0]
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
