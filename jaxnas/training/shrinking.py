"""OFA's progressive shrinking.

Kernels, depths and expand ratios become elastic one after the other (Cai et al. 2020).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from jaxnas.data.mixing import Labels
from jaxnas.networks.subnet import forward
from jaxnas.plugins import leaves_unread
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space
from jaxnas.supernets.supernet import Params, Supernet, take
from jaxnas.training.channels import sort_channels
from jaxnas.training.dropout import Drop
from jaxnas.training.losses import distillation_loss, hard_loss
from jaxnas.training.method import Batch, Losses, TrainConfig, TrainState
from jaxnas.training.optimizer import warmup_cosine
from jaxnas.training.sandwich import largest_gradients
from jaxnas.types import Genomes, PRNGKey

KD_RATIO = 1.0  # weight of the teacher's soft labels, beside the hard ones
ALL = 1 << 10  # down to the smallest choice
# Kinds of genes, and the field of a phase that limits them. Others, such as operations, have no
# order to shrink along: they are elastic from the first phase that trains subnets on.
LIMITED = {"kernel": "kernel", "depth": "depth", "expand": "expand", "width": "expand"}


@dataclass(frozen=True)
class Phase:
    """A part of the schedule. Epochs and learning rates count relative to the other phases'."""

    name: str
    epochs: float
    learning_rate: float
    """Peak: cosine from here to 0, times the warm-up."""
    warmup_epochs: float
    """The first of the epochs; OFA's come before them."""
    subnets: int
    """Random subnets per step; 0 trains the largest network, which is the teacher of all later
    phases."""
    kernel: int = 0
    """Choices below the largest that genes of this kind may take."""
    depth: int = 0
    expand: int = 0
    """Of widths, too."""


# As published, for 64 images per device; the paper has the largest network trained at 2.6 over 32
# devices, and no warm-up said.
PHASES = (
    Phase("largest", 180, 2.6 / 32, 5, 0),
    Phase("kernel", 120, 0.03, 5, 1, ALL),
    Phase("depth, first", 25, 0.0025, 0, 2, ALL, 1),
    Phase("depth, second", 120, 0.0075, 5, 2, ALL, ALL),
    Phase("expand, first", 25, 0.0025, 0, 4, ALL, ALL, 1),
    Phase("expand, second", 120, 0.0075, 5, 4, ALL, ALL, ALL),
)


@dataclass(frozen=True)
class Shrinking:
    """Trains the largest network, then subnets that it teaches, phase after phase of `PHASES`.

    The teacher is the method's own state.
    """

    smoothing: float = 0.1
    """Share of a label that is spread over all classes."""

    def check(self, space: Space) -> None:
        """Every space can be trained so."""

    def init(self, params: Params) -> Params:
        return jax.tree.map(jnp.zeros_like, params)

    def begin(
        self, net: Supernet, done: int, steps: int, params: Params, extra: Params
    ) -> tuple[Params, Params] | None:
        begun = [i for i, start in enumerate(phase_starts(steps)) if i and start == done]
        for phase in begun:
            params, extra = begin_phase(net, phase, params, extra)
        return (params, extra) if begun else None

    def draw(
        self, net: Supernet, state: TrainState, steps: int, batch: Batch, key: PRNGKey
    ) -> Genomes:
        return phase_genomes(key, net.space, phase_of(state.step, steps))

    def gradients(
        self,
        net: Supernet,
        state: TrainState,
        steps: int,
        batch: Batch,
        subnets: Genomes,
        drop: Drop,
    ) -> tuple[Params, Params, Losses]:
        phase = phase_of(state.step, steps)
        found, losses = shrinking_gradients(
            net,
            state.params,
            state.extra,
            batch.images,
            batch.labels,
            subnets,
            phase,
            self.smoothing,
            drop,
            batch.weights,
        )
        return found, state.extra, losses

    def schedule(self, settings: TrainConfig, steps: int) -> optax.Schedule:
        return shrinking_schedule(settings.learning_rate, steps)


@leaves_unread("random_subnets", "warmup_epochs", "candidates")  # phases have their own
def ofa(settings: TrainConfig) -> Shrinking:
    """Once-for-All."""
    return Shrinking(settings.label_smoothing)


def phase_starts(steps: int) -> tuple[int, ...]:
    """The first step of every phase, of a training of `steps`, shared out by the phases' epochs.

    >>> phase_starts(590)
    (0, 180, 300, 325, 445, 470)
    """
    before = np.cumsum([0, *(phase.epochs for phase in PHASES)])
    return tuple(round(steps * share) for share in (before[:-1] / before[-1]).tolist())


def shrinking_schedule(peak: float, steps: int) -> optax.Schedule:
    """Learning rates of all phases; `peak` is the first one's, and scales the others."""
    starts = phase_starts(steps)
    lengths = np.diff([*starts, steps])
    rates = [
        warmup_cosine(
            peak * phase.learning_rate / PHASES[0].learning_rate,
            round(n * phase.warmup_epochs / phase.epochs),
            n,
        )
        for phase, n in zip(PHASES, lengths.tolist(), strict=True)
    ]
    return optax.join_schedules(rates, starts[1:])


def lowest(space: Space, phase: Phase) -> np.ndarray:
    """The smallest choice that each gene may take in a phase, int32 (genes,).

    The largest is always allowed.
    """
    below = [_below(gene, phase) for gene in space.genes]
    return np.maximum(space.largest - np.array(below), 0).astype(np.int32)


def _below(gene: Gene, phase: Phase) -> int:
    """How many choices below the largest a gene may go; the static one is not drawn."""
    if gene.static:
        return 0
    return getattr(phase, LIMITED[gene.kind]) if gene.kind in LIMITED else ALL


def begin_phase(
    net: Supernet, phase: int, params: Params, teacher: Params
) -> tuple[Params, Params]:
    """Weights and teacher as phase number `phase` starts with them.

    After the first phase the largest network becomes the teacher. Before expand ratios shrink (in a
    space without them, widths), channels are sorted; channels of the previous phase's smallest
    network stay in front.
    """
    if phase == 1:
        teacher = jax.tree.map(jnp.copy, params)
    if PHASES[phase].expand > PHASES[phase - 1].expand:
        space = net.space
        kinds = [gene.kind for gene in space.genes]
        sorted_by = "expand" if "expand" in kinds else "width"
        narrower = np.array([kind == sorted_by for kind in kinds])
        ops = net.ops(np.where(narrower, lowest(space, PHASES[phase - 1]), space.largest))
        params = jax.jit(lambda params: sort_channels(params, space, ops))(params)
    return params, teacher


def phase_of(step: Int[Array, ""], steps: int) -> Int[Array, ""]:
    """The number of the phase that a step belongs to."""
    return jnp.searchsorted(jnp.asarray(phase_starts(steps)), step, side="right") - 1


def phase_genomes(key: PRNGKey, space: Space, phase: Int[Array, ""]) -> Genomes:
    """Random subnets, as many as any phase trains; every gene uniform over the phase's choices."""
    low = jnp.asarray(np.stack([lowest(space, each) for each in PHASES]))[phase]
    return jax.random.randint(
        key,
        (max(each.subnets for each in PHASES), len(space.genes)),
        low,
        jnp.asarray(space.sizes),
        jnp.int32,
    )


def shrinking_gradients(
    net: Supernet,
    params: Params,
    teacher: Params,
    images: Float[Array, "batch h w c"],
    labels: Labels,
    genomes: Genomes,
    phase: Int[Array, ""],
    smoothing: float,
    drop: Drop | None = None,
    weights: Float[Array, "batch"] | None = None,
) -> tuple[Params, Losses]:
    """Summed gradients of the phase's first `subnets` genomes (labels and distillation).

    In phase 0: gradients of the largest network.

    One program serves all phases. The teacher runs on batch statistics too, as in OFA's training
    mode. `drop` regularises the largest network, which is static (OFA drops features of its subnets
    also). `weights` are those of the images in all losses.
    """

    def largest():
        loss, gradients, _ = largest_gradients(
            net, params, images, labels, smoothing, drop, weights
        )
        return gradients, Losses(loss, None, loss)

    def shrunk():
        ops = net.ops(net.space.largest)
        soft = forward(ops, take(teacher, ops), images)[0]

        def loss(params, genome):
            logits = net.apply(params, images, genome)[0]
            hard = hard_loss(logits, labels, smoothing, weights)
            return hard + KD_RATIO * distillation_loss(logits, soft, weights)

        def add(i, sums):
            return jax.tree.map(jnp.add, sums, jax.value_and_grad(loss)(params, genomes[i]))

        count = jnp.asarray([each.subnets for each in PHASES], jnp.int32)[phase]
        total, gradients = jax.lax.fori_loop(
            0, count, add, (jnp.float32(0), jax.tree.map(jnp.zeros_like, params))
        )
        taught = hard_loss(soft, labels, smoothing, weights)
        return gradients, Losses(taught, None, total / count)

    return jax.lax.cond(phase == 0, largest, shrunk)
