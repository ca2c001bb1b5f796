"""Question: how much time does hybrid fine-tuning save, and what does it cost in accuracy?

Random candidates inherit the weights of a supernet that was trained on other images, and are
trained on a share of the run's own: `full`, the whole network for all epochs; `hybrid`, the whole
network for one epoch, then the classifier alone on features that are computed once. Every figure is
of the same candidates, images and cores; time includes the features and the evaluation.

Command: python experiments/hybrid_finetuning.py RUN   (a run of experiments/cifar10.py after
         `jaxnas train`)
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jaxnas.cli import told
from jaxnas.experiment import load_config
from jaxnas.progress import progress
from jaxnas.records.run_directory import RunDirectory
from jaxnas.report.claims import Claim, holds, publish
from jaxnas.stages.evaluation import search_split
from jaxnas.stages.job import Job, open_job
from jaxnas.training.parallel import all_devices, on_each, use_every_core
from jaxnas.training.population import HybridConfig, tuned_accuracies
from jaxnas.training.views import on_device

EPOCHS = 6  # at which the paper compares
SPEED_UP = 4.0


@dataclass(frozen=True)
class Settings:
    """What is measured."""

    run: tyro.conf.Positional[str]
    """A run whose supernet is trained."""
    seeds: int = 5
    candidates: int = 10
    share: float = 1 / 3
    """Of the training images."""
    full: tuple[int, ...] = (1, 2, 3, 6, 10, 20)
    """Epochs of the whole network."""
    hybrid: tuple[int, ...] = (3, 6, 10, 20)
    """Epochs, of which one of the whole network."""


def trainer(
    job: Job, settings: HybridConfig, count: int
) -> Callable[[np.ndarray, int], tuple[float, np.ndarray]]:
    """So many genomes of the largest resolution and a seed to seconds.

    And accuracies after this training: one program, compiled here.
    """
    mesh = all_devices()
    augmentation = job.augmentation
    examples = job.examples(search_split(job), job.space.resolutions[-1])
    params, images, examples = on_each(mesh, (job.params(), on_device(job.data), examples))

    @jax.jit
    def program(params, genomes, images, examples, key):
        live = jnp.ones(len(genomes), bool)
        return tuned_accuracies(
            job.net, params, genomes, live, images, examples, settings, augmentation, key, mesh=mesh
        )

    def run(genomes: np.ndarray, seed: int) -> tuple[float, np.ndarray]:
        start = perf_counter()
        accuracies = np.asarray(
            program(params, jnp.asarray(genomes), images, examples, jax.random.key(seed))
        )
        return perf_counter() - start, accuracies

    run(np.zeros((count, len(job.space.genes)), np.int32), 0)
    return run


def candidates(job: Job, seed: int, count: int) -> np.ndarray:
    """Random genomes of the largest resolution."""
    genomes = np.array(job.space.sample(jax.random.fold_in(jax.random.key(seed), 1), count))
    genomes = job.space.at_resolution(genomes, len(job.space.resolutions) - 1)
    return genomes


def measure(job: Job, settings: Settings) -> dict[tuple[str, int], tuple[np.ndarray, np.ndarray]]:
    """{(schedule, epochs): seconds per candidate of each seed, accuracies (seeds, candidates)}.

    Compilation is not counted.
    """
    plans = {("full", epochs): HybridConfig(epochs, 0, settings.share) for epochs in settings.full}
    plans |= {
        ("hybrid", epochs): HybridConfig(1, epochs - 1, settings.share)
        for epochs in settings.hybrid
    }
    found = {}
    with progress("schedules", len(plans) * (settings.seeds + 1)) as advance:
        for plan, hybrid in plans.items():
            run = trainer(job, hybrid, settings.candidates)
            seconds = []
            accuracies = []
            advance(latest=f"{plan[0]} {plan[1]}: compiled")
            for seed in range(settings.seeds):
                taken, found_by = run(candidates(job, seed, settings.candidates), seed)
                accuracies.append(found_by)
                seconds.append(taken / settings.candidates)
                advance(
                    latest=(
                        f"{plan[0]} {plan[1]}: {np.mean(accuracies[-1]):.1%} in {seconds[-1]:.3g} s"
                    )
                )
            found[plan] = np.array(seconds), np.array(accuracies)
    return found


def claims(found: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]]) -> list[Claim]:
    """What the paper says of hybrid fine-tuning, and what was found."""
    (full_s, full) = found["full", EPOCHS]
    (hybrid_s, hybrid) = found["hybrid", EPOCHS]
    ratio = float(np.median(full_s / hybrid_s))
    difference = 100 * (hybrid.mean(1) - full.mean(1))
    curve = np.array(
        [
            [np.median(seconds), accuracies.mean()]
            for (name, _), (seconds, accuracies) in found.items()
            if name == "full"
        ]
    )
    curve = curve[np.argsort(curve[:, 0])]
    beside = np.interp(np.median(hybrid_s), *curve.T)
    gain = 100 * (hybrid.mean() - beside)
    return [
        Claim(
            f"time of {EPOCHS} epochs, full over hybrid",
            "4",
            f"{ratio:.2f}",
            holds(ratio >= SPEED_UP),
        ),
        Claim(
            f"accuracy after {EPOCHS} epochs, hybrid less full",
            "equal",
            (
                f"{difference.mean():+.2f} points (seeds: {difference.min():+.2f} to "
                f"{difference.max():+.2f})"
            ),
            holds(float(difference.mean()) >= -0.5),
        ),
        Claim(
            "accuracy at the same wall time, hybrid less full",
            "not given",
            (
                f"{gain:+.2f} points ({hybrid.mean():.1%} and {beside:.1%} at "
                f"{np.median(hybrid_s):.3g} s)"
            ),
            "wins" if gain > 0 else "loses",
        ),
    ]


def main() -> int:
    """Prints the curve and the claims, and leaves the claims in the run; 1 if one does not hold."""
    settings = tyro.cli(Settings, description=__doc__)
    use_every_core()
    with RunDirectory(settings.run) as run:
        job = open_job(run, load_config(settings.run))
        found = measure(job, settings)
        print(
            "| schedule | epochs | seconds per candidate | accuracy, mean | of the seeds |\n"
            "|---|---|---|---|---|"
        )
        for (name, epochs), (seconds, accuracies) in found.items():
            means = accuracies.mean(1)
            print(
                f"| {name} | {epochs} | {np.median(seconds):.3g} | {means.mean():.2%} | "
                f"{means.min():.2%} to {means.max():.2%} |"
            )
        told = claims(found)
        setup = (
            f"{settings.seeds} seeds of {settings.candidates} candidates of {job.space.name}, "
            f"weights of {job.config.weights}, {job.data.name}, "
            f"{round(settings.share * len(job.data.train)):,} training images, "
            f"{len(search_split(job)):,} to evaluate"
        )
        return publish(run, "hybrid_finetuning", told, setup)


if __name__ == "__main__":
    sys.exit(told(main))
