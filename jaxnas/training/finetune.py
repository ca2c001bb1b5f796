"""Training of one chosen network on its own, from the weights it inherits."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxnas.data.augment import Augmentation
from jaxnas.data.batches import epoch_order, steps_of_epoch
from jaxnas.networks.subnet import Arrays, Subnet, forward
from jaxnas.training import averaging
from jaxnas.training.averaging import Average
from jaxnas.training.losses import distillation_loss, hard_loss
from jaxnas.training.optimizer import sgd, warmed_up
from jaxnas.training.streaming import TrainingImages
from jaxnas.training.views import Images, Orders, training_batch
from jaxnas.training.weight_noise import WeightNoise, clipped, noisy
from jaxnas.types import PRNGKey


@dataclass(frozen=True)
class FinetuneConfig:
    """Training of the chosen networks on their own."""

    epochs: int = 10
    """Of each chosen network; 0: as it was in the supernet."""
    batch_size: int = 64
    """Images per step; the remainder of an epoch that fills no batch is dropped."""
    learning_rate: float = 0.02
    """Cosine from here to 0."""
    weight_decay: float = 1e-4
    """Of kernels; norms and biases do not decay."""
    label_smoothing: float = 0.1
    """Share of a label that is spread over all classes."""
    warmup_epochs: float = 0.0
    """First epochs, in which the learning rate also rises linearly."""
    ema_decay: float = 0.0
    """Of the moving average of the weights, which is evaluated and shipped in their place: what a
    step keeps of it, such as 0.999, less in the first steps. 0: the last weights are."""
    teacher: str | None = None
    """Whose answers a network also learns from: largest, the supernet's largest network as the
    search evaluates it; that of another run, by its folder; or that of weights of this run's space,
    as --weights takes them."""
    distillation: float = 0.5
    """Share of the loss that is the teacher's; the labels have the rest."""
    networks: int = 3
    """Networks chosen; one more for each cost beyond the first, unless `under` names budgets."""
    under: tuple[str, ...] = ()
    """The most accurate networks of the front within these budgets are chosen, NAME=NUMBER:
    latency_ms=3 mmacs=20. By default one for each role: the most accurate, the fastest, the
    knee."""
    within_points: float = 5.0
    """The fastest network is chosen within this many percentage points of the most accurate one's
    accuracy."""
    noise: WeightNoise = field(default_factory=WeightNoise)


class FinetuneState(NamedTuple):
    """All that an epoch changes."""

    weights: Arrays
    optimizer: optax.OptState
    average: Average = ()  # of the weights, where one is kept

    @property
    def evaluated(self) -> Arrays:
        """The weights that are evaluated and shipped."""
        return averaging.evaluated(self.weights, self.average)


def finetune(
    subnet: Subnet,
    images: TrainingImages,
    resolution: int,
    settings: FinetuneConfig,
    augmentation: Augmentation,
    key: PRNGKey,
    state: FinetuneState | None = None,
    start: int = 0,
    stepped: Callable[[Float[Array, ""]], None] = lambda loss: None,
    teacher: Subnet | None = None,
) -> Iterator[tuple[int, FinetuneState, Float[Array, ""]]]:
    """Yields (epochs done, state, mean loss) after every epoch, from epoch `start` with `state` on.

    Batch statistics in training; the caller recalibrates before evaluating. `stepped` is told the
    loss of every step.
    """
    per_epoch = steps_of_epoch(images.total, settings.batch_size)
    losses = []
    for step, current, loss in finetune_steps(
        subnet, images, resolution, settings, augmentation, key, state, start * per_epoch, teacher
    ):
        losses.append(loss)
        stepped(loss)
        if step % per_epoch == 0:
            yield step // per_epoch, current, jnp.mean(jnp.stack(losses))
            losses.clear()


def finetune_steps(
    subnet: Subnet,
    images: TrainingImages,
    resolution: int,
    settings: FinetuneConfig,
    augmentation: Augmentation,
    key: PRNGKey,
    state: FinetuneState | None = None,
    start: int = 0,
    teacher: Subnet | None = None,
) -> Iterator[tuple[int, FinetuneState, Float[Array, ""]]]:
    """Yields (steps done, state, loss) after every step, from step `start` with `state` on.

    Bit for bit as if never stopped. A `teacher` answers with its stored statistics.
    """
    order_key, step_key = jax.random.split(key)
    n = images.total
    per_epoch = steps_of_epoch(n, settings.batch_size)
    current = state if state is not None else init_state(subnet, settings, n)
    keys = None
    epochs = _orders(order_key, start, n, settings)
    for done, (some, (rows,)) in enumerate(images.batches(epochs), start):
        epoch, step = divmod(done, per_epoch)
        if keys is None or step == 0:
            keys = jax.random.split(jax.random.fold_in(step_key, epoch), per_epoch)
        current, loss = _step(
            current,
            keys[step],
            some,
            rows,
            subnet.ops,
            settings,
            augmentation,
            resolution,
            n,
            teacher,
        )
        yield done + 1, current, loss


def _orders(key: PRNGKey, start: int, n: int, settings: FinetuneConfig) -> Iterator[Orders]:
    """The batches of each epoch from the step `start` on."""
    begun, done = divmod(start, max(steps_of_epoch(n, settings.batch_size), 1))
    for epoch in range(begun, settings.epochs):
        order = epoch_order(jax.random.fold_in(key, epoch), n, settings.batch_size)
        yield (order[done:] if done else order,)
        done = 0


def init_state(subnet: Subnet, settings: FinetuneConfig, images: int) -> FinetuneState:
    """The inherited weights and a fresh optimizer, for a training split of `images` images."""
    tx = _optimizer(settings, images)
    average = averaging.begun(settings.ema_decay, subnet.weights)
    return FinetuneState(subnet.weights, tx.init(subnet.weights), average)


@partial(jax.jit, static_argnums=(4, 5, 6, 7, 8))
def _step(
    state: FinetuneState,
    key,
    images: Images,
    rows: Int[Array, "batch"],
    ops,
    settings: FinetuneConfig,
    augmentation,
    resolution: int,
    total: int,
    teacher: Subnet | None = None,
):
    noise_key = key
    if settings.noise.noisy:
        key, noise_key = jax.random.split(key)
    batch = training_batch(key, images, rows, augmentation, resolution)
    told = None if teacher is None else teacher(batch.images)

    def objective(weights):
        seen = noisy(noise_key, weights, settings.noise)
        logits = forward(ops, seen, batch.images)[0]
        loss = hard_loss(logits, batch.labels, settings.label_smoothing, batch.weights)
        if told is None:
            return loss
        share = settings.distillation
        return (1 - share) * loss + share * distillation_loss(logits, told, batch.weights)

    loss, gradients = jax.value_and_grad(objective)(state.weights)
    tx = _optimizer(settings, total)
    updates, optimizer_state = tx.update(gradients, state.optimizer, state.weights)
    weights = cast(Arrays, optax.apply_updates(state.weights, updates))
    weights = clipped(weights, settings.noise)
    average = state.average
    if settings.ema_decay:
        step = optax.tree_utils.tree_get(state.optimizer, "count")
        average = averaging.moved(settings.ema_decay, average, weights, step)
    return FinetuneState(weights, optimizer_state, average), loss


def _optimizer(settings: FinetuneConfig, images: int) -> optax.GradientTransformation:
    steps = settings.epochs * steps_of_epoch(images, settings.batch_size)
    return sgd(warmed_up(settings, steps), settings.weight_decay)
