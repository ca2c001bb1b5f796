"""Question: do the networks of a run's final front dominate hand-designed ones, more accurate and
faster?

The networks that a run has chosen and hand-designed CIFAR networks (by default the six of at most
70 million multiply-adds), all trained from scratch by one recipe, the run's `finetune` for
`--epochs`, and measured on the run's device. The accuracy of the chosen ones with the weights that
the search left them stands beside; the figure goes into the run's baselines.svg. Stopped, it goes
on.

Command: python experiments/baselines.py RUN   (a run of experiments/cifar10.py, cifar100.py or
         hailo8l.py after `jaxnas verify`)
"""

import sys
from dataclasses import dataclass, replace

import jax
import numpy as np
import tyro
from matplotlib.figure import Figure

from jaxnas.baselines.catalogue import BASELINES, init
from jaxnas.baselines.repvgg import reparameterised
from jaxnas.cli import told
from jaxnas.experiment import load_config
from jaxnas.export.onnx import emit
from jaxnas.hardware.device import ExportedModel
from jaxnas.networks.builder import at_size
from jaxnas.networks.costs import cost_table
from jaxnas.networks.subnet import Subnet
from jaxnas.profiling.rounds import measure_in_rounds
from jaxnas.progress import progress
from jaxnas.records.chosen import read_chosen
from jaxnas.records.run_directory import RunDirectory
from jaxnas.records.verified import read_verified
from jaxnas.report import plots
from jaxnas.report.claims import Claim, holds, publish
from jaxnas.stages.job import Job, open_job
from jaxnas.stages.measuring import open_device
from jaxnas.studies.baselines import Contestant, contest
from jaxnas.training.parallel import use_every_core

SMALL = (
    "resnet20",
    "resnet32",
    "mobilenetv2_x0_5",
    "mobilenetv2_x0_75",
    "shufflenetv2_x0_5",
    "shufflenetv2_x1_0",
)
FILE = "baselines.csv"
DOMINATED = 5 / 6
FAMILIES = ("resnet", "mobilenetv2", "shufflenetv2", "vgg", "repvgg")


@dataclass(frozen=True)
class Settings:
    """What is compared."""

    run: tyro.conf.Positional[str]
    """A run whose networks are verified."""
    names: tuple[str, ...] = SMALL
    pixels: int = 32
    """Size that images have for the hand-designed networks."""
    seeds: int = 3
    epochs: int = 0
    """Of training from scratch; 0: as many as the run's `finetune`."""
    images: int = 0
    """Training images, the first so many; 0: all of the run's."""


def contestants(
    job: Job, names: tuple[str, ...], pixels: int
) -> tuple[list[Contestant], list[Contestant]]:
    """The run's chosen networks, and the hand-designed ones for images of this size."""
    genomes = {chosen.name: chosen.genome for chosen in read_chosen(job.run, job.space)}
    ours = [
        Contestant(name, job.net.ops(genome), job.resolution(genome))
        for name, genome in genomes.items()
    ]
    return ours, [
        Contestant(name, at_size(BASELINES[name](job.data.classes), pixels), pixels)
        for name in names
    ]


def with_recipe(job: Job, settings: Settings) -> Job:
    """The run with the epochs and training images of the comparison."""
    finetune = job.config.finetune
    train = job.data.train
    recipe = replace(finetune, epochs=settings.epochs or finetune.epochs)
    return replace(
        job,
        config=replace(job.config, finetune=recipe),
        data=replace(job.data, train=train.first(settings.images or len(train))),
    )


def deployed(one: Contestant) -> Subnet:
    """The network that is measured, with fresh weights: a RepVGG without its branches."""
    subnet = init(jax.random.key(0), one.ops)
    return reparameterised(subnet) if one.name.startswith("repvgg") else subnet


def latencies(job: Job, networks: list[Contestant]) -> dict[str, float]:
    """Milliseconds on the run's device; weights do not matter."""
    device = open_device(job)
    found = {}
    with progress("measure", len(networks)) as advance:
        for one in networks:
            subnet = deployed(one)
            pixels = one.resolution
            model = emit(jax.device_get(subnet), pixels, pixels, job.data.channels)
            layers = cost_table(subnet.ops, pixels, pixels)
            exported = ExportedModel(model, np.zeros(0, np.int32), layers=layers)
            found[one.name] = measure_in_rounds(device, exported, job.config.profile).latency_ms
            advance(latency_ms=found[one.name])
    return found


def gains(job: Job) -> Claim:
    """What fine-tuning on all images brought the chosen networks, on the search images."""
    points = [
        100 * (chosen.finetuned_search_accuracy - chosen.search_accuracy)
        for chosen in read_chosen(job.run, job.space)
    ]
    what = f"points gained by {job.config.finetune.epochs} more epochs on all images"
    return Claim(
        what,
        "+4 to +6 (CIFAR-10), +12 to +14 (CIFAR-100)",
        f"{min(points):+.1f} to {max(points):+.1f}",
        holds(min(points) > 0),
    )


def dominating(
    one: Contestant,
    ours: list[Contestant],
    accuracy: dict[str, float],
    latency_ms: dict[str, float],
) -> list[str]:
    """Names of our networks that are more accurate and faster."""
    return [
        o.name
        for o in ours
        if accuracy[o.name] > accuracy[one.name] and latency_ms[o.name] < latency_ms[one.name]
    ]


def figure(
    names: list[str],
    ours: list[Contestant],
    accuracies: dict[str, np.ndarray],
    latency_ms: dict[str, float],
) -> Figure:
    """Accuracy against latency: a line for our networks, and one for each family of the others."""
    families = {"searched": [one.name for one in ours]}
    families |= {family: [name for name in names if name.startswith(family)] for family in FAMILIES}
    return plots.contest(
        {
            family: (
                np.array([latency_ms[name] for name in some]),
                np.stack([accuracies[name] for name in some]),
            )
            for family, some in families.items()
            if some
        }
    )


def main() -> int:
    """Prints the table and the claim, draws the figure, and leaves claim and figure in the run.

    1 if it does not hold.
    """
    settings = tyro.cli(Settings, description=__doc__)
    use_every_core()
    with RunDirectory(settings.run) as run:
        job = open_job(run, load_config(settings.run))
        ours, theirs = contestants(job, settings.names, settings.pixels)
        latency_ms = latencies(job, [*ours, *theirs])
        training = with_recipe(job, settings)
        trained = contest(training, [*ours, *theirs], settings.seeds, FILE)
        inherited = {name: f"{one.test_accuracy:.2%}" for name, one in read_verified(run).items()}
        mean = {name: float(found.mean()) for name, found in trained.items()}
        better = {one.name: dominating(one, ours, mean, latency_ms) for one in theirs}
        columns = (
            "network",
            "MMACs",
            "latency, ms",
            "accuracy from scratch",
            "of the seeds",
            "inherited",
            "dominated by",
        )
        print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
        for one in [*ours, *theirs]:
            name = one.name
            found = trained[name]
            figures = (
                f"{sum(op.macs for op in deployed(one).ops) / 1e6:.1f} | {latency_ms[name]:.3f} | "
                f"{mean[name]:.2%} | {found.min():.1%}-{found.max():.1%}"
            )
            print(
                f"| {name} | {figures} | {inherited.get(name, '')} | "
                f"{', '.join(better.get(name, []))} |"
            )
        run.write_text(
            "baselines.svg", plots.svg_file(figure(list(better), ours, trained, latency_ms))
        )
        count = sum(map(bool, better.values()))
        recipe = (
            f"{training.config.finetune.epochs} epochs of {len(training.data.train):,} images of "
            f"{job.data.name} from scratch"
        )
        setup = f"{recipe}, {settings.seeds} seeds; latency on {job.config.profile.device}"
        verdict = holds(count >= DOMINATED * len(better))
        dominated = Claim(
            "hand-designed networks dominated", "few", f"{count} of {len(better)}", verdict
        )
        return publish(run, "baselines", [dominated, gains(job)], setup)


if __name__ == "__main__":
    sys.exit(told(main))
