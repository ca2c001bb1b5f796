"""Question: what does each change of the training recipe bring, at equal wall time?

CIFAR-10, from the supernet `residual_cifar10` that comes with jaxnas. `finetune`: a network of it,
of about 5 MMACs, is trained on its own; `supernet`: all of it is trained on. A variant changes one
thing of the recipe that was the default before, or several. `cost` times a step of every variant,
in turns, in one process; `run` then gives a variant as many steps as `--seconds` hold at its cost,
whatever the machine does meanwhile, on as many training images as make whole epochs of them.
Accuracies are of images held out of the training split, with statistics recalibrated; the test
split is not touched. A run that was stopped goes on, one that is done is not repeated.

Commands: python experiments/recipe.py cost finetune
          python experiments/recipe.py run finetune --variant ema --seed 0
          python experiments/recipe.py table finetune   (and the same with supernet)
"""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jaxnas.cli import told
from jaxnas.config import DataConfig, make_method
from jaxnas.data.augment import Augmentation
from jaxnas.data.augment import normalise as normalised
from jaxnas.data.dataset import Dataset
from jaxnas.errors import UserError, choose
from jaxnas.networks.subnet import Subnet
from jaxnas.progress import progress
from jaxnas.records.run_directory import RunDirectory
from jaxnas.signals import Saving
from jaxnas.spaces.published import residual
from jaxnas.stages.job import load_data
from jaxnas.supernets.build import build
from jaxnas.supernets.supernet import Params
from jaxnas.training.evaluate import Examples, accuracies, accuracy
from jaxnas.training.finetune import FinetuneConfig, finetune_steps
from jaxnas.training.finetune import init_state as finetune_state
from jaxnas.training.loop import init_state, train
from jaxnas.training.method import TrainConfig
from jaxnas.training.recalibrate import recalibrated
from jaxnas.training.views import Images, on_device
from jaxnas.weights import checkpoints, trained

PIXELS = 32
MMACS = 5.0  # of the network that is trained alone
DRAWN = 20  # random networks that a supernet is judged by
FLIPPED = Augmentation(crop=4, flip=True)
ROUNDS = 6  # of steps that are timed
NET = build(residual(PIXELS))


class Variant(NamedTuple):
    """A recipe: settings of the training, and transforms of its images."""

    settings: Any
    transforms: tuple[str, ...] = ()

    @property
    def augmentation(self) -> Augmentation:
        return replace(FLIPPED, transforms=self.transforms)


ALONE = FinetuneConfig(learning_rate=0.02, weight_decay=1e-4)
RISING: FinetuneConfig = replace(ALONE, learning_rate=0.1, warmup_epochs=0.2)
FINETUNE = {
    "before": Variant(ALONE),
    "ema": Variant(replace(ALONE, ema_decay=0.999)),
    "decay": Variant(replace(ALONE, weight_decay=5e-4)),
    "no smoothing": Variant(replace(ALONE, label_smoothing=0.0)),
    "rate 0.05": Variant(replace(ALONE, learning_rate=0.05, warmup_epochs=0.2)),
    "rate 0.1": Variant(RISING),
    "batch 32": Variant(replace(ALONE, batch_size=32)),
    "batch 128": Variant(replace(ALONE, batch_size=128, learning_rate=0.04)),
    "cutout": Variant(ALONE, ("cutout:size=0.5",)),
    "randaugment": Variant(ALONE, ("randaugment:magnitude=5",)),
    "mixup": Variant(ALONE, ("mixup:alpha=0.2",)),
    "cutmix": Variant(ALONE, ("cutmix:probability=0.5",)),
    "teacher": Variant(replace(ALONE, teacher="largest", distillation=0.5)),
    "all": Variant(replace(RISING, weight_decay=5e-4, ema_decay=0.999)),
}
SHARED = TrainConfig(
    epochs=1,
    batch_size=64,
    random_subnets=1,
    learning_rate=0.06,
    warmup_epochs=0.1,
    weight_decay=5e-5,
    label_smoothing=0.0,
)
SUPERNET = {
    "before": Variant(SHARED),
    "ema": Variant(replace(SHARED, ema_decay=0.999)),
    "decay": Variant(replace(SHARED, weight_decay=5e-4)),
    "smoothing": Variant(replace(SHARED, label_smoothing=0.1)),
    "rate 0.12": Variant(replace(SHARED, learning_rate=0.12)),
    "cutout": Variant(SHARED, ("cutout:size=0.5",)),
    "cutmix": Variant(SHARED, ("cutmix:probability=0.5",)),
    "two subnets": Variant(replace(SHARED, random_subnets=2)),
    "all": Variant(replace(SHARED, ema_decay=0.999, weight_decay=5e-4)),
}
VARIANTS = {"finetune": FINETUNE, "supernet": SUPERNET}
# Variants whose step computes what another's does, with other numbers or with a few operations on
# images and weights, which cost less than timings spread; the others are timed.
ALIKE = (
    "ema, decay, smoothing, no smoothing, rate 0.05, rate 0.1, rate 0.12, cutout, mixup, cutmix, "
    "all"
)
AS: dict[str, str] = dict.fromkeys(ALIKE.split(", "), "before")


@dataclass(frozen=True)
class Settings:
    """What is done."""

    what: tyro.conf.Positional[Literal["cost", "run", "table"]]
    part: tyro.conf.Positional[Literal["finetune", "supernet"]]
    variant: str = "before"
    """Of `run`; of `cost` those are timed that `names` has, by default all that differ in cost."""
    names: tuple[str, ...] = ()
    seed: int = 0
    seconds: float = 60.0
    """Of steps, at what they cost when they were timed."""
    images: int = 2000
    """Held-out images that accuracies are of."""
    out: str = "runs/recipe"
    data: DataConfig = field(
        default_factory=lambda: DataConfig(
            source="tfds:cifar10", data_dir="~/tensorflow_datasets", search_images=5000
        )
    )


class Plan(NamedTuple):
    """A training of so many steps: whole epochs of the first so many images."""

    steps: int
    epochs: int
    images: int


def plan(steps: int, batch_size: int, images: int) -> Plan:
    """About so many steps, in the fewest epochs.

    >>> plan(1000, 64, 45_000)
    Plan(steps=1000, epochs=2, images=32000)
    """
    epochs = max(1, -(-steps * batch_size // images))
    of_epoch = max(1, steps // epochs)
    return Plan(epochs * of_epoch, epochs, of_epoch * batch_size)


def supernet_params() -> Params:
    """The weights that come with jaxnas."""
    return trained.load("residual_cifar10", NET).params


def genome_of(mmacs: float) -> np.ndarray:
    """Of a thousand random networks the one whose cost is nearest."""
    drawn = NET.space.sample(jax.random.key(0), 1000)
    return np.asarray(drawn[int(jnp.argmin(jnp.abs(NET.space.costs(drawn).macs / 1e6 - mmacs)))])


def calibration_of(data: Dataset) -> jax.Array:
    """Images that statistics are of."""
    return normalised(data.calibration.images, data.mean, data.deviation)


def held_out(data: Dataset, count: int) -> Examples:
    """Images that no weight learns from."""
    some = data.search.first(count)
    images = normalised(some.images, data.mean, data.deviation)
    return Examples(images, jnp.asarray(some.labels), calibration_of(data))


def teacher_of(variant: Variant, data: Dataset) -> Subnet | None:
    """The largest network of the supernet, where the variant learns from it."""
    if variant.settings.teacher is None:
        return None
    subnet = NET.extract(jax.device_get(supernet_params()), NET.space.largest, {})
    return recalibrated(subnet, calibration_of(data))


def alone_steps(
    data: Dataset, variant: Variant, chosen: Plan, seed: int, folder: Path | None = None
) -> Iterator[tuple[int, Any]]:
    """Yields (steps done, state) of one network's training, from the folder's checkpoint on."""
    settings = replace(variant.settings, epochs=chosen.epochs)
    subnet = NET.extract(jax.device_get(supernet_params()), genome_of(MMACS), {})
    first: Images = on_device(replace(data, train=data.train.first(chosen.images)))
    state, done = _begun(finetune_state(subnet, settings, chosen.images), folder)
    key = jax.random.key(seed)
    arguments = (subnet, first, PIXELS, settings, variant.augmentation, key, state, done)
    for step, state, _ in finetune_steps(*arguments, teacher_of(variant, data)):
        yield step, state


def shared_steps(
    data: Dataset, variant: Variant, chosen: Plan, seed: int, folder: Path | None = None
) -> Iterator[tuple[int, Any]]:
    """The same of the supernet's."""
    settings = replace(variant.settings, epochs=chosen.epochs)
    method = make_method(settings)
    some = replace(data, train=data.train.first(chosen.images))
    key = jax.random.key(seed)
    fresh = init_state(NET, method, settings, chosen.steps, key).started_from(supernet_params())
    begun, _ = _begun(fresh, folder)
    for step, state, _ in train(NET, some, method, settings, variant.augmentation, key, begun):
        yield step, state


STEPS: dict[str, Callable[..., Iterator[tuple[int, Any]]]] = {
    "finetune": alone_steps,
    "supernet": shared_steps,
}


def _begun(fresh: Any, folder: Path | None) -> tuple[Any, int]:
    """The state of the folder's checkpoint and its step; the fresh one where there is none."""
    done = checkpoints.latest_step(folder) if folder else None
    if done is None or folder is None:
        return fresh, 0
    return checkpoints.restore(folder, fresh), done


def accuracy_alone(state: Any, data: Dataset, count: int) -> dict[str, float]:
    """Of the network, on held-out images."""
    examples = held_out(data, count)
    subnet = Subnet(NET.ops(genome_of(MMACS)), state.evaluated, {})
    tuned = recalibrated(subnet, examples.calibration)
    return {"accuracy": float(accuracy(tuned, examples.images, examples.labels))}


def accuracy_shared(state: Any, data: Dataset, count: int) -> dict[str, float]:
    """Of the largest network, the smallest, and random ones in the mean."""
    space = NET.space
    ends = [jnp.asarray(space.largest), jnp.asarray(space.smallest)]
    genomes = jnp.concatenate([jnp.stack(ends), space.sample(jax.random.key(1), DRAWN)])
    live = jnp.ones(len(genomes), bool)
    found = jax.jit(partial(accuracies, NET))(state.evaluated, genomes, live, held_out(data, count))
    largest, smallest, *random = np.asarray(found).tolist()
    return {"largest": largest, "smallest": smallest, "random": float(np.mean(random))}


ACCURACIES = {"finetune": accuracy_alone, "supernet": accuracy_shared}


def cost(settings: Settings, data: Dataset, run: RunDirectory) -> None:
    """Write what a step of each variant costs, the fastest of some, to PART_ms.json."""
    known = VARIANTS[settings.part]
    names = settings.names or tuple(name for name in known if name not in AS)
    going = {}
    for name in names:
        variant = choose("variant", name, known)
        long = plan(10_000, variant.settings.batch_size, len(data.train))
        going[name] = STEPS[settings.part](data, variant, long, 0)
        jax.block_until_ready(next(going[name]))  # compiled
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name, steps in going.items():
            jax.block_until_ready(next(steps))  # into the cache
            start = perf_counter()
            jax.block_until_ready([next(steps) for _ in range(2)])
            found[name].append(1000 * (perf_counter() - start) / 2)
    file = f"{settings.part}_ms.json"
    before = run.read_json(file) if run.exists(file) else {}
    costs = {name: round(min(some), 2) for name, some in found.items()}
    run.write_json(file, before | costs)
    print(json.dumps(costs, indent=1))


def run_one(settings: Settings, data: Dataset, run: RunDirectory) -> None:
    """Train a variant, from where it was stopped on, and add a row to PART.csv."""
    part = settings.part
    variant = choose("variant", settings.variant, VARIANTS[part])
    if settings.variant in known_rows(run, part, settings.seed):
        print(f"{settings.variant}, seed {settings.seed}: done before")
        return
    file = f"{part}_ms.json"
    costs = run.read_json(file) if run.exists(file) else {}
    timed = AS.get(settings.variant, settings.variant)
    if timed not in costs:
        raise UserError(f"{run.root} has no cost of {settings.variant}: run `cost` first")
    count = round(1000 * settings.seconds / costs[timed])
    chosen = plan(count, variant.settings.batch_size, len(data.train))
    folder = run.path(f"{part}_{settings.variant}_{settings.seed}")
    steps = STEPS[part](data, variant, chosen, settings.seed, folder)
    done = checkpoints.latest_step(folder) or 0
    state = None
    start = perf_counter()
    with progress(settings.variant, chosen.steps, done) as advance, Saving(1.0) as saving:
        for step, state in steps:
            advance()
            saving.after(step == chosen.steps, partial(checkpoints.save, folder, step, state))
    jax.block_until_ready(state)
    taken = perf_counter() - start
    if state is None:  # stopped between its last step and its row
        state = next(iter(STEPS[part](data, variant, chosen, settings.seed)))[1]
        state = checkpoints.restore(folder, state)
    figures = ACCURACIES[part](state, data, settings.images)
    row = {"variant": settings.variant, "seed": settings.seed, "steps": chosen.steps}
    run.append_csv(f"{part}.csv", row | {"seconds": round(taken, 1)} | figures)
    checkpoints.remove(folder)
    print(row | figures)


def known_rows(run: RunDirectory, part: str, seed: int | None = None) -> dict[str, list[Any]]:
    """Rows of a part's file by variant."""
    rows = run.read_csv(f"{part}.csv") if run.exists(f"{part}.csv") else []
    found: dict[str, list[Any]] = {}
    for row in rows:
        if seed is None or int(row["seed"]) == seed:
            found.setdefault(row["variant"], []).append(row)
    return found


def table(settings: Settings, run: RunDirectory) -> None:
    """Print what was found, a line for each variant."""
    columns = ("accuracy",) if settings.part == "finetune" else ("largest", "smallest", "random")
    costs = run.read_json(f"{settings.part}_ms.json")
    print(f"| variant | ms a step | steps | seeds | {' | '.join(columns)} |")
    print("|---" * (4 + len(columns)) + "|")
    for variant, rows in known_rows(run, settings.part).items():
        figures = []
        for column in columns:
            some = 100 * np.array([float(row[column]) for row in rows])
            spread = f" ({some.min():.1f}-{some.max():.1f})" if len(some) > 1 else ""
            figures.append(f"{some.mean():.1f} %{spread}")
        said = (
            variant,
            f"{costs[AS.get(variant, variant)]:.0f}",
            rows[0]["steps"],
            str(len(rows)),
            *figures,
        )
        print(f"| {' | '.join(said)} |")


def main() -> int:
    """Does what is asked."""
    settings = tyro.cli(Settings, description=__doc__)
    with RunDirectory(settings.out) as run:
        if settings.what == "table":
            table(settings, run)
            return 0
        run.write_json("config.json", {"name": "recipe", "data": asdict(settings.data)})
        data = load_data(settings.data, 0)
        (cost if settings.what == "cost" else run_one)(settings, data, run)
    return 0


if __name__ == "__main__":
    sys.exit(told(main))
