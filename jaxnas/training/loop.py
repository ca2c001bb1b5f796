"""The supernet's training loop."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, UInt8

from jaxnas.data.augment import Augmentation, augment, normalise, resized
from jaxnas.data.batches import epoch_order
from jaxnas.data.dataset import Dataset
from jaxnas.supernets.supernet import Params, Supernet
from jaxnas.training.optimizer import sgd
from jaxnas.training.sandwich import Losses, sandwich_gradients
from jaxnas.types import PRNGKey


@dataclass(frozen=True)
class TrainConfig:
    """The supernet's training: sandwich rule with in-place distillation."""

    epochs: int = 40
    batch_size: int = 64
    random_subnets: int = 2
    """Random subnets per step, besides the largest and the smallest."""
    learning_rate: float = 0.1
    """Peak of SGD with Nesterov momentum 0.9; linear warm-up, then cosine to 0."""
    warmup_epochs: float = 2.0
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    checkpoint_every: int = 500
    """Steps between checkpoints."""


class TrainState(NamedTuple):
    """All that a step changes; what a checkpoint holds."""

    params: Params
    optimizer: optax.OptState
    step: Int[Array, ""]


class Images(NamedTuple):
    """The training split on the device; an argument of the step, since a captured array is compiled in."""

    images: UInt8[Array, "n h w c"]
    labels: Int[Array, "n"]
    mean: Array
    deviation: Array


def on_device(data: Dataset) -> Images:
    """The training split of a data set, uint8, and how to normalise it."""
    return Images(*map(jnp.asarray, (data.train.images, data.train.labels, data.mean, data.deviation)))


def init_state(net: Supernet, settings: TrainConfig, steps: int, key: PRNGKey) -> TrainState:
    """A fresh supernet; `steps` is the whole training's number of steps."""
    params = net.init(key)
    return TrainState(params, _optimizer(settings, steps).init(params), jnp.int32(0))


def total_steps(settings: TrainConfig, data: Dataset) -> int:
    """Steps of the whole training; the remainder of an epoch that fills no batch is dropped."""
    return settings.epochs * (len(data.train) // settings.batch_size)


def train(
    net: Supernet, data: Dataset, settings: TrainConfig, augmentation: Augmentation, key: PRNGKey, state: TrainState | None = None
) -> Iterator[tuple[int, TrainState, Losses]]:
    """Yields (steps done, state, losses) after every step, from `state` on; all randomness is a function of key and step.

    So a training that goes on from a checkpoint is bit-identical to one that was never stopped. The yielded state is
    consumed by the next step: copy what must outlive it. Several resolutions take turns, step by step.
    """
    init_key, order_key, step_key = jax.random.split(key, 3)
    per_epoch = len(data.train) // settings.batch_size
    total = total_steps(settings, data)
    state = state if state is not None else init_state(net, settings, total, init_key)
    images, step = on_device(data), make_step(net, settings, augmentation, total)
    resolutions = net.space.structure.resolutions
    first = int(state.step)
    for epoch in range(first // max(per_epoch, 1), settings.epochs):
        order = epoch_order(jax.random.fold_in(order_key, epoch), len(data.train), settings.batch_size)
        for done in range(max(first, epoch * per_epoch), (epoch + 1) * per_epoch):
            key, resolution = jax.random.fold_in(step_key, done), resolutions[done % len(resolutions)]
            state, losses = step(state, key, images, order[done % per_epoch], resolution=resolution)
            yield done + 1, state, losses


def make_step(net: Supernet, settings: TrainConfig, augmentation: Augmentation, steps: int) -> Callable[..., tuple[TrainState, Losses]]:
    """The jitted step (state, key, images, rows, *, resolution) -> state, losses; one trace per resolution."""
    tx = _optimizer(settings, steps)

    @partial(jax.jit, static_argnames="resolution", donate_argnames="state")
    def step(state: TrainState, key: PRNGKey, images: Images, rows: Int[Array, "batch"], *, resolution: int):
        augment_key, genome_key = jax.random.split(key)
        batch = augment(augment_key, images.images[rows], augmentation.crop, augmentation.flip)
        batch = resized(normalise(batch, images.mean, images.deviation), resolution)
        genomes = net.space.sample(genome_key, settings.random_subnets)
        gradients, losses = sandwich_gradients(net, state.params, batch, images.labels[rows], genomes, settings.label_smoothing)
        updates, optimizer_state = tx.update(gradients, state.optimizer, state.params)
        return TrainState(cast(Params, optax.apply_updates(state.params, updates)), optimizer_state, state.step + 1), losses

    return step


def _optimizer(settings: TrainConfig, steps: int) -> optax.GradientTransformation:
    warmup = min(int(settings.warmup_epochs * steps / max(settings.epochs, 1)), steps // 2)
    schedule = optax.warmup_cosine_decay_schedule(0.0, settings.learning_rate, warmup, max(steps, 1))
    return sgd(schedule, settings.weight_decay)
