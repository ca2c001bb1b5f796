"""`jaxnas prune RUN`: a smaller space, without choices that the front of a run's search lacks.

What is left is a folder: the space, the supernet's share of the weights, and the front's networks.
Another run names them as its space, its weights and its first candidates.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxnas.algorithms import pareto
from jaxnas.algorithms.pruning import without_least_used
from jaxnas.config import Config
from jaxnas.errors import UserError
from jaxnas.networks.subnet import Arrays
from jaxnas.records.candidates import CANDIDATES, RANDOM, read_searched
from jaxnas.records.files import OF_LATENCY
from jaxnas.records.reading import require_earlier
from jaxnas.records.run_directory import RunDirectory
from jaxnas.spaces import pruned_file
from jaxnas.spaces.genomes import first_rows, to_text
from jaxnas.spaces.joint import alone, of_network
from jaxnas.spaces.pruned import kept_choices, prune, to_pruned
from jaxnas.spaces.pruned_file import PrunedFile
from jaxnas.spaces.space import Space
from jaxnas.stages.job import Job, open_job
from jaxnas.stages.settings import read_config
from jaxnas.supernets.build import build
from jaxnas.supernets.pruned import pruned_params
from jaxnas.supernets.supernet import Params
from jaxnas.weights import networks, trained

SPACE = "pruned.json"
NETWORKS = "networks.json"  # for people
FRONT = "front.npz"  # the same for search.initial


def run_prune(path: str, share: float, out: str | None) -> None:
    """Write the pruned space, its weights and its front, and say what is left of what.

    Raises:
        UserError: the run has not searched to the end, or its space cannot be made so small.
    """
    folder = out or os.path.join(path, "pruned")
    made = _made(folder)
    config = read_config(Path(path))
    run = RunDirectory(path)
    require_earlier(run, "finetune", "prune", () if config.predicts else OF_LATENCY)
    job = open_job(run, config)
    names, genomes, fitness = _evaluated(job)
    space = job.space
    found = without_least_used(space, genomes, fitness, share)
    choices = kept_choices(space, found.kept)
    small = prune(space, choices)
    params = jax.device_get(job.params())
    own = pruned_params(params, alone(small))
    rows, moved = _front(space, small, genomes, fitness)
    rows = rows[np.argsort(fitness[rows, names.index("error")], kind="stable")]
    members = _members(job, params, moved[rows], genomes[rows])
    about = (job.data.class_names, job.prepared)
    weights = networks.to_bytes(build(alone(small)), own, *about, members)
    made.write_text(SPACE, _described(config, choices).text())
    made.write_bytes(trained.FILES[0], weights)
    made.write_json(NETWORKS, _networks(small, moved[rows], fitness[rows], names))
    made.write_npz(FRONT, genomes=moved[rows], fitness=fitness[rows])
    print("\n".join(_said(space, small, choices)))
    print(
        f"{space.size():,} networks -> {small.size():,} ({small.size() / space.size():.1%}), "
        f"{_weights(params):,} weights -> {_weights(own):,}; {found.hypervolume:.2%} of the "
        f"hypervolume of {len(genomes)} candidates, {len(rows)} networks on its front"
    )
    print(
        f"search it: jaxnas run {path} --space {folder}/{SPACE} --weights "
        f"{folder}/{trained.FILES[0]} --train.epochs 0 --out NEW"
    )


def _made(folder: str) -> RunDirectory:
    """The folder to write into; refuses one that holds anything else."""
    made = RunDirectory(folder)
    if made.root.exists() and not made.root.is_dir():
        raise UserError(f"{folder} is no folder: use another --out")
    if made.root.is_dir() and any(made.root.iterdir()) and not made.exists(SPACE):
        raise UserError(f"{folder} is not empty and holds no pruned space: use another --out")
    return made


def _evaluated(
    job: Job,
) -> tuple[list[str], Int[np.ndarray, "n genes"], Float[np.ndarray, "n objectives"]]:
    """Names of objectives, and all candidates of the search and of random sampling beside it."""
    objectives = job.config.search.objectives
    both = [read_searched(job.run, file, job.space, objectives) for file in (CANDIDATES, RANDOM)]
    genomes = np.concatenate([one.archive.genomes for one in both])
    fitness = np.concatenate([one.counted.fitness for one in both])
    rows = first_rows(job.space, genomes)
    return list(objectives), np.asarray(job.space.canonical(genomes))[rows], fitness[rows]


def _front(
    space: Space,
    small: Space,
    genomes: Int[np.ndarray, "n genes"],
    fitness: Float[np.ndarray, "n objectives"],
) -> tuple[Int[np.ndarray, "front"], Int[np.ndarray, "n genes"]]:
    """The rows of the front of what is left, and all genomes as they are in the smaller space."""
    moved = to_pruned(space, small, genomes)
    inside = np.where((moved < 0).any(axis=1, keepdims=True), np.nan, fitness)
    return np.flatnonzero(np.asarray(pareto.front(jnp.asarray(inside)))), moved


def _members(
    job: Job,
    params: Params,
    moved: Int[np.ndarray, "n genes"],
    genomes: Int[np.ndarray, "n genes"],
) -> dict[str, tuple[np.ndarray, Arrays]]:
    """The front's networks as a file of networks has them, numbered by their errors."""
    stats = (jax.device_get(job.inherited(params, genome).stats) for genome in genomes)
    own = of_network(job.space, moved)
    return {str(i): one for i, one in enumerate(zip(own, stats, strict=True))}


def _networks(
    space: Space,
    genomes: Int[np.ndarray, "n genes"],
    fitness: Float[np.ndarray, "n objectives"],
    names: Sequence[str],
) -> list[dict[str, Any]]:
    return [
        {
            "genome": to_text(genome),
            "network": space.decode(genome),
            **dict(zip(names, figures, strict=True)),
        }
        for genome, figures in zip(genomes, fitness.tolist(), strict=True)
    ]


def _described(config: Config, choices: dict[str, tuple[int, ...]]) -> PrunedFile:
    """The whole space, where it lies, and what is left of it; of a pruned one what it is of."""
    if config.space.endswith(".json"):
        before = pruned_file.read(config.space)
        return PrunedFile(before.space, {**before.choices, **choices})
    file, colon, name = config.space.rpartition(":")
    if config.space.endswith(".toml"):
        return PrunedFile(os.path.abspath(config.space), choices)
    if file.endswith(".py"):
        return PrunedFile(f"{os.path.abspath(file)}{colon}{name}", choices)
    return PrunedFile(config.space, choices)


def _said(space: Space, small: Space, choices: dict[str, tuple[int, ...]]) -> list[str]:
    """A line for each gene that has lost choices."""
    before = {gene.name: gene for gene in space.genes}
    lines = []
    for gene in small.genes:
        if gene.name in choices:
            gone = [value for value in before[gene.name].choices if value not in gene.choices]
            lines.append(f"{gene.name}: {_values(gene.choices)}, without {_values(gone)}")
    return lines


def _values(values: Sequence[int]) -> str:
    return " ".join(map(str, values)) or "none"


def _weights(params: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))
