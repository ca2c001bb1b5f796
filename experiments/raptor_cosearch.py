"""Question: does a search of networks and the memory of their chip together beat one at the
published memory, and one that chooses the memory afterwards?

Digits at 16 pixels, 1,024 networks on the simulated TinyRAPTOR with one of eight memories
(raptor_cosearch.toml, raptor_memories.toml): 8,192 pairs. Error, latency and local memory are
minimised. The second command has the run's supernet evaluate every network, so that the true front
of the pairs is known, and compares searches of as many evaluations, 20 seeds each. Regret is the
share of the true front's hypervolume that a search leaves uncovered, objectives scaled by their
range over all pairs, reference 1.0. A chip's model costs nothing beside a network's evaluation, so
the last two rows put each network found on every memory.

Command: jaxnas run experiments/raptor_cosearch.py
Command: python experiments/raptor_cosearch.py runs/raptor_cosearch
Time: 7 and 4 minutes on one core of two shared ones.
Result: the first yes, in every seed; the second no: choosing the memory afterwards is as good.
"""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array, Float, Int

from jaxnas.algorithms import pareto
from jaxnas.algorithms.algorithm import Algorithm
from jaxnas.algorithms.compiled import search_many
from jaxnas.algorithms.indicators import hypervolume
from jaxnas.algorithms.nsga2 import NSGA2
from jaxnas.algorithms.random_search import RandomSearch
from jaxnas.cli import told
from jaxnas.config import Config, DataConfig, ProfileConfig, SearchConfig, load_chip
from jaxnas.experiment import load_config
from jaxnas.hardware.elastic_chip import chip_of
from jaxnas.progress import progress
from jaxnas.records.run_directory import RunDirectory
from jaxnas.spaces.joint import alone
from jaxnas.spaces.space import Space
from jaxnas.stages.evaluation import error_evaluator, in_batches, search_split
from jaxnas.stages.job import Job, open_job
from jaxnas.training.finetune import FinetuneConfig
from jaxnas.training.method import TrainConfig
from jaxnas.types import Fitness, Genomes

PUBLISHED = 10_240  # bytes: the deduced memory of TinyRAPTOR, scaled to 16 pixels
POPULATION = 20
GENERATIONS = 8
COVERED = jax.jit(partial(hypervolume, reference=jnp.ones(3)))

config = Config(
    name="raptor_cosearch",
    space=str(Path(__file__).with_suffix(".toml")),
    data=DataConfig(source="digits", search_images=400),
    train=TrainConfig(epochs=30, batch_size=64, random_subnets=2, checkpoint_every=100),
    profile=ProfileConfig(
        device=str(Path(__file__).with_name("raptor_memories.toml")),
        train=100,
        validation=30,
        test=30,
        rounds=1,
    ),
    search=SearchConfig(
        population=20, generations=10, objectives=("error", "latency_ms", "chip_kib")
    ),
    finetune=FinetuneConfig(epochs=5),
)


@dataclass(frozen=True)
class Settings:
    """What to compare."""

    run: Annotated[str, tyro.conf.Positional]
    """The directory of a run of this file."""
    seeds: int = 20


class Table(NamedTuple):
    """Error, latency and memory of every pair, by its choices, a choice of the memory last."""

    fitness: Float[Array, "*choices 3"]


def every_pair(job: Job) -> Table:
    """Errors by the run's supernet, on the images of its search; exact latencies."""
    sizes = job.space.sizes.tolist()
    networks = np.indices(sizes[:-1]).reshape(len(sizes) - 1, -1).T
    first = np.pad(networks, ((0, 0), (0, 1))).astype(np.int32)  # any chip has the same error
    error, _ = error_evaluator(job, search_split(job))
    size = job.config.search.population
    with progress("evaluate every network", len(first)) as advance:

        def batch(genomes: np.ndarray) -> np.ndarray:
            found = error(genomes)
            advance(len(genomes))
            return found

        errors = in_batches(batch, first, size)
    model = load_chip(job.config.profile.device)
    pairs = jnp.asarray(np.indices(sizes).reshape(len(sizes), -1).T, jnp.int32)
    latency_ms = jax.jit(
        jax.vmap(lambda pair: chip_of(model, job.space, pair)(job.space.layers(pair)).latency_ms)
    )(pairs)
    memories = jnp.asarray(job.space.genes[-1].choices, jnp.float32)
    columns = (
        jnp.repeat(jnp.asarray(errors, jnp.float32), len(memories)),
        latency_ms,
        jnp.tile(memories / 1024, len(networks)),
    )
    return Table(jnp.stack(columns, axis=-1).reshape(*sizes, 3))


def of_pairs(genomes: Genomes, table: Table) -> Fitness:
    """Error, latency and memory of pairs."""
    return table.fitness[tuple(genomes.T)]


def of_networks(genomes: Genomes, table: Table) -> Fitness:
    """Error and latency of networks on a chip whose memory is fixed; `table` holds that one."""
    return table.fitness[tuple(genomes.T)][:, :2]


def on_every_memory(table: Table, networks: Int[np.ndarray, "n genes"]) -> Float[np.ndarray, "m 3"]:
    """The figures of networks, each with each memory."""
    return np.asarray(table.fitness[tuple(networks.T)]).reshape(-1, 3)


def searches(
    table: Table, space: Space, published: int, seeds: int
) -> dict[str, list[Float[np.ndarray, "n 3"]]]:
    """The figures of all pairs that each kind of search has evaluated, one entry a seed."""
    keys = jax.random.split(jax.random.key(0), seeds)
    fixed = Table(table.fitness[..., published, :])
    budget = POPULATION

    def genomes(algorithm: Algorithm, where: Space, fitness, data: Table) -> np.ndarray:
        return np.asarray(search_many(algorithm, where, keys, fitness, GENERATIONS, data).genomes)

    network = genomes(NSGA2(budget), alone(space), of_networks, fixed)
    pair = genomes(NSGA2(budget, objectives=3), space, of_pairs, table)
    random = genomes(RandomSearch(budget), space, of_pairs, table)
    return {
        "published memory": [np.asarray(fixed.fitness[tuple(one.T)]) for one in network],
        "together": [np.asarray(table.fitness[tuple(one.T)]) for one in pair],
        "together, at random": [np.asarray(table.fitness[tuple(one.T)]) for one in random],
        "published memory, then every memory": [on_every_memory(table, one) for one in network],
        "together, then every memory": [on_every_memory(table, one[:, :-1]) for one in pair],
    }


def main() -> int:
    """Prints a line for each kind of search, and the true front's memories."""
    settings = tyro.cli(Settings, description=__doc__)
    with RunDirectory(settings.run) as run:
        job = open_job(run, load_config(settings.run))
        table = every_pair(job)
        figures = table.fitness.reshape(-1, 3)
        low = figures.min(axis=0)
        high = figures.max(axis=0)
        whole = COVERED((figures - low) / (high - low))
        front = np.asarray(figures)[np.asarray(jax.jit(pareto.front)(figures))]
        print(f"{len(figures):,} pairs, {len(np.unique(front, axis=0))} points on their front")
        for kib in np.unique(front[:, 2]):
            some = front[front[:, 2] == kib]
            print(
                f"  {kib:4.0f} KiB: {len(np.unique(some, axis=0)):3} points, error "
                f"{some[:, 0].min():.1%} to {some[:, 0].max():.1%}, {some[:, 1].min():.3f} to "
                f"{some[:, 1].max():.3f} ms"
            )
        published = job.space.genes[-1].choices.index(PUBLISHED)
        print(f"{settings.seeds} seeds, {POPULATION * GENERATIONS} evaluations each")
        regrets = {
            name: np.array([1 - COVERED((one - low) / (high - low)) / whole for one in seeds])
            for name, seeds in searches(table, job.space, published, settings.seeds).items()
        }
        for name, regret in regrets.items():
            closer = (regrets["together"] < regret).sum()
            print(
                f"  {name:36} regret {regret.mean():.4f} ({np.quantile(regret, 0.1):.4f}-"
                f"{np.quantile(regret, 0.9):.4f}); together is closer in {closer} seeds"
            )
    return 0


if __name__ == "__main__":
    sys.exit(told(main))
