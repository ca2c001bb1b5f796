"""Uniform sampling of single paths (SPOS; Guo et al., ECCV 2020).

For choices without an order, where no network is the largest and could teach the others.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax

from jaxnas.plugins import leaves_unread
from jaxnas.spaces.space import Space
from jaxnas.supernets.supernet import Params, Supernet
from jaxnas.training.dropout import Drop
from jaxnas.training.evaluate import trained_logits
from jaxnas.training.losses import hard_loss
from jaxnas.training.method import Batch, Losses, TrainConfig, TrainState
from jaxnas.training.optimizer import warmed_up
from jaxnas.types import Genomes, PRNGKey


@dataclass(frozen=True)
class SinglePath:
    """Random subnets learn from labels alone; each gene is uniform over its choices."""

    subnets: int = 1
    """Of a step; their gradients are summed."""
    smoothing: float = 0.1
    """Share of a label that is spread over all classes."""

    def check(self, space: Space) -> None:
        """Every space can be trained so."""

    def init(self, params: Params) -> tuple[()]:
        return ()

    def begin(self, net: Supernet, done: int, steps: int, params: Params, extra: tuple[()]) -> None:
        """All steps are alike."""

    def draw(
        self, net: Supernet, state: TrainState, steps: int, batch: Batch, key: PRNGKey
    ) -> Genomes:
        return net.space.sample(key, self.subnets)

    def gradients(
        self,
        net: Supernet,
        state: TrainState,
        steps: int,
        batch: Batch,
        subnets: Genomes,
        drop: Drop,
    ) -> tuple[Params, tuple[()], Losses]:
        found, losses = label_gradients(net, state.params, batch, subnets, self.smoothing)
        return found, (), losses

    def schedule(self, settings: TrainConfig, steps: int) -> optax.Schedule:
        return warmed_up(settings, steps)


@leaves_unread("candidates", "dropout", "drop_connect")  # no largest network is regularised
def spos(settings: TrainConfig) -> SinglePath:
    """SPOS as published, with `random_subnets` paths a step; it has one."""
    return SinglePath(settings.random_subnets, settings.label_smoothing)


def label_gradients(
    net: Supernet, params: Params, batch: Batch, genomes: Genomes, smoothing: float
) -> tuple[Params, Losses]:
    """Summed gradients of some subnets on hard labels, one subnet after the other."""

    def one(gradients: Params, genome):
        def objective(params: Params):
            logits = trained_logits(net, params, genome, batch.images)
            return hard_loss(logits, batch.labels, smoothing, batch.weights)

        loss, more = jax.value_and_grad(objective)(params)
        return jax.tree.map(jnp.add, gradients, more), loss

    gradients, losses = jax.lax.scan(one, jax.tree.map(jnp.zeros_like, params), genomes)
    return gradients, Losses(None, None, jnp.mean(losses))
