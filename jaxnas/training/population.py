"""Fine-tuning of a whole population in one compiled program.

Every candidate has a copy of the weights that it inherits.

Hybrid schedule (Benmeziane et al., latency-aware search for the Hailo-8L): first epochs train the
whole network, the later ones its classifier alone. Those need the other layers once: their features
are computed, kept, and the classifier is trained on them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from jaxnas.data.augment import Augmentation
from jaxnas.data.batches import epoch_order
from jaxnas.data.pixels import Pixels
from jaxnas.networks.chunks import in_batches_of
from jaxnas.supernets.heads import classify, path_of_head, without_head
from jaxnas.supernets.supernet import Params, Supernet
from jaxnas.training import averaging
from jaxnas.training.device_memory import batch, crowd, image_bytes, largest_ops, training_bytes
from jaxnas.training.evaluate import Examples, hits, of_each, takes_switches, trained_logits
from jaxnas.training.losses import hard_loss
from jaxnas.training.optimizer import sgd
from jaxnas.training.recalibrate import TOGETHER, by_batches, statistics
from jaxnas.training.views import Images, training_batch
from jaxnas.training.weight_noise import WeightNoise, clipped, noisy
from jaxnas.types import Genome, Genomes, PRNGKey

QUARTER = 4  # so many times more images after each halving
Orders = tuple[Int[Array, "n"], Int[Array, "steps batch"], Int[Array, "more batch"]]


@dataclass(frozen=True)
class HybridConfig:
    """How each candidate of a search is trained, from the weights it inherits, before it is ranked.

    0 epochs of either: not at all.
    """

    epochs: int = 0
    """Of the whole network."""
    head_epochs: int = 0
    """Then of the classifier alone, on features of the images as they are, not augmented: the other
    layers run once."""
    share: float = 1.0
    """Of the training images; the same for all candidates."""
    halvings: int = 0
    """Successive halving: so many times all are trained on a quarter of what comes next, and only
    the better half goes on. It is for the error, the only objective that training decides; others
    are computed or predicted for all, and count when the halves are told apart."""
    batch_size: int = 64
    """Images per step; the remainder of an epoch that fills no batch is dropped."""
    learning_rate: float = 0.02
    """Cosine from here to 0, in either part."""
    weight_decay: float = 1e-4
    """Of kernels; norms and biases do not decay."""
    label_smoothing: float = 0.1
    """Share of a label that is spread over all classes."""
    ema_decay: float = 0.0
    """Of the moving average of the weights, by which a candidate is ranked; 0: by the last."""
    noise: WeightNoise = field(default_factory=WeightNoise)

    @property
    def trains(self) -> bool:
        return self.epochs + self.head_epochs > 0


class Tuned(NamedTuple):
    """One candidate's weights after both parts.

    Those beyond its size are as they were, but for weight decay.
    """

    params: Params
    accuracy: Float[Array, ""]  # on the examples, with recalibrated statistics


def tuned_accuracies(
    net: Supernet,
    params: Params,
    genomes: Genomes,
    live: Bool[Array, "n"],
    images: Images,
    examples: Examples,
    settings: HybridConfig,
    augmentation: Augmentation,
    key: PRNGKey,
    *,
    together: int | None = None,
    memory_gib: float | None = None,
    mesh: Mesh | None = None,
) -> Float[Array, "n"]:
    """Top-1 accuracy of each genome after its training; NaN where `live` is false.

    Called and spread as `evaluate.accuracies`.

    All candidates see the same images in the same order. At most `together` are trained side by
    side (`vmap`): by default 1 on a CPU, where they take turns, elsewhere 16, or as many as have
    room for weights and activations in `memory_gib`, by default half of the device's memory.
    """
    together = together or crowd(_bytes(net, params, examples, settings), memory_gib)

    def one(params, genome, data):
        images, examples, same = data
        return tuned(
            net,
            params,
            genome,
            images,
            examples,
            settings,
            augmentation,
            jax.random.wrap_key_data(same),
        ).accuracy

    return of_each(
        one, params, genomes, live, (images, examples, jax.random.key_data(key)), together, mesh
    )


def _bytes(net: Supernet, params: Params, examples: Examples, settings: HybridConfig) -> int:
    """What one candidate takes.

    Its weights, their gradients, momentum and average, and its activations in training or
    recalibration.
    """
    resolution = examples.calibration.shape[1]
    ops = largest_ops(net, resolution)
    trained = settings.batch_size * training_bytes(ops) if settings.epochs else 0
    activations = max(
        trained, min(len(examples.calibration), TOGETHER) * image_bytes(ops, resolution)
    )
    copies = 4 if settings.ema_decay else 3
    return activations + copies * sum(leaf.nbytes for leaf in jax.tree.leaves(params))


def tuned(
    net: Supernet,
    params: Params,
    genome: Genome,
    images: Images,
    examples: Examples,
    settings: HybridConfig,
    augmentation: Augmentation,
    key: PRNGKey,
) -> Tuned:
    """One candidate, its genome traced: what `tuned_accuracies` does with each."""
    order_key, step_key = jax.random.split(key)
    head_key = step_key
    if settings.noise.noisy:
        step_key, head_key = jax.random.split(step_key)
    rows, whole, later = orders(order_key, len(images.labels), settings)
    chosen = images._replace(images=images.images[rows], labels=images.labels[rows])
    resolution = examples.images.shape[1]
    params = _train_whole(
        net, params, genome, chosen, whole, settings, augmentation, resolution, step_key
    )
    describe = _features(net, params, genome, examples.calibration)
    plain = describe(_plain(chosen, resolution, augmentation)) if settings.head_epochs else None
    name = path_of_head(net.space)
    head = params[name]
    if plain is not None:
        head = _train_head(head, plain, chosen, later, settings, head_key)
    correct = hits(classify(head, describe(examples.images)), examples.labels)
    return Tuned({**params, name: head}, correct / len(examples.labels))


def _plain(images: Images, resolution: int, augmentation: Augmentation) -> Pixels:
    """Images as they are, not varied."""
    return Pixels(images.images, images.mean, images.deviation, resolution, augmentation.resizing)


def orders(key: PRNGKey, images: int, settings: HybridConfig) -> Orders:
    """Indices: the training subset, and into it the batches of both parts' epochs.

    The first part trains the whole network, the second its classifier.
    """
    share_key, whole_key, head_key = jax.random.split(key, 3)
    rows = jax.random.permutation(share_key, jnp.arange(images, dtype=jnp.int32))[
        : round(settings.share * images)
    ]
    parts = (whole_key, settings.epochs), (head_key, settings.head_epochs)
    whole, head = (_steps(key, epochs, len(rows), settings.batch_size) for key, epochs in parts)
    return rows, whole, head


def _train_whole(
    net: Supernet,
    params: Params,
    genome,
    images: Images,
    order,
    settings,
    augmentation,
    resolution: int,
    key,
) -> Params:
    def loss(params, xs):
        rows, data = xs
        key = noise_key = jax.random.wrap_key_data(data)
        if settings.noise.noisy:
            key, noise_key = jax.random.split(key)
        batch = training_batch(key, images, rows, augmentation, resolution)
        seen = noisy(noise_key, params, settings.noise)
        logits = trained_logits(net, seen, genome, batch.images)
        return hard_loss(logits, batch.labels, settings.label_smoothing, batch.weights)

    keys = jax.random.key_data(jax.random.split(key, len(order)))
    return _descend(loss, params, (order, keys), settings)


def _train_head(
    head: Params,
    features: Float[Array, "n c"],
    images: Images,
    order,
    settings: HybridConfig,
    key: PRNGKey,
) -> Params:
    def loss(head, xs):
        rows, data = xs
        if data is not None:
            head = noisy(jax.random.wrap_key_data(data), head, settings.noise)
        logits = classify(head, features[rows])
        labels = images.labels[rows]
        return hard_loss(logits, labels, settings.label_smoothing, images.weights(labels))

    keys = None
    if settings.noise.noisy:
        keys = jax.random.key_data(jax.random.split(key, len(order)))
    return _descend(loss, head, (order, keys), settings)


def _steps(key: PRNGKey, epochs: int, n: int, batch_size: int) -> Int[Array, "steps batch"]:
    """The rows of every step of all epochs."""
    orders = [epoch_order(one, n, batch_size) for one in jax.random.split(key, epochs)]
    return jnp.concatenate(orders) if orders else jnp.zeros((0, batch_size), jnp.int32)


def _descend(loss, weights: Params, steps, settings: HybridConfig) -> Params:
    """SGD over `steps`, in one loop."""
    count = len(jax.tree.leaves(steps)[0])
    tx = sgd(
        optax.cosine_decay_schedule(settings.learning_rate, max(count, 1)), settings.weight_decay
    )

    def step(state, xs):
        weights, optimizer, average = state
        count = optax.tree_utils.tree_get(optimizer, "count")
        updates, optimizer = tx.update(jax.grad(loss)(weights, xs), optimizer, weights)
        weights = cast(Params, optax.apply_updates(weights, updates))
        weights = clipped(weights, settings.noise)
        average = averaging.moved(settings.ema_decay, average, weights, count)
        return (weights, optimizer, average), None

    first = (weights, tx.init(weights), averaging.begun(settings.ema_decay, weights))
    last, _, average = jax.lax.scan(step, first, steps)[0]
    return averaging.evaluated(last, average)


def _features(
    net: Supernet, params: Params, genome: Genome, calibration: Float[Array, "m h w c"]
) -> Callable[[Array | Pixels], Float[Array, "n c"]]:
    """The function from images to what the classifier sees, (n, c).

    With statistics of the weights as they are now.
    """
    params = without_head(params, net.space)
    if net.switched is not None and takes_switches(net):
        weights = by_batches(partial(net.switched.calibrate, params, genome), calibration)
        return partial(net.switched.logits, weights, genome)
    stats = statistics(net, params, genome, calibration)
    size = batch(image_bytes(largest_ops(net, calibration.shape[1]), calibration.shape[1]))
    return partial(in_batches_of, size, lambda part: net.apply(params, part, genome, stats)[0])
