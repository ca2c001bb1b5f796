"""What every stage needs.

The data, the space and its supernet, and what earlier stages left in the run directory.
"""

import time
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnas.config import Config, DataConfig, make_device, make_logger, make_source, make_space
from jaxnas.data.augment import Augmentation, normalise, resized
from jaxnas.data.dataset import STREAMED, Dataset, Split
from jaxnas.data.pixels import Pixels
from jaxnas.data.preparation import OWN, Preparation, calibration_images
from jaxnas.errors import UserError
from jaxnas.hardware.cost_model import cost_model
from jaxnas.hardware.elastic_chip import genes_of
from jaxnas.loggers.writer import About, Writer
from jaxnas.networks.op import Op
from jaxnas.networks.subnet import Subnet
from jaxnas.own_settings import takes
from jaxnas.records.data import DATA, read_data
from jaxnas.records.metrics import append_metrics
from jaxnas.records.run_directory import RunDirectory
from jaxnas.spaces.joint import alone, joint
from jaxnas.spaces.space import Space
from jaxnas.stages.bounds import settings_of
from jaxnas.stages.method import method_of
from jaxnas.supernets.build import build
from jaxnas.supernets.supernet import Params, Supernet
from jaxnas.training import finetune
from jaxnas.training.evaluate import Examples
from jaxnas.training.loop import init_state, total_steps
from jaxnas.training.method import TrainState
from jaxnas.training.recalibrate import recalibrated, statistics
from jaxnas.training.streaming import TrainingImages, training_images
from jaxnas.types import PRNGKey
from jaxnas.weights import checkpoints, pretrained

# Beginnings of names in older checkpoints, and what they are now.
RENAMED = {"teacher/": "extra/"}
# Bytes of a split's images as float32, at most; larger ones are prepared a batch at a time.
PREPARED = 1 << 28
# Settings that a source may take.
OF_PICTURES = ("image_size", "non_square", "scaled_decoding", "stream", "workers")
PURPOSES = (
    "train",
    "plan",
    "predict",
    "search",
    "random",
    "finetune",
    "doubt",
    "hybrid",
    "calibration",
    "watch",
    "analog",
)


def purpose_key(seed: int, purpose: str) -> PRNGKey:
    """The key that a run with this seed has for a purpose."""
    if not 0 <= seed < 2**32:  # of more, JAX's keys keep the last 32 bits
        raise UserError(f"a seed must be at least 0 and below {2**32}, got {seed}: choose another")
    return jax.random.fold_in(jax.random.key(seed), PURPOSES.index(purpose))


@dataclass(frozen=True)
class Job:
    """One run: where its files are, its settings, its data, its space and its supernet."""

    run: RunDirectory
    config: Config
    data: Dataset
    space: Space
    net: Supernet
    prepared: Preparation = OWN  # what images look like to the supernet
    writers: tuple[Writer, ...] = ()  # of the lines of metrics.jsonl, besides that file

    @cached_property
    def trained_net(self) -> Supernet:
        """The supernet as its training sees it: without the genes of a chip.

        With or without them the same seed trains the same weights.
        """
        own = alone(self.space)
        return self.net if own is self.space else build(own)

    @property
    def augmentation(self) -> Augmentation:
        """The settings', with the resizing that is meant."""
        return replace(self.config.data.augmentation, resizing=self.prepared.resizing)

    def training_images(self) -> TrainingImages:
        """The training split on the device or streamed, with the weights of its classes."""
        return training_images(self.data, self.config.train.class_weights)

    def record(self, stage: str, **figures: Any) -> None:
        """Add a line of a stage to metrics.jsonl, and show it wherever the settings say."""
        line = {"stage": stage, "time": round(time.time(), 1), **figures}
        append_metrics(self.run, line)
        for writer in self.writers:
            writer.write(line)

    def key(self, purpose: str) -> PRNGKey:
        """A key of its own for each purpose, from the seed."""
        return purpose_key(self.config.seed, purpose)

    def resolution(self, genome: Int[np.ndarray, "genes"]) -> int:
        return self.space.pixels(np.asarray(genome))

    def examples(self, split: Split, resolution: int) -> Examples:
        """A split's images as a network of this resolution sees them.

        And the calibration images of a search's networks likewise.
        """
        calibration = self.calibration(resolution, self.config.search.hybrid.epochs)
        return Examples(self._examined(split, resolution), jnp.asarray(split.labels), calibration)

    def _examined(self, split: Split, resolution: int) -> Float[Array, "n r r c"] | Pixels:
        """The images, or where all of them would take much memory what they are made of."""
        if len(split) * resolution**2 * self.data.channels * np.float32().nbytes <= PREPARED:
            return self.images(split, resolution)
        mean = jnp.asarray(self.data.mean)
        deviation = jnp.asarray(self.data.deviation)
        return Pixels(
            jnp.asarray(split.images), mean, deviation, resolution, self.prepared.resizing
        )

    def calibration(self, resolution: int, epochs: int = 0) -> Float[Array, "n r r c"]:
        """The images that statistics are recalibrated on.

        As a network of this resolution sees them.

        They are varied as its weights were trained; after `epochs` of this run's own training,
        which shifts with reflected borders, not at all.
        """
        data = self.data
        prepared = self.prepared
        if epochs and self.config.data.recalibration is None:
            prepared = replace(prepared, recalibration="plain")
        return calibration_images(
            self.key("calibration"),
            data.calibration.images,
            data.mean,
            data.deviation,
            resolution,
            prepared,
        )

    def images(self, split: Split, resolution: int) -> Float[Array, "n r r c"]:
        """A split's images as a network of this resolution sees them."""
        normalised = normalise(jnp.asarray(split.images), self.data.mean, self.data.deviation)
        return resized(normalised, resolution, self.prepared.resizing)

    def train_state(self) -> TrainState | None:
        """The supernet's newest checkpoint, None where there is none."""
        folder = self.run.path("checkpoints/supernet")
        if checkpoints.latest_step(folder) is None:
            return None
        settings = self.config.train
        method = method_of(self.config)
        steps = total_steps(settings, self.data)
        target = jax.eval_shape(
            lambda key: init_state(self.trained_net, method, settings, steps, key),
            jax.random.key(0),
        )
        return checkpoints.restore(folder, target, RENAMED)

    def params(self) -> Params:
        """The trained supernet's weights, averaged where the training keeps an average."""
        state = self.train_state()
        if state is None or int(state.step) < total_steps(self.config.train, self.data):
            raise UserError(
                f"the supernet in {self.run.root} is not trained to the end: run `jaxnas train` "
                "first"
            )
        return state.evaluated

    def inherited(self, params: Params, genome: Int[np.ndarray, "genes"]) -> Subnet:
        """A network as the supernet has it, with statistics of its own.

        `params` on the host, where a slice is a view.
        """
        calibration = self.calibration(self.resolution(genome), self.config.search.hybrid.epochs)
        stats = jax.device_get(_statistics(self.net, params, jnp.asarray(genome), calibration))
        return jax.tree.map(jnp.asarray, self.net.extract(params, genome, stats))

    def finetuned(self, params: Params, name: str, genome: Int[np.ndarray, "genes"]) -> Subnet:
        """The network that fine-tuning left in checkpoints/NAME; `params` as for `inherited`."""
        subnet = self.net.extract(params, genome, {})
        fresh = finetune.init_state(subnet, self.config.finetune, len(self.data.train))
        state = checkpoints.restore(self.run.path(f"checkpoints/{name}"), fresh)
        images = self.finetuned_calibration(self.resolution(genome))
        return recalibrated(Subnet(subnet.ops, state.evaluated, {}), images)

    def finetuned_calibration(self, resolution: int) -> Float[Array, "n r r c"]:
        """The images that a fine-tuned network's statistics are recalibrated on."""
        epochs = self.config.search.hybrid.epochs + self.config.finetune.epochs
        return self.calibration(resolution, epochs)


def open_job(run: RunDirectory, config: Config) -> Job:
    """The job of a run; refuses data that are not those the run began with."""
    data = load_data(config.data, config.seed)
    space = load_space(config, data)
    if run.exists(DATA):
        _check_same(run, data)
    net = build(space)
    about = About(config.name, run.root, {name: value for name, _, value in settings_of(config)})
    writers = tuple(make_logger(name, about) for name in config.loggers)
    return Job(run, config, data, space, net, _prepared(run, config, data, net), writers)


def _check_same(run: RunDirectory, data: Dataset) -> None:
    """Refuses images that are not those that the run began with."""
    before, now = read_data(run).fingerprint, data.fingerprint()
    if before.startswith(STREAMED) != now.startswith(STREAMED):
        way = "always" if before.startswith(STREAMED) else "never"
        raise UserError(
            f"{run.root} began with images that were {way} streamed, by which they are told apart "
            f"from others: set data.stream {way}"
        )
    if before != now:
        raise UserError(
            f"the images of {data.name} are not those that {run.root} began with: restore them, or "
            "use another --out"
        )


def _prepared(run: RunDirectory, config: Config, data: Dataset, net: Supernet) -> Preparation:
    """What the run began with, as data.json has it.

    Before it is there, what the settings say, else the weights they name.
    """
    if run.exists(DATA):
        return read_data(run).prepared
    found = (
        pretrained.look(config.weights, net, data.class_names).prepared if config.weights else OWN
    )
    if config.train.epochs:
        found = replace(found, recalibration=OWN.recalibration)
    asked = {
        "resizing": config.data.augmentation.resizing,
        "recalibration": config.data.recalibration,
    }
    return replace(found, **{name: one for name, one in asked.items() if one is not None})


def load_space(config: Config, data: Dataset) -> Space:
    """The space that the settings name, for these images, and the genes of the device's chip."""
    return space_of(config, data.image_size[0], data.channels, data.classes)


def space_of(config: Config, image_size: int, channels: int, classes: int) -> Space:
    """The same, for images of so many pixels a side."""
    networks = make_space(config.space)(image_size, channels, classes)
    return joint(networks, genes_of(cost_model(make_device(config.profile))))


def space_settings(space: Space) -> dict[str, Any]:
    """All that decides what a space's networks are, to be compared with what a run began with."""
    return space.settings


@lru_cache(maxsize=1)
def load_data(settings: DataConfig, seed: int) -> Dataset:
    """The data set that `source` names, `KIND` or `KIND:ARGUMENT`."""
    load, argument = make_source(settings.source)
    rest: dict[str, Any] = {
        "search_images": settings.search_images,
        "calibration_images": settings.calibration_images,
    }
    for name in OF_PICTURES:
        if takes(load, name):
            rest[name] = getattr(settings, name)
        elif getattr(settings, name) != getattr(DataConfig, name):
            raise UserError(
                f"data.{name} {getattr(settings, name)!r} is not read by {settings.source}: leave "
                "it away, or give the function a parameter of this name"
            )
    return load(argument, data_dir=settings.data_dir, **rest, seed=seed)


_statistics = jax.jit(statistics, static_argnums=0)


def costs(ops: tuple[Op, ...]) -> dict[str, Any]:
    """MACs and parameters of a network, as columns."""
    return {"macs": sum(op.macs for op in ops), "params": sum(op.params for op in ops)}
