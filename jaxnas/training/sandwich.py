"""The sandwich rule with in-place distillation (Yu & Huang 2019).

One step trains the largest, the smallest and random subnets.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from jaxnas.data.mixing import Labels
from jaxnas.networks.subnet import forward
from jaxnas.plugins import leaves_unread
from jaxnas.spaces.space import Space
from jaxnas.supernets.supernet import Params, Supernet, take
from jaxnas.training.dropout import Drop
from jaxnas.training.losses import alpha_loss, distillation_loss, hard_loss
from jaxnas.training.method import Batch, Losses, TrainConfig, TrainState
from jaxnas.training.optimizer import warmed_up
from jaxnas.types import Genomes, PRNGKey

# (net, params, batch, key) -> the random subnets of a step.
Sampler = Callable[[Supernet, Params, Batch, PRNGKey], Genomes]


@dataclass(frozen=True)
class Uniform:
    """So many subnets, every gene uniform over its choices."""

    subnets: int = 2

    def __call__(self, net: Supernet, params: Params, batch: Batch, key: PRNGKey) -> Genomes:
        return net.space.sample(key, self.subnets)


@dataclass(frozen=True)
class Sandwich:
    """The largest network learns from labels and teaches the smallest and the random ones."""

    sampler: Sampler = Uniform()
    smoothing: float = 0.1
    """Share of a label that is spread over all classes."""
    distil: Callable[..., Float[Array, ""]] = distillation_loss
    """(logits, the teacher's logits, weights of the images) -> the loss of a taught network."""

    def check(self, space: Space) -> None:
        """Every space can be trained so."""

    def init(self, params: Params) -> tuple[()]:
        return ()

    def begin(self, net: Supernet, done: int, steps: int, params: Params, extra: tuple[()]) -> None:
        """All steps are alike."""

    def draw(
        self, net: Supernet, state: TrainState, steps: int, batch: Batch, key: PRNGKey
    ) -> Genomes:
        return self.sampler(net, state.params, batch, key)

    def gradients(
        self,
        net: Supernet,
        state: TrainState,
        steps: int,
        batch: Batch,
        subnets: Genomes,
        drop: Drop,
    ) -> tuple[Params, tuple[()], Losses]:
        found, losses = sandwich_gradients(
            net,
            state.params,
            batch.images,
            batch.labels,
            subnets,
            self.smoothing,
            self.distil,
            drop,
            batch.weights,
        )
        return found, (), losses

    def schedule(self, settings: TrainConfig, steps: int) -> optax.Schedule:
        return warmed_up(settings, steps)


@leaves_unread("candidates")
def sandwich(settings: TrainConfig) -> Sandwich:
    """The sandwich rule as published."""
    return Sandwich(Uniform(settings.random_subnets), settings.label_smoothing)


@leaves_unread("candidates")
def alphanet(settings: TrainConfig) -> Sandwich:
    """AlphaNet (Wang et al. 2021): the sandwich rule with another loss of the taught networks."""
    return Sandwich(Uniform(settings.random_subnets), settings.label_smoothing, alpha_loss)


def sandwich_gradients(
    net: Supernet,
    params: Params,
    images: Float[Array, "batch h w c"],
    labels: Labels,
    genomes: Genomes,
    smoothing: float,
    distil: Callable[..., Float[Array, ""]] = distillation_loss,
    drop: Drop | None = None,
    weights: Float[Array, "batch"] | None = None,
) -> tuple[Params, Losses]:
    """Summed gradients of the largest, the smallest and the given subnets.

    The largest learns from labels; its logits teach the others.

    The largest and the smallest are static slices of the weights; `genomes` (k, genes) are traced,
    so that every draw runs in the same program. All use batch statistics. `distil` (logits, the
    teacher's logits, weights) is the loss of a taught network; `drop` regularises the largest only;
    `weights` are those of the images in all losses.
    """
    largest, gradients, teacher = largest_gradients(
        net, params, images, labels, smoothing, drop, weights
    )
    ops = net.ops(net.space.smallest)
    smallest, more = jax.value_and_grad(
        lambda p: distil(forward(ops, take(p, ops), images)[0], teacher, weights)
    )(params)
    gradients = jax.tree.map(jnp.add, gradients, more)

    def one(gradients: PyTree, genome):
        loss, more = jax.value_and_grad(
            lambda p: distil(net.apply(p, images, genome)[0], teacher, weights)
        )(params)
        return jax.tree.map(jnp.add, gradients, more), loss

    gradients, random = jax.lax.scan(one, gradients, genomes)
    return gradients, Losses(largest, smallest, jnp.mean(random))


def largest_gradients(
    net: Supernet,
    params: Params,
    images: Float[Array, "batch h w c"],
    labels: Labels,
    smoothing: float,
    drop: Drop | None,
    weights: Float[Array, "batch"] | None = None,
) -> tuple[Float[Array, ""], Params, Float[Array, "batch classes"]]:
    """Loss of the largest network on hard labels, its gradients and its logits.

    A static slice, batch statistics.
    """
    ops = net.ops(net.space.largest)

    def objective(params):
        logits, _ = forward(ops, take(params, ops), images, drop=drop)
        return hard_loss(logits, labels, smoothing, weights), logits

    (loss, logits), gradients = jax.value_and_grad(objective, has_aux=True)(params)
    return loss, gradients, logits
