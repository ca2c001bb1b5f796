"""Question: do two of NAS-Bench-201's cells lose on analog memory what AnalogNAS-Bench says?

One cell a stage, 16 channels, CIFAR-10: the cell that AnalogNAS-Bench (arXiv 2506.18495) finds best
at every time, with three 3x3 convolutions, and the one of 1x1 convolutions alone. Each is trained
digitally, then fine-tuned with normal noise on its weights, 0.06 of a layer's largest. Both are
programmed into PCM 25 times and read a minute, an hour, a day and 30 days later, with the chip's
drift compensation and without. Beside: what the table has of five cells a stage, trained for 200
epochs each time. The test images are clean; the table's are cropped and flipped at random.

Command: python experiments/analog_cells.py train --cell best
Command: python experiments/analog_cells.py train --cell pointwise
Command: python experiments/analog_cells.py table

Reads the tables from the file that NB201_TABLES names, CIFAR-10 from ~/tensorflow_datasets. A
training that was stopped goes on; accuracies lie in runs/analog_cells.
Time: 50 minutes a cell on one core, at the 4.6 steps a second that a short training had, and twice
14 for evaluations of 2,000 images.
Result: first figures of the best cell are in README.md.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from nb201_analog import column

from jaxnas.baselines.catalogue import init
from jaxnas.cli import told
from jaxnas.config import DataConfig
from jaxnas.data.augment import Augmentation
from jaxnas.data.augment import normalise as normalised
from jaxnas.data.dataset import Dataset
from jaxnas.errors import UserError
from jaxnas.hardware.analog_chip import PCM, AnalogChip
from jaxnas.hardware.analog_layer import ChipMemory
from jaxnas.networks.subnet import Subnet
from jaxnas.numerics.analog import logits, program
from jaxnas.progress import progress
from jaxnas.records.run_directory import RunDirectory
from jaxnas.signals import Saving
from jaxnas.spaces.nasbench201 import from_string, index, nasbench201
from jaxnas.stages.job import load_data
from jaxnas.training.evaluate import accuracy
from jaxnas.training.finetune import FinetuneConfig, finetune_steps, init_state
from jaxnas.training.recalibrate import recalibrated
from jaxnas.training.views import on_device
from jaxnas.training.weight_noise import WeightNoise
from jaxnas.weights import checkpoints

CELLS = {
    "best": "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|"
    "+|skip_connect~0|nor_conv_3x3~1|none~2|",
    "pointwise": "|nor_conv_1x1~0|+|nor_conv_1x1~0|nor_conv_1x1~1|"
    "+|nor_conv_1x1~0|nor_conv_1x1~1|nor_conv_1x1~2|",
}
SPACE = nasbench201(32, 3, 10, cells=1, width=16)
NOISE = WeightNoise(deviation=(0.06,), clip_deviations=2.0)
TIMES = {"1 min": 60.0, "1 h": 3600.0, "1 day": 86_400.0, "30 days": 2_592_000.0}
CHIPS: dict[str, AnalogChip] = {
    "compensated": PCM,
    "not compensated": replace(PCM, compensation="none", name="pcm_uncompensated"),
}
PHASES = ("digital", "noise-aware")
COLUMNS = {
    "digital": "analog_noisy_drift_{:.0f}s_mean",
    "noise-aware": "analog_hwt_drift_{:.0f}s_mean",
}
TAKEN = 250  # test images at once


@dataclass(frozen=True)
class Settings:
    """What is done."""

    what: tyro.conf.Positional[Literal["train", "table"]]
    cell: Literal["best", "pointwise"] = "best"
    epochs: int = 24
    """Of the digital training."""
    tuning_epochs: int = 12
    """Of the noise-aware one."""
    programmings: int = 25
    images: int = 2000
    """Test images, the first of them; all are 10,000."""
    out: str = "runs/analog_cells"
    data: DataConfig = field(
        default_factory=lambda: DataConfig(
            source="tfds:cifar10",
            data_dir="~/tensorflow_datasets",
            augmentation=Augmentation(crop=4, flip=True),
        )
    )


def recipe(settings: Settings, phase: str) -> FinetuneConfig:
    """Of a phase."""
    digital = FinetuneConfig(
        epochs=settings.epochs,
        batch_size=128,
        learning_rate=0.1,
        weight_decay=5e-4,
        label_smoothing=0.0,
        warmup_epochs=1.0,
    )
    if phase == "digital":
        return digital
    return replace(
        digital, epochs=settings.tuning_epochs, learning_rate=0.02, warmup_epochs=0.0, noise=NOISE
    )


def trained(
    settings: Settings, phase: str, subnet: Subnet, data: Dataset, run: RunDirectory
) -> Subnet:
    """The network after a phase, from the phase's checkpoint on."""
    config = recipe(settings, phase)
    images = on_device(data)
    folder = run.path(f"{settings.cell}_{phase}")
    state = init_state(subnet, config, images.total)
    done = checkpoints.latest_step(folder) or 0
    if done:
        state = checkpoints.restore(folder, state)
    total = config.epochs * (images.total // config.batch_size)
    steps = finetune_steps(
        subnet,
        images,
        32,
        config,
        settings.data.augmentation,
        jax.random.key(PHASES.index(phase)),
        state,
        done,
    )
    with progress(f"{settings.cell}, {phase}", total, done) as advance, Saving(2.0) as saving:
        for step, state, loss in steps:
            advance(loss=loss)
            saving.after(step == total, partial(checkpoints.save, folder, step, state))
    return Subnet(subnet.ops, state.evaluated, {})


def analog_accuracies(
    chip: AnalogChip, subnet: Subnet, data: Dataset, settings: Settings
) -> Iterator[np.ndarray]:
    """Of each programming, accuracies at all times."""
    memory = ChipMemory(chip)
    some = data.test.first(settings.images)
    images = normalised(some.images, data.mean, data.deviation)
    labels = jnp.asarray(some.labels)
    calibration = normalised(data.calibration.images, data.mean, data.deviation)
    times = jnp.asarray(list(TIMES.values()), jnp.float32)
    parts = images.reshape(-1, TAKEN, *images.shape[1:])

    @jax.jit
    def of(key, subnet, calibration, parts, labels):
        network = program(memory, key, subnet, calibration, times)
        found = []
        for at in range(len(TIMES)):
            said = jax.lax.map(partial(logits, memory, network, at), parts)
            found.append((said.reshape(len(labels), -1).argmax(-1) == labels).mean())
        return jnp.stack(found)

    for number in range(settings.programmings):
        yield np.asarray(of(jax.random.key(number), subnet, calibration, parts, labels))


def train(settings: Settings) -> None:
    """Both phases of a cell, and what is left of its accuracy."""
    if settings.images % TAKEN:
        raise UserError(f"--images must be a multiple of {TAKEN}, got {settings.images}")
    data = load_data(settings.data, 0)
    run = RunDirectory(settings.out)
    ops = SPACE.ops(from_string(CELLS[settings.cell]))
    subnet = init(jax.random.key(0), ops)
    calibration = normalised(data.calibration.images, data.mean, data.deviation)
    test = normalised(data.test.images, data.mean, data.deviation)
    for phase in PHASES:
        subnet = trained(settings, phase, subnet, data, run)
        ready = recalibrated(subnet, calibration)
        exact = float(accuracy(ready, test, jnp.asarray(data.test.labels)))
        for name, chip in CHIPS.items():
            file = _file(settings.cell, phase, name)
            if run.exists(file):
                continue
            found = []
            with progress(f"{phase}, {name}", settings.programmings, 0) as advance:
                for row in analog_accuracies(chip, ready, data, settings):
                    found.append((100 * row).round(2).tolist())
                    advance()
            run.write_json(file, {"digital": 100 * exact, "times": [*TIMES], "accuracies": found})


def table(settings: Settings) -> None:
    """Print what was found beside the table's figures."""
    run = RunDirectory(settings.out)
    print(f"| cell | trained | chip | digital | {' | '.join(TIMES)} |")
    print("|---" * (4 + len(TIMES)) + "|")
    for cell, text in CELLS.items():
        published = _published(text)
        for phase in PHASES:
            for name in CHIPS:
                if run.exists(_file(cell, phase, name)):
                    found = run.read_json(_file(cell, phase, name))
                    row = " | ".join(map(_spread, zip(*found["accuracies"], strict=True)))
                    print(f"| {cell} | {phase} | {name} | {found['digital']:.2f} | {row} |")
            row = " | ".join(f"{value:.2f}" for value in published[phase])
            digital = f"{published['baseline']:.2f}" if phase == "digital" else ""
            print(f"| {cell} | {phase} | AnalogNAS-Bench | {digital} | {row} |")


def _file(cell: str, phase: str, chip: str) -> str:
    return f"{cell}_{phase}_{chip.replace(' ', '_')}.json"


def _spread(accuracies: tuple[float, ...]) -> str:
    """Mean and standard deviation."""
    return f"{np.mean(accuracies):.2f} ± {np.std(accuracies, ddof=1):.2f}"


def _published(text: str) -> dict[str, Any]:
    """The table's accuracies of a cell, %."""
    found: dict[str, Any] = {"baseline": _of("analog_baseline_accuracy", text)}
    for phase, name in COLUMNS.items():
        found[phase] = [_of(name.format(t), text) for t in TIMES.values()]
    return found


def _of(name: str, text: str) -> float:
    row = int(index(from_string(text)))
    return float(column(name)[row])


def main(arguments: list[str] | None = None) -> int:
    """Trains a cell, or prints the table."""
    settings = tyro.cli(Settings, args=arguments)
    {"train": train, "table": table}[settings.what](settings)
    return 0


if __name__ == "__main__":
    sys.exit(told(main))
