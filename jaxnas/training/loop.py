"""The supernet's training loop."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, UInt8

from jaxnas.data.augment import Augmentation, augment, normalise, resized
from jaxnas.data.batches import epoch_order, steps_of_epoch
from jaxnas.data.dataset import Dataset
from jaxnas.errors import choose
from jaxnas.supernets.supernet import Params, Supernet
from jaxnas.training.accumulate import accumulated, cut
from jaxnas.training.channels import check_sortable
from jaxnas.training.dropout import drop_rates, make_drop
from jaxnas.training.losses import alpha_loss, distillation_loss, hard_loss
from jaxnas.training.optimizer import sgd, warmup_cosine
from jaxnas.training.parallel import check_divides, data_mesh, on_each, same_on_each, split_over
from jaxnas.training.sampling import attentive_genomes, macs_tables
from jaxnas.training.sandwich import Losses, sandwich_gradients
from jaxnas.training.shrinking import (
    begin_phase,
    check_genes,
    phase_genomes,
    phase_of,
    phase_starts,
    shrinking_gradients,
    shrinking_schedule,
)
from jaxnas.types import Genomes, PRNGKey


class Method(NamedTuple):
    """A way to train random subnets.

    The loss of a student, and which of the candidates is kept (None: there are no others).
    """

    distil: Callable[..., Float[Array, ""]]
    keep: Callable[..., Array] | None = None


METHODS = {
    "sandwich": Method(distillation_loss),
    "alphanet": Method(alpha_loss),
    "best_up": Method(distillation_loss, jnp.argmin),
    "worst_up": Method(distillation_loss, jnp.argmax),
    "ofa": Method(distillation_loss),
}
PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


@dataclass(frozen=True)
class TrainConfig:
    """The supernet's training."""

    method: str = "sandwich"
    """sandwich: largest, smallest and random subnets, distilled; alphanet: so by alpha-divergence;
    best_up, worst_up: random subnets chosen by loss at a drawn MACs; ofa: progressive shrinking."""
    epochs: int = 40
    """Of ofa all phases share them."""
    batch_size: int = 64
    """Images per step; the remainder of an epoch that fills no batch is dropped."""
    random_subnets: int = 2
    """Random subnets per step, besides the largest and the smallest; the phases of ofa have their
    own."""
    candidates: int = 3
    """best_up, worst_up: subnets drawn for each random one that is trained."""
    learning_rate: float = 0.1
    """Peak of SGD with Nesterov momentum 0.9; cosine to 0, times linear warm-up. The later phases
    of ofa have less."""
    warmup_epochs: float = 2.0
    """The phases of ofa have their own."""
    weight_decay: float = 1e-4
    """Of kernels; norms and biases do not decay."""
    label_smoothing: float = 0.1
    """Share of a label that is spread over all classes."""
    dropout: float = 0.0
    """Of the classifier's inputs in the largest network."""
    drop_connect: float = 0.0
    """Of blocks in the last two stages of the largest network, rising towards the last."""
    precision: str = "float32"
    """Of activations and gradients through them: float32 or bfloat16; weights, statistics and
    losses are float32."""
    accumulate: int = 1
    """Parts of a batch that go through the networks one after the other, each with statistics of
    its own, to save memory."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    checkpoint_minutes: float = 5.0
    """Minutes between checkpoints, beside those; of the fine-tuning, too, which has one after each
    epoch."""


class TrainState(NamedTuple):
    """All that a step changes; what a checkpoint holds."""

    params: Params
    optimizer: optax.OptState
    step: Int[Array, ""]
    teacher: Params | None = None  # ofa: the largest network as its own training left it


class Images(NamedTuple):
    """The training split on the device.

    An argument of the step, since a captured array is compiled in.
    """

    images: UInt8[Array, "n h w c"]
    labels: Int[Array, "n"]
    mean: Array
    deviation: Array


def on_device(data: Dataset) -> Images:
    """The training split of a data set, uint8, and how to normalise it."""
    return Images(
        *map(jnp.asarray, (data.train.images, data.train.labels, data.mean, data.deviation))
    )


def init_state(net: Supernet, settings: TrainConfig, steps: int, key: PRNGKey) -> TrainState:
    """A fresh supernet; `steps` is the whole training's number of steps."""
    params = net.init(key)
    teacher = jax.tree.map(jnp.zeros_like, params) if settings.method == "ofa" else None
    return TrainState(params, _optimizer(settings, steps).init(params), jnp.int32(0), teacher)


def total_steps(settings: TrainConfig, data: Dataset) -> int:
    """Steps of the whole training; the remainder of an epoch that fills no batch is dropped."""
    return settings.epochs * steps_of_epoch(len(data.train), settings.batch_size)


def train(
    net: Supernet,
    data: Dataset,
    settings: TrainConfig,
    augmentation: Augmentation,
    key: PRNGKey,
    state: TrainState | None = None,
) -> Iterator[tuple[int, TrainState, Losses]]:
    """Yields (steps done, state, losses) after every step, from `state` on.

    All randomness is a function of key and step.

    So a training that goes on from a checkpoint is bit-identical to one that was never stopped. The
    yielded state is consumed by the next step: copy what must outlive it. Several resolutions take
    turns, step by step. All devices share the work, as if they were one.
    """
    init_key, order_key, step_key = jax.random.split(key, 3)
    per_epoch = steps_of_epoch(len(data.train), settings.batch_size)
    total = total_steps(settings, data)
    mesh = data_mesh()
    state = state if state is not None else init_state(net, settings, total, init_key)
    state, images = on_each(mesh, (state, on_device(data)))
    step = make_step(net, settings, augmentation, total, mesh)
    resolutions = net.space.resolutions
    first = int(state.step)
    for epoch in range(first // max(per_epoch, 1), settings.epochs):
        order = epoch_order(
            jax.random.fold_in(order_key, epoch), len(data.train), settings.batch_size
        )
        for done in range(max(first, epoch * per_epoch), (epoch + 1) * per_epoch):
            key = jax.random.fold_in(step_key, done)
            resolution = resolutions[done % len(resolutions)]
            state = on_each(mesh, _begin_phases(net, settings, state, done, total))
            state, losses = step(state, key, images, order[done % per_epoch], resolution=resolution)
            yield done + 1, state, losses


def check_training(net: Supernet, settings: TrainConfig) -> None:
    """Refuses a method or a regularisation that does not know the supernet's parts.

    It would do nothing to them.
    """
    drop_rates(net.ops(net.space.largest), settings.dropout, settings.drop_connect)
    if settings.method == "ofa":
        check_genes(net.space)
        check_sortable(jax.eval_shape(net.init, jax.random.key(0)))


def make_step(
    net: Supernet,
    settings: TrainConfig,
    augmentation: Augmentation,
    steps: int,
    mesh: Mesh | None = None,
) -> Callable[..., tuple[TrainState, Losses]]:
    """The jitted step (state, key, images, rows, *, resolution) -> state, losses.

    One trace per resolution.

    `steps` is the whole training's number; `mesh` holds the devices that share the batch, all there
    are if it is not given.
    """
    mesh = mesh if mesh is not None else data_mesh()
    check_training(net, settings)
    check_divides(settings.batch_size, settings.accumulate, mesh)
    tx = _optimizer(settings, steps)
    dtype = choose("precision", settings.precision, PRECISIONS)
    genomes_of = _genomes(net, settings, steps)
    gradients_of = _gradients(net, settings, steps)

    @partial(jax.jit, static_argnames="resolution", donate_argnames="state")
    def step(
        state: TrainState,
        key: PRNGKey,
        images: Images,
        rows: Int[Array, "batch"],
        *,
        resolution: int,
    ):
        augment_key, genome_key, drop_key = jax.random.split(key, 3)
        batch = augment(
            augment_key, split_over(mesh, images.images[rows]), augmentation.crop, augmentation.flip
        )
        batch = resized(
            normalise(batch, images.mean, images.deviation), resolution, augmentation.resizing
        ).astype(dtype)
        pieces = cut((batch, images.labels[rows]), settings.accumulate)
        genomes = genomes_of(state, jax.tree.map(lambda x: x[0], pieces), resolution, genome_key)
        gradients, losses = accumulated(
            lambda piece, key: gradients_of(state, split_over(mesh, piece), genomes, key),
            state.params,
            pieces,
            drop_key,
        )
        updates, optimizer_state = tx.update(gradients, state.optimizer, state.params)
        params = cast(Params, optax.apply_updates(state.params, updates))
        return same_on_each(
            mesh, TrainState(params, optimizer_state, state.step + 1, state.teacher)
        ), losses

    return step


def _genomes(net: Supernet, settings: TrainConfig, steps: int) -> Callable[..., Genomes]:
    """(state, images and labels, resolution, key) -> the step's random subnets."""
    keep = choose("method", settings.method, METHODS).keep
    tables = macs_tables(net.space) if keep else {}

    def genomes(state: TrainState, piece, resolution: int, key: PRNGKey) -> Genomes:
        if settings.method == "ofa":
            return phase_genomes(key, net.space, phase_of(state.step, steps))
        if keep is None:
            return net.space.sample(key, settings.random_subnets)
        images, labels = piece

        def loss(genome):
            return hard_loss(
                net.apply(state.params, images, genome)[0], labels, settings.label_smoothing
            )

        return attentive_genomes(
            key,
            net.space,
            tables[resolution],
            loss,
            keep,
            settings.random_subnets,
            settings.candidates,
        )

    return genomes


def _gradients(
    net: Supernet, settings: TrainConfig, steps: int
) -> Callable[..., tuple[Params, Losses]]:
    """(state, images and labels, genomes, key) -> gradients and losses of one part of the batch."""
    distil = METHODS[settings.method].distil
    smoothing = settings.label_smoothing
    ops = net.ops(net.space.largest)

    def gradients(
        state: TrainState, piece, genomes: Genomes, key: PRNGKey
    ) -> tuple[Params, Losses]:
        (images, labels) = piece
        drop = make_drop(ops, key, settings.dropout, settings.drop_connect)
        if state.teacher is not None:
            phase = phase_of(state.step, steps)
            return shrinking_gradients(
                net, state.params, state.teacher, images, labels, genomes, phase, smoothing, drop
            )
        return sandwich_gradients(
            net, state.params, images, labels, genomes, smoothing, distil, drop
        )

    return gradients


def _begin_phases(
    net: Supernet, settings: TrainConfig, state: TrainState, done: int, total: int
) -> TrainState:
    """The state with which the step after `done` starts: ofa changes it where a phase begins."""
    if state.teacher is None:
        return state
    params = state.params
    teacher = state.teacher
    for phase, start in enumerate(phase_starts(total)):
        if phase and start == done:
            params, teacher = begin_phase(net, phase, params, teacher)
            optimizer = optax.tree_utils.tree_set(
                _optimizer(settings, total).init(params), count=jnp.copy(state.step)
            )
            state = TrainState(params, optimizer, state.step, teacher)
    return state


def _optimizer(settings: TrainConfig, steps: int) -> optax.GradientTransformation:
    if settings.method == "ofa":
        return sgd(shrinking_schedule(settings.learning_rate, steps), settings.weight_decay)
    warmup = min(int(settings.warmup_epochs * steps / max(settings.epochs, 1)), steps // 2)
    return sgd(warmup_cosine(settings.learning_rate, warmup, steps), settings.weight_decay)
