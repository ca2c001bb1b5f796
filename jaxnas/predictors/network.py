"""Networks over encodings of genomes: an encoder and a perceptron, trained by any loss."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Key

from jaxnas.errors import UserError
from jaxnas.predictors.encoders import Encoder, Weights, dense, joined, part_of
from jaxnas.predictors.predictor import (
    Arrays,
    Choices,
    Latencies,
    check_count,
    check_genomes,
    checked,
)
from jaxnas.predictors.ranking import LOSSES, Loss
from jaxnas.predictors.targets import check_targets, standard
from jaxnas.spaces.space import Space
from jaxnas.types import PRNGKey

WARM_UP = 0.05  # share of the steps in which the learning rate rises

ColumnsLoss = Callable[
    [Float[Array, "n outputs"], Float[Array, "n outputs"], PRNGKey], Float[Array, ""]
]


@dataclass(frozen=True)
class Network:
    """A figure of networks by an encoder and a perceptron (`predictor.Method`).

    AdamW with a cosine schedule, `steps` batches drawn with replacement. By the loss `rmse` it
    learns the figures, in standard deviations, and of `positive` ones their logarithms, so that
    relative errors count alike; by another of `ranking.LOSSES` it learns their order alone, and
    predicts a score without a unit, the less the better. Refused is what `targets.check_targets`
    names.
    """

    encoder: Encoder
    loss: str = "rmse"
    positive: bool = True
    hidden: tuple[int, ...] = (128, 128)
    steps: int = 2000
    batch: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 0.01

    def __post_init__(self):
        if self.loss not in LOSSES:
            raise UserError(f"loss must be one of {', '.join(LOSSES)}, got {self.loss!r}")

    def fit(
        self,
        key: PRNGKey,
        space: Space,
        genomes: Choices,
        targets: Latencies,
        used: Bool[np.ndarray, "k n"],
    ) -> "Fitted":
        """One network for each row of `used`, all trained side by side in one program."""
        return self.fitted(key, space, genomes, np.asarray(targets)[:, None], used)

    def fitted(
        self,
        key: PRNGKey,
        space: Space,
        genomes: Choices,
        columns: Float[np.ndarray, "n outputs"],
        used: Bool[np.ndarray, "k n"],
    ) -> "Fitted":
        """As `fit`, of several figures at once, an output each."""
        check_genomes(space, genomes)
        check_count(genomes, columns)
        check_targets(columns, used, self.positive)
        targets, mean, deviation = standard(columns, used, self.positive)
        features = encoded(self.encoder, space, jnp.asarray(genomes))
        keys = jax.random.split(key, (2, len(used)))
        start = jax.vmap(lambda key: self.fresh(key, features, columns.shape[1]))(keys[0])
        loss = each_column(LOSSES[self.loss])
        weights = learnt(self, loss, keys[1], start, features, targets, jnp.asarray(used))
        return Fitted(space, self, weights, mean, deviation)

    def from_arrays(self, space: Space, arrays: Arrays, count: int) -> "Fitted":
        """Of one output."""
        one = jax.ShapeDtypeStruct((1, len(space.genes)), jnp.int32)
        fresh = jax.eval_shape(
            lambda genomes: self.fresh(jax.random.key(0), encoded(self.encoder, space, genomes), 1),
            one,
        )
        shapes = {name: (count, *x.shape) for name, x in fresh.items()}
        found = checked(space, arrays, shapes | {"mean": (count, 1), "deviation": (count, 1)})
        return Fitted(space, self, found, found.pop("mean"), found.pop("deviation"))

    def fresh(self, key: PRNGKey, features: Any, outputs: int) -> Weights:
        """Weights for features of these shapes."""
        first, second = jax.random.split(key)
        encoder = self.encoder.fresh(first, features)
        width = jax.eval_shape(self.encoder.encode, encoder, features).shape[-1]
        head = {}
        for layer, sides in enumerate(pairwise((width, *self.hidden, outputs))):
            head[f"w{layer}"] = dense(jax.random.fold_in(second, layer), *sides)
            head[f"b{layer}"] = jnp.zeros(sides[1], jnp.float32)
        return joined((encoder, head))

    def scores(self, weights: Weights, features: Any) -> Float[Array, "n outputs"]:
        """In standard deviations, or of no unit."""
        x = self.encoder.encode(part_of(weights, 0), features)
        head = part_of(weights, 1)
        for layer in range(len(self.hidden)):
            x = jax.nn.swish(x @ head[f"w{layer}"] + head[f"b{layer}"])
        last = len(self.hidden)
        return x @ head[f"w{last}"] + head[f"b{last}"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Fitted:
    """Networks of one shape, side by side (`predictor.Members`): a pytree."""

    space: Space = field(metadata={"static": True})
    network: Network = field(metadata={"static": True})
    weights: Weights  # every array with a leading axis, the members
    mean: Float[Array, "k outputs"]
    deviation: Float[Array, "k outputs"]

    def predict(self, genomes: Choices) -> Float[Array, "k n"]:
        """Of the first output."""
        return self.outputs(genomes)[..., 0]

    def outputs(self, genomes: Choices) -> Float[Array, "k n outputs"]:
        """All that was learnt, in the units of the targets, or scores."""
        check_genomes(self.space, genomes)
        scores = self.scores(genomes)
        if self.network.loss != "rmse":
            return scores
        found = scores * self.deviation[:, None] + self.mean[:, None]
        return jnp.exp(found) if self.network.positive else found

    @jax.jit
    def scores(self, genomes: Choices) -> Float[Array, "k n outputs"]:
        features = encoded(self.network.encoder, self.space, genomes)
        return jax.vmap(self.network.scores, (0, None))(self.weights, features)

    def arrays(self) -> dict[str, Array]:
        return self.weights | {"mean": self.mean, "deviation": self.deviation}


@partial(jax.jit, static_argnames=("encoder", "space"))
def encoded(encoder: Encoder, space: Space, genomes: Choices) -> Any:
    """What an encoder sees of genomes."""
    return encoder.features(space, genomes)


@cache
def each_column(loss: Loss) -> ColumnsLoss:
    """The mean of a loss over all outputs."""
    return lambda scores, targets, key: jnp.mean(jax.vmap(loss, (1, 1, None))(scores, targets, key))


@partial(jax.jit, static_argnames=("network", "loss"))
def learnt(
    network: Network,
    loss: ColumnsLoss,
    keys: Key[Array, "k"],
    start: Weights,
    features: Any,
    targets: Float[Array, "k n outputs"],
    used: Bool[Array, "k n"],
) -> Weights:
    """Trains from `start`, every array with a leading axis, one network for each row of `used`."""
    rate = optax.warmup_cosine_decay_schedule(
        0.0, network.learning_rate, int(WARM_UP * network.steps), network.steps
    )
    matrices = {name: x.ndim > 2 for name, x in start.items()}
    optimiser = optax.adamw(rate, weight_decay=network.weight_decay, mask=matrices)

    def one(key, weights, targets, used):
        rows = jnp.argsort(~used)
        count = used.sum()

        def step(carry, i):
            weights, state = carry
            drawn, tied = jax.random.split(jax.random.fold_in(key, i))
            batch = rows[jax.random.randint(drawn, (network.batch,), 0, count)]
            seen = jax.tree.map(lambda x: x[batch], features)
            gradient = jax.grad(lambda w: loss(network.scores(w, seen), targets[batch], tied))
            updates, state = optimiser.update(gradient(weights), state, weights)
            return (jax.tree.map(jnp.add, weights, updates), state), None

        start = (weights, optimiser.init(weights))
        return jax.lax.scan(step, start, jnp.arange(network.steps))[0][0]

    return jax.vmap(one)(keys, start, targets, used)
