"""`jaxnas prune RUN`: a smaller space, without choices that the front of a run's search lacks.

What is left is a folder: the space, the supernet's share of the weights, and the front's networks.
Another run names them as its space, its weights and its first candidates.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
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
FILE = trained.FILES[0]


class Evaluated(NamedTuple):
    """Networks and their fitness; `names` are those of the columns."""

    names: tuple[str, ...]
    genomes: Int[np.ndarray, "n genes"]
    fitness: Float[np.ndarray, "n objectives"]


class Front(NamedTuple):
    """Networks that are left, as genomes of both spaces."""

    names: tuple[str, ...]
    genomes: Int[np.ndarray, "n genes"]
    fitness: Float[np.ndarray, "n objectives"]
    moved: Int[np.ndarray, "n genes"]  # in the smaller space


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
    evaluated = _evaluated(job)
    found = without_least_used(job.space, evaluated.genomes, evaluated.fitness, share)
    choices = kept_choices(job.space, found.kept)
    small = prune(job.space, choices)
    params = jax.device_get(job.params())
    own = pruned_params(params, alone(small))
    front = _front(job.space, small, evaluated)
    members = _members(job, params, front)
    about = (job.data.class_names, job.prepared)
    made.write_text(SPACE, _described(config, choices).text())
    made.write_bytes(FILE, networks.to_bytes(build(alone(small)), own, *about, members))
    made.write_json(NETWORKS, _networks(small, front))
    made.write_npz(FRONT, genomes=front.moved, fitness=front.fitness)
    for line in _lost(job.space, small, choices):
        print(line)
    print(
        f"{job.space.size():,} networks -> {small.size():,}, {_weights(params):,} weights -> "
        f"{_weights(own):,}; {found.hypervolume:.2%} of the hypervolume of "
        f"{len(evaluated.genomes)} candidates, {len(front.moved)} networks on its front"
    )
    print(
        f"search it: jaxnas run {path} --space {folder}/{SPACE} --weights {folder}/{FILE} "
        f"--train.epochs 0 --search.initial {folder}/{FRONT} --out NEW"
    )


def _made(folder: str) -> RunDirectory:
    """The folder to write into; refuses one that holds anything else."""
    made = RunDirectory(folder)
    if made.root.exists() and not made.root.is_dir():
        raise UserError(f"{folder} is no folder: use another --out")
    if made.root.is_dir() and any(made.root.iterdir()) and not made.exists(SPACE):
        raise UserError(f"{folder} is not empty and holds no pruned space: use another --out")
    return made


def _evaluated(job: Job) -> Evaluated:
    """All candidates of the search and of random sampling beside it, each network once."""
    names = job.config.search.objectives
    both = [read_searched(job.run, file, job.space, names) for file in (CANDIDATES, RANDOM)]
    genomes = np.concatenate([one.archive.genomes for one in both])
    fitness = np.concatenate([one.counted.fitness for one in both])
    rows = first_rows(job.space, genomes)
    return Evaluated(names, np.asarray(job.space.canonical(genomes))[rows], fitness[rows])


def _front(space: Space, small: Space, evaluated: Evaluated) -> Front:
    """That of the networks left, the least error first."""
    moved = to_pruned(space, small, evaluated.genomes)
    gone = (moved < 0).any(axis=1, keepdims=True)
    inside = np.where(gone, np.nan, evaluated.fitness)
    rows = pareto.front_rows(inside)
    error = inside[rows, evaluated.names.index("error")]
    rows = rows[np.argsort(error, kind="stable")]
    return Front(evaluated.names, evaluated.genomes[rows], inside[rows], moved[rows])


def _members(job: Job, params: Params, front: Front) -> dict[str, tuple[np.ndarray, Arrays]]:
    """The front's networks as a file of networks has them, numbered by their errors."""
    stats = (jax.device_get(job.inherited(params, genome).stats) for genome in front.genomes)
    own = of_network(job.space, front.moved)
    return {str(i): one for i, one in enumerate(zip(own, stats, strict=True))}


def _networks(space: Space, front: Front) -> list[dict[str, Any]]:
    return [
        {
            "genome": to_text(genome),
            "network": space.decode(genome),
            **dict(zip(front.names, figures, strict=True)),
        }
        for genome, figures in zip(front.moved, front.fitness.tolist(), strict=True)
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


def _lost(space: Space, small: Space, choices: dict[str, tuple[int, ...]]) -> list[str]:
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
