"""What a method of training is, and the settings, state and losses that all methods share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxnas.data.mixing import Labels
from jaxnas.plugins import Name, named
from jaxnas.relaxations.architecture import Architecture
from jaxnas.relaxations.settings import RelaxedConfig
from jaxnas.spaces.space import Space
from jaxnas.supernets.supernet import Params, Supernet
from jaxnas.training.averaging import Average, evaluated
from jaxnas.training.dropout import Drop
from jaxnas.training.enas_settings import EnasConfig
from jaxnas.training.pareto_settings import ParetoConfig
from jaxnas.training.weight_noise import WeightNoise
from jaxnas.types import PRNGKey

Extra = Any  # a pytree of arrays
Subnets = Any  # a pytree of arrays: genomes, or probabilities of choices


@dataclass(frozen=True)
class TrainConfig:
    """The supernet's training."""

    method: Name = "sandwich"
    """sandwich: largest, smallest and random subnets, distilled; alphanet: so by alpha-divergence;
    best_up, worst_up: random subnets chosen by loss at a drawn MACs; ofa: progressive shrinking.
    Where choices have no order: spos: random subnets, each on labels; fairnas: so many of them that
    each operation is trained as often. pareto_rank: fairnas, then subnets whose order by accuracy
    and a cost is trained, too (train.pareto). Which networks are best is learnt along with the
    weights by relaxed, by gradient (train.relaxed), and by enas, by a controller (train.enas); they
    are candidates of the search's first generation."""
    epochs: int = 40
    """Of all phases together with ofa."""
    batch_size: int = 64
    """Images per step; the remainder of an epoch that fills no batch is dropped."""
    random_subnets: int = 2
    """Random subnets per step, besides the largest and the smallest; not read with ofa, whose
    phases set their own number, and fairnas. spos is published with 1, and has no others."""
    candidates: int = 3
    """best_up, worst_up: subnets drawn for each random one that is trained."""
    learning_rate: float = 0.1
    """Peak of SGD with Nesterov momentum 0.9; cosine to 0, times linear warm-up. With ofa it is the
    first phase's, and the later phases have less in proportion."""
    warmup_epochs: float = 2.0
    """Epochs of linear warm-up; not read with ofa, whose phases set their own."""
    weight_decay: float = 1e-4
    """Of kernels; norms and biases do not decay."""
    label_smoothing: float = 0.1
    """Share of a label that is spread over all classes."""
    class_weights: str | None = None
    """How much each class counts in all losses, the fine-tuning's too: balanced, in inverse
    proportion to its training images, or a number for each, as 1,2.5,1. They are scaled so that
    their mean over the training images is 1. Accuracies stay plain shares of images."""
    dropout: float = 0.0
    """Of the classifier's inputs in the largest network."""
    drop_connect: float = 0.0
    """Of blocks with a plain shortcut in the last two stages of the largest network, rising towards
    the last; where blocks lie in no stages, of all."""
    ema_decay: float = 0.0
    """Of the moving average of the weights, which is evaluated and shipped in their place: what a
    step keeps of it, such as 0.999, less in the first steps. 0: the last weights are."""
    precision: str = "float32"
    """Of activations and gradients through them: float32 or bfloat16; weights, statistics and
    losses are float32."""
    accumulate: int = 1
    """Parts of a batch that go through the networks one after the other, each with statistics of
    its own, to save memory."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    checkpoint_minutes: float = 5.0
    """Longest time between checkpoints, in minutes; of the fine-tuning, too, which also has a
    checkpoint after each epoch."""
    log_seconds: float = 10.0
    """Longest time between lines of metrics.jsonl, in seconds. The first 200 steps and the last of
    each epoch have one whatever the time."""
    evaluated_subnets: int = 0
    """Random subnets that are evaluated after each epoch, with the largest and the smallest one, as
    the search evaluates candidates; metrics.jsonl has their accuracy. 0: no subnet is."""
    relaxed: RelaxedConfig = field(default_factory=RelaxedConfig)
    enas: EnasConfig = field(default_factory=EnasConfig)
    pareto: ParetoConfig = field(default_factory=ParetoConfig)
    noise: WeightNoise = field(default_factory=WeightNoise)

    def __post_init__(self):
        object.__setattr__(self, "method", named(self.method))


class TrainState(NamedTuple):
    """All that a step changes; what a checkpoint holds."""

    params: Params
    optimizer: optax.OptState
    step: Int[Array, ""]
    extra: Extra = ()  # the method's own
    average: Average = ()  # of the weights, where one is kept

    @property
    def evaluated(self) -> Params:
        """The weights that are evaluated and shipped."""
        return evaluated(self.params, self.average)

    def started_from(self, params: Params) -> "TrainState":
        """The state with these weights, of which an average begins anew."""
        average = jax.tree.map(jnp.copy, params) if jax.tree.leaves(self.average) else ()
        return self._replace(params=params, average=average)


class Batch(NamedTuple):
    """Augmented, normalised images of one resolution, (n, h, w, c), and their labels, (n,).

    The labels of mixed images are two, and a share: `losses.hard_loss` takes either. `weights`,
    (n,), are those of the images in a loss; None: all count alike.
    """

    images: Array
    labels: Labels
    weights: Array | None = None


class Losses(NamedTuple):
    """Mean losses of one step: of the largest network, the smallest and the subnets drawn.

    None where a method does not compute one in every step.
    """

    largest: Float[Array, ""] | None
    smallest: Float[Array, ""] | None
    random: Float[Array, ""]


@runtime_checkable
class Method(Protocol):
    """A way to train a supernet: a frozen dataclass whose fields are its settings.

    `draw` and `gradients` are traced once for each resolution; the others run on the host. `steps`
    is the whole training's number of steps. The loop owns the batches, the optimizer and the
    checkpoints, and hands `extra`, a pytree of arrays, from step to step.
    """

    def check(self, space: Space) -> None:
        """Refuses a space that the method cannot train, by a `UserError`."""
        ...

    def init(self, params: Params) -> Extra:
        """What the method keeps beside the weights, at first; () if it keeps nothing."""
        ...

    def begin(
        self, net: Supernet, done: int, steps: int, params: Params, extra: Extra
    ) -> tuple[Params, Extra] | None:
        """What the step after `done` starts from; None: from what the step before left.

        Where it is not None, the optimizer starts anew; its schedule goes on.
        """
        ...

    def draw(
        self, net: Supernet, state: TrainState, steps: int, batch: Batch, key: PRNGKey
    ) -> Subnets:
        """The subnets of a step, drawn once for all parts of its batch; `batch` is the first."""
        ...

    def gradients(
        self,
        net: Supernet,
        state: TrainState,
        steps: int,
        batch: Batch,
        subnets: Subnets,
        drop: Drop,
    ) -> tuple[Params, Extra, Losses]:
        """Summed gradients, the new `extra` and the losses of one part of a batch.

        `drop` is the dropout and drop-connect of the largest network, for `forward`.
        """
        ...

    def schedule(self, settings: TrainConfig, steps: int) -> optax.Schedule:
        """The learning rate of every step."""
        ...


@runtime_checkable
class HeldOut(Protocol):
    """What a `Method` has besides, if it keeps training images from the weights.

    The loop divides the training split, the same way throughout, and gives every step a batch of
    either part.
    """

    @property
    def held_out(self) -> float:
        """Share of the training images that are kept from the weights."""
        ...

    def start(self, space: Space) -> Extra:
        """What the method keeps beside the weights, at first; asked in place of `init`."""
        ...

    def tune(
        self,
        net: Supernet,
        state: TrainState,
        steps: int,
        batch: Batch,
        held_out: Batch,
        key: PRNGKey,
    ) -> Extra:
        """The new `extra`, before the step's `draw` and `gradients`."""
        ...


@runtime_checkable
class Bilevel(HeldOut, Protocol):
    """What a `Method` has besides, if on such images it learns which networks are best."""

    def learnt(self, space: Space, extra: Extra) -> list[Architecture]:
        """What it has come to; on the host."""
        ...


MakeMethod = Callable[[TrainConfig], Method]  # what a name of a method stands for
