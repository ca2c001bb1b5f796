"""Training that keeps Pareto ranks (PRP-NAS; Benmeziane et al., ECAI 2023).

First strict fairness; then subnets of one set are trained in groups, and a loss puts each group in
the order of the Pareto ranks that accuracy and a cost give its members. Ranks are those of running
means over images that no weight learns from: of one batch they would be ranks of its noise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxnas.algorithms import pareto
from jaxnas.errors import UserError, choose
from jaxnas.predictors.ranking import Loss, hinge, list_mle_between
from jaxnas.relaxations.architecture import Cost
from jaxnas.spaces.soft import softened
from jaxnas.spaces.space import Space
from jaxnas.supernets.supernet import Params, Supernet
from jaxnas.training.dropout import Drop
from jaxnas.training.evaluate import trained_logits
from jaxnas.training.fair import check_fair, fair_genomes
from jaxnas.training.losses import hard_loss
from jaxnas.training.method import Batch, Losses, TrainConfig, TrainState
from jaxnas.training.optimizer import warmed_up
from jaxnas.training.pareto_members import (
    Members,
    attainable,
    last_of,
    no_members,
    observed,
    renewed,
)
from jaxnas.training.single_path import label_gradients
from jaxnas.types import Genome, Genomes, PRNGKey

# Losses of the order; they draw nothing, and equal ranks have no order.
ORDER_LOSSES: dict[str, Loss] = {"list_mle": list_mle_between, "hinge": hinge}


class Drawn(NamedTuple):
    """The subnets of a step of either phase; `ranks` and `handicap` are of the group."""

    fair: Genomes
    group: Genomes
    ranks: Int[Array, "group"]
    handicap: Float[Array, "group"]


@dataclass(frozen=True)
class ParetoRank:
    """A method that holds images out: they rank the members."""

    settings: TrainConfig
    cost: Callable[[Space], Cost] | None = None

    @property
    def held_out(self) -> float:
        return self.settings.pareto.held_out

    def check(self, space: Space) -> None:
        """Refuses a space that strict fairness, or the cost, does not know."""
        check_fair(space, "pareto_rank")
        self._cost(space)

    def init(self, params: Params) -> tuple[()]:
        return ()

    def start(self, space: Space) -> Members:
        """Places for the members, which are drawn when the first phase ends."""
        own = self.settings.pareto
        return no_members(own.members, len(space.genes), own.group)

    def begin(self, net: Supernet, done: int, steps: int, params: Params, extra: Members) -> None:
        """Weights go on from phase to phase."""

    def tune(
        self,
        net: Supernet,
        state: TrainState,
        steps: int,
        batch: Batch,
        held_out: Batch,
        key: PRNGKey,
    ) -> Members:
        """The members with a new group, which the held-out batch evaluates."""
        first = self._first(steps)

        def evaluated() -> Members:
            own = self.settings.pareto
            draw_key, group_key = jax.random.split(key)
            fresh = net.space.sample(draw_key, own.members)
            since = state.step - first
            due = (since % own.renew_every == 0) & last_of(
                state.extra, self._costs(net.space, state.extra.genomes)
            )
            members = renewed(state.extra, (since == 0) | due, fresh)
            group = jax.random.permutation(group_key, own.members)[: own.group].astype(jnp.int32)
            return observed(
                members._replace(group=group),
                self._losses(net, state.params, members.genomes[group], held_out),
            )

        return jax.lax.cond(state.step >= first, evaluated, lambda: state.extra)

    def draw(
        self, net: Supernet, state: TrainState, steps: int, batch: Batch, key: PRNGKey
    ) -> Drawn:
        members: Members = state.extra
        genomes = _at_images(net.space, members.genomes, batch)
        costs = self._costs(net.space, genomes)
        group = members.group
        return Drawn(
            fair_genomes(key, net.space),
            genomes[group],
            pareto.rank(jnp.stack([members.loss, costs], axis=-1))[group],
            attainable(members.loss, costs)[group],
        )

    def gradients(
        self,
        net: Supernet,
        state: TrainState,
        steps: int,
        batch: Batch,
        subnets: Drawn,
        drop: Drop,
    ) -> tuple[Params, Members, Losses]:
        smoothing = self.settings.label_smoothing
        found, losses = jax.lax.cond(
            state.step < self._first(steps),
            lambda: label_gradients(net, state.params, batch, subnets.fair, smoothing),
            lambda: self._ordered_gradients(net, state.params, batch, subnets),
        )
        return found, state.extra, losses

    def schedule(self, settings: TrainConfig, steps: int) -> optax.Schedule:
        return warmed_up(settings, steps)

    def order_loss(self, losses: Float[Array, "group"], subnets: Drawn) -> Float[Array, ""]:
        """In nats; `losses` are the cross-entropies of the group.

        A subnet's score is by how much its loss exceeds the least that the members attain at no
        more than its cost, which is 0 on the front.
        """
        own = self.settings.pareto
        scores = (losses - subnets.handicap) / own.temperature
        return own.temperature * ORDER_LOSSES[own.loss](scores, subnets.ranks, jax.random.key(0))

    def _ordered_gradients(
        self, net: Supernet, params: Params, batch: Batch, subnets: Drawn
    ) -> tuple[Params, Losses]:
        """Gradients of the sum of the group's losses, each with its share of the order's loss."""

        def loss(params: Params, genome: Genome) -> Float[Array, ""]:
            logits = trained_logits(net, params, genome, batch.images)
            return hard_loss(logits, batch.labels, self.settings.label_smoothing, batch.weights)

        def total(losses: Float[Array, "group"]) -> Float[Array, ""]:
            order = self.settings.pareto.weight * self.order_loss(losses, subnets)
            return jnp.sum(losses) + len(losses) * order

        losses, each = jax.lax.map(
            lambda genome: jax.value_and_grad(loss)(params, genome), subnets.group
        )
        slopes = jax.grad(total)(losses)
        summed = jax.tree.map(lambda one: jnp.tensordot(slopes, one, 1).astype(one.dtype), each)
        return summed, Losses(None, None, jnp.mean(losses))

    def _losses(
        self, net: Supernet, params: Params, genomes: Genomes, batch: Batch
    ) -> Float[Array, "n"]:
        def loss(genome: Genome) -> Float[Array, ""]:
            logits = trained_logits(net, params, genome, batch.images)
            return hard_loss(logits, batch.labels, 0.0, batch.weights)

        return jax.lax.map(loss, _at_images(net.space, genomes, batch))

    def _costs(self, space: Space, genomes: Genomes) -> Float[Array, "n"]:
        return jax.vmap(self._cost(space))(softened(space, genomes)).astype(jnp.float32)

    def _cost(self, space: Space) -> Cost:
        if self.cost is None:
            raise UserError(
                f"train.pareto.cost {self.settings.pareto.cost} needs a device or a run that knows "
                "it: train by `jaxnas train`, or make the method by stages.method.method_of"
            )
        return self.cost(space)

    def _first(self, steps: int) -> int:
        """The first step of the second phase."""
        return round(self.settings.pareto.fair_first * steps)


def pareto_rank(settings: TrainConfig, cost: Callable[[Space], Cost] | None = None) -> ParetoRank:
    """The method of these settings, with the cost that they name where the space says it."""
    own = settings.pareto
    if not own.cost:
        raise UserError(
            "train.pareto.cost must name what is traded for accuracy, got none: write mmacs"
        )
    choose("train.pareto.loss", own.loss, ORDER_LOSSES)
    if own.members < own.group:
        raise UserError(
            f"train.pareto.members must be at least train.pareto.group, {own.group}, got "
            f"{own.members}: choose more"
        )
    return ParetoRank(settings, cost)


def _at_images(space: Space, genomes: Genomes, batch: Batch) -> Genomes:
    return space.at_resolution(genomes, space.resolution_choice(batch.images.shape[1]))
