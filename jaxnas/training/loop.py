"""The supernet's training loop, the same for every method."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Int

from jaxnas.data.augment import Augmentation
from jaxnas.data.batches import divided_order, epoch_order, steps_of_epoch
from jaxnas.data.dataset import Dataset
from jaxnas.errors import UserError, choose
from jaxnas.spaces.space import Space
from jaxnas.supernets.supernet import Params, Supernet
from jaxnas.training import averaging
from jaxnas.training.accumulate import accumulated, cut
from jaxnas.training.dropout import drop_rates, make_drop
from jaxnas.training.method import (
    Batch,
    Extra,
    HeldOut,
    Losses,
    Method,
    TrainConfig,
    TrainState,
)
from jaxnas.training.optimizer import sgd
from jaxnas.training.parallel import (
    check_divides,
    data_mesh,
    held_here,
    on_each,
    same_on_each,
    split_over,
)
from jaxnas.training.streaming import training_images
from jaxnas.training.views import Images, Orders, training_batch
from jaxnas.training.weight_noise import clipped, noisy
from jaxnas.types import PRNGKey

PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def init_state(
    net: Supernet, method: Method, settings: TrainConfig, steps: int, key: PRNGKey
) -> TrainState:
    """A fresh supernet; `steps` is the whole training's number of steps."""
    params = net.init(key)
    optimizer = _optimizer(method, settings, steps).init(params)
    extra = method.start(net.space) if isinstance(method, HeldOut) else method.init(params)
    average = averaging.begun(settings.ema_decay, params)
    return TrainState(params, optimizer, jnp.int32(0), extra, average)


def total_steps(settings: TrainConfig, data: Dataset) -> int:
    """Steps of the whole training; the remainder of an epoch that fills no batch is dropped."""
    return settings.epochs * steps_of_epoch(len(data.train), settings.batch_size)


def train(
    net: Supernet,
    data: Dataset,
    method: Method,
    settings: TrainConfig,
    augmentation: Augmentation,
    key: PRNGKey,
    state: TrainState | None = None,
) -> Iterator[tuple[int, TrainState, Losses]]:
    """Yields (steps done, state, losses) after every step, from `state` on.

    All randomness is a function of key and step, so that a training that goes on from a checkpoint
    is bit-identical to one that was never stopped. The yielded state is consumed by the next step:
    copy what must outlive it. Several resolutions take turns, step by step. All devices share the
    work, as if they were one.
    """
    init_key, order_key, step_key = jax.random.split(key, 3)
    total = total_steps(settings, data)
    mesh = data_mesh()
    if state is None:
        state = init_state(net, method, settings, total, init_key)
    state = on_each(mesh, state)
    images = training_images(data, settings.class_weights, mesh)
    step = make_step(net, method, settings, augmentation, total, mesh)
    resolutions = net.space.resolutions
    first = int(state.step)
    epochs = _orders(order_key, first, len(data.train), method, settings)
    for done, (some, rows) in enumerate(images.batches(epochs), first):
        key = jax.random.fold_in(step_key, done)
        resolution = resolutions[done % len(resolutions)]
        state = on_each(mesh, _begin(net, method, settings, state, done, total))
        state, losses = step(state, key, some, *rows, resolution=resolution)
        yield done + 1, held_here(state), held_here(losses)


def _orders(
    key: PRNGKey, first: int, n: int, method: Method, settings: TrainConfig
) -> Iterator[Orders]:
    """The batches of each epoch from the step `first` on.

    Of the weights and, where the method keeps images from these, of those images.
    """
    begun, done = divmod(first, max(steps_of_epoch(n, settings.batch_size), 1))
    for epoch in range(begun, settings.epochs):
        if isinstance(method, HeldOut):
            orders = divided_order(key, epoch, n, settings.batch_size, method.held_out)
        else:
            orders = (epoch_order(jax.random.fold_in(key, epoch), n, settings.batch_size),)
        yield tuple(order[done:] for order in orders) if done else orders
        done = 0


def check_training(space: Space, method: Method, settings: TrainConfig) -> None:
    """Refuses a method that cannot train the space, or a regularisation that does nothing to it."""
    if not space.parts:
        raise UserError(
            f"space {space.name} has no parts, so that there is no supernet to train: choose "
            "another space, or give it parts"
        )
    drop_rates(space, settings.dropout, settings.drop_connect)
    method.check(space)


def make_step(
    net: Supernet,
    method: Method,
    settings: TrainConfig,
    augmentation: Augmentation,
    steps: int,
    mesh: Mesh | None = None,
) -> Callable[..., tuple[TrainState, Losses]]:
    """The jitted step (state, key, images, rows, held_out, *, resolution) -> state, losses.

    `rows` are the batch's; `held_out`, of a method that holds images out, are the other batch's. It
    is traced once for each resolution. `steps` is the whole training's number of steps; `mesh`
    holds the devices that share the batch, by default all.
    """
    mesh = mesh if mesh is not None else data_mesh()
    check_training(net.space, method, settings)
    check_divides(settings.batch_size, settings.accumulate, mesh)
    tx = _optimizer(method, settings, steps)
    dtype = choose("precision", settings.precision, PRECISIONS)
    largest = net.ops(net.space.largest)
    rates = drop_rates(net.space, settings.dropout, settings.drop_connect)

    @partial(jax.jit, static_argnames="resolution", donate_argnames="state")
    def step(
        state: TrainState,
        key: PRNGKey,
        images: Images,
        rows: Int[Array, "batch"],
        held_out: Int[Array, "batch"] | None = None,
        *,
        resolution: int,
    ):
        def batch_of(
            key: PRNGKey, rows: Int[Array, "batch"], augmentation: Augmentation = augmentation
        ) -> Batch:
            found = training_batch(
                key, images, rows, augmentation, resolution, partial(split_over, mesh)
            )
            return found._replace(images=found.images.astype(dtype))

        augment_key, draw_key, drop_key = jax.random.split(key, 3)
        batch = batch_of(augment_key, rows)
        if isinstance(method, HeldOut) and held_out is not None:
            drop_key, other_key, tune_key = jax.random.split(drop_key, 3)
            unmixed = replace(augmentation, transforms=())  # for they are ranked by accuracy
            other = batch_of(other_key, held_out, unmixed)
            state = state._replace(extra=method.tune(net, state, steps, batch, other, tune_key))
        pieces = cut(batch, settings.accumulate)
        first = jax.tree.map(lambda x: x[0], pieces)
        subnets = method.draw(net, state, steps, first, draw_key)

        def gradients_of(piece: Batch, extra: Extra, key: PRNGKey):
            noise_key = key
            if settings.noise.noisy:
                key, noise_key = jax.random.split(key)
            drop = make_drop(largest, rates, key)
            seen = noisy(noise_key, state.params, settings.noise)
            now = state._replace(params=seen, extra=extra)
            return method.gradients(net, now, steps, split_over(mesh, piece), subnets, drop)

        gradients, extra, losses = accumulated(
            gradients_of, state.params, state.extra, pieces, drop_key
        )
        updates, optimizer = tx.update(gradients, state.optimizer, state.params)
        params = cast(Params, optax.apply_updates(state.params, updates))
        params = clipped(params, settings.noise)
        average = averaging.moved(settings.ema_decay, state.average, params, state.step)
        after = TrainState(params, optimizer, state.step + 1, extra, average)
        return same_on_each(mesh, (after, losses))

    return step


def _begin(
    net: Supernet, method: Method, settings: TrainConfig, state: TrainState, done: int, total: int
) -> TrainState:
    """The state from which the step after `done` starts."""
    begun = method.begin(net, done, total, state.params, state.extra)
    if begun is None:
        return state
    params, extra = begun
    fresh = _optimizer(method, settings, total).init(params)
    optimizer = optax.tree_utils.tree_set(fresh, count=jnp.copy(state.step))
    return state._replace(optimizer=optimizer, extra=extra).started_from(params)


def _optimizer(method: Method, settings: TrainConfig, steps: int) -> optax.GradientTransformation:
    return sgd(method.schedule(settings, steps), settings.weight_decay)
