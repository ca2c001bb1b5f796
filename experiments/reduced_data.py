"""Question: with how little of the training data can candidates be trained and still be ranked as
with all of it?

Random candidates inherit a supernet's weights and are trained by the run's own schedule (hybrid) on
shares of its images. Then a search with each share: its final front, its networks trained once more
on all the images of the comparison, against the front of the search that used them all.

Command: python experiments/reduced_data.py RUN   (a run of experiments/cifar10.py after
         `jaxnas predict`)
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
import tyro
from hybrid_finetuning import candidates, trainer

from jaxnas.algorithms import pareto
from jaxnas.algorithms.indicators import hypervolume
from jaxnas.algorithms.loop import search
from jaxnas.cli import told
from jaxnas.config import make_algorithm
from jaxnas.experiment import load_config
from jaxnas.predictors.metrics import summary
from jaxnas.progress import progress
from jaxnas.records.run_directory import RunDirectory
from jaxnas.report.claims import Claim, holds, publish
from jaxnas.stages.evaluation import evaluator, read_models
from jaxnas.stages.job import Job, open_job
from jaxnas.training.parallel import use_every_core

THIRD = 1 / 3
SPEED_UP = 1.65
KENDALL = 0.7
LOSS = 0.02

# Share and seed -> seconds of a generation, accuracy of each of its candidates.
Found = dict[tuple[float, int], tuple[float, np.ndarray]]


@dataclass(frozen=True)
class Settings:
    """What is measured."""

    run: tyro.conf.Positional[str]
    """A run whose supernet is trained and whose predictor is fitted."""
    base: float = 1.0
    """Share of the training images that counts as all of them."""
    shares: tuple[float, ...] = (1.0, 1 / 2, 1 / 3, 1 / 6)
    """Of the base."""
    candidates: int = 28
    generations: int = 10
    """Of the searches; 0: none."""


def evaluation(job: Job, share: float) -> Callable[[np.ndarray], np.ndarray]:
    """The run's own fitness, with a share of its images; nothing is trained twice."""
    search_settings = job.config.search
    config = replace(
        job.config,
        search=replace(search_settings, hybrid=replace(search_settings.hybrid, share=share)),
    )
    return evaluator(replace(job, config=config), read_models(job))[0]


def ranking(job: Job, settings: Settings) -> Found:
    """Compilation is not counted.

    All the images are trained on by two seeds, whose agreement is a yardstick for the others.

    A seed decides which images a share holds, and their order.
    """
    genomes = candidates(job, 0, settings.candidates)
    found = {}
    with progress("shares", len(settings.shares) + 1) as advance:
        for share in settings.shares:
            train = trainer(
                job,
                replace(job.config.search.hybrid, share=settings.base * share),
                settings.candidates,
            )
            for seed in (0, 1) if share == 1 else (0,):
                found[share, seed] = train(genomes, seed)
                advance(latest=f"{share:.2f} of the images: {found[share, seed][0]:.3g} s")
    return found


def front_of_a_search(job: Job, settings: Settings, share: float) -> np.ndarray:
    """Genomes of the final front of a search whose candidates are trained on this share."""
    evaluate = evaluation(job, settings.base * share)
    algorithm = make_algorithm(job.config.search)
    with progress(f"search with {share:.2f}", settings.generations) as advance:
        archive = search(
            algorithm,
            job.space,
            job.key("search"),
            evaluate,
            settings.generations,
            on_generation=lambda generation, archive: advance(),
        )
    return archive.genomes[np.asarray(pareto.front(jnp.asarray(archive.fitness)))]


def judged(job: Job, settings: Settings, genomes: np.ndarray) -> np.ndarray:
    """Fitness of the genomes, each trained on all the images of the comparison."""
    evaluate = evaluation(job, settings.base)
    size = job.config.search.population
    rows = np.resize(np.arange(len(genomes)), -(-len(genomes) // size) * size).reshape(-1, size)
    return np.concatenate([evaluate(genomes[some]) for some in rows])[: len(genomes)]


def fronts(job: Job, settings: Settings) -> tuple[float, float]:
    """Hypervolume of the final front with all images, and with a third of them.

    As all of them judge it.
    """
    fitness = [
        judged(job, settings, front_of_a_search(job, settings, share)) for share in (1.0, THIRD)
    ]
    reference = jnp.asarray(np.concatenate(fitness).max(0) * np.float32(1.01))
    with_all, with_a_third = (float(hypervolume(jnp.asarray(one), reference)) for one in fitness)
    return with_all, with_a_third


def claims(found: Found, volumes: tuple[float, float] | None) -> list[Claim]:
    """What the paper says of a third of the data, and what was found."""
    ratio = found[1.0, 0][0] / found[THIRD, 0][0]
    tau = summary(found[1.0, 0][1], found[THIRD, 0][1])["kendall"]
    told = [
        Claim(
            "time of a generation, all the data over a third",
            "1.65",
            f"{ratio:.2f}",
            holds(ratio >= SPEED_UP),
        ),
        Claim(
            "ranking, Kendall's tau with that of all the data",
            "no harm",
            f"{tau:.2f}",
            holds(tau >= KENDALL),
        ),
    ]
    if volumes is not None:
        loss = 1 - volumes[1] / volumes[0]
        told.append(
            Claim("final front's hypervolume lost", "no harm", f"{loss:+.1%}", holds(loss <= LOSS))
        )
    return told


def main() -> int:
    """Prints shares and claims, and leaves the claims in the run; 1 if one does not hold."""
    settings = tyro.cli(Settings, description=__doc__)
    use_every_core()
    with RunDirectory(settings.run) as run:
        job = open_job(run, load_config(settings.run))
        found = ranking(job, settings)
        print(
            "| share | seed | seconds of a generation | accuracy, mean | Kendall's tau | Spearman "
            "|\n"
            "|---|---|---|---|---|---|"
        )
        for (share, seed), (seconds, accuracies) in found.items():
            same = summary(found[1.0, 0][1], accuracies)
            print(
                f"| {share:.2f} | {seed} | {seconds:.3g} | {accuracies.mean():.2%} | "
                f"{same['kendall']:.2f} | {same['spearman']:.2f} |"
            )
        told = claims(found, fronts(job, settings) if settings.generations else None)
        hybrid = job.config.search.hybrid
        setup = (
            f"{settings.candidates} candidates of {job.space.name} trained for {hybrid.epochs} + "
            f"{hybrid.head_epochs} epochs, all the data being "
            f"{round(settings.base * len(job.data.train)):,} images of {job.data.name}; "
            f"{settings.generations} generations"
        )
        return publish(run, "reduced_data", told, setup)


if __name__ == "__main__":
    sys.exit(told(main))
