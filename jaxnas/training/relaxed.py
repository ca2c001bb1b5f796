"""Search by gradient: weights and architecture are trained in turn, on images of their own.

Bilevel optimisation (Liu et al., "DARTS", ICLR 2019): the architecture descends the loss on images
that no weight learns from, with the weights as they are or (second order) after one more step of
theirs, and pays for a cost. A relaxation says which soft genome stands for its logits in a step.
Several architectures, one for each weight or target of the cost, share the weights and take turns.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxnas.errors import UserError
from jaxnas.relaxations.architecture import (
    Architecture,
    Cost,
    at_resolution,
    padded,
    probabilities,
    searched_choices,
)
from jaxnas.relaxations.relaxation import Logits, Relaxation, of_the_chosen
from jaxnas.spaces.soft import alive
from jaxnas.spaces.space import Space
from jaxnas.supernets.supernet import Params, Supernet
from jaxnas.training.dropout import Drop
from jaxnas.training.evaluate import computes_one_path, trained_logits
from jaxnas.training.losses import hard_loss
from jaxnas.training.method import Batch, Losses, TrainConfig, TrainState
from jaxnas.training.optimizer import warmed_up
from jaxnas.types import PRNGKey, SoftGenome

SECOND_MOMENT = 0.999  # Adam's second beta


class Learning(NamedTuple):
    """All architectures, an entry each; logits of what is no choice stay 0."""

    logits: Float[Array, "n genes choices"]
    optimizer: optax.OptState


class Turn(NamedTuple):
    """A step of one architecture."""

    number: Int[Array, ""]
    progress: Float[Array, ""]  # of its training, from 0 to 1
    rate: Float[Array, ""]  # at which the weights descend


@dataclass(frozen=True)
class Relaxed:
    """Weights learn from labels under the relaxation's soft genomes; the cost is a space's."""

    relaxation: Relaxation
    settings: TrainConfig
    cost: Callable[[Space], Cost] | None = None

    @property
    def held_out(self) -> float:
        return self.settings.relaxed.held_out

    def check(self, space: Space) -> None:
        """Every space can be trained so, but a cost may not know it."""
        if self.cost is not None:
            self.cost(space)

    def init(self, params: Params) -> tuple[()]:
        return ()

    def start(self, space: Space) -> Learning:
        """Every choice is as probable."""
        shape = (self.settings.relaxed.architectures, *self._choices(space).shape)
        logits = jnp.zeros(shape, jnp.float32)
        return Learning(logits, jax.vmap(self._optimizer().init)(logits))

    def begin(self, net: Supernet, done: int, steps: int, params: Params, extra: Learning) -> None:
        """All steps are alike."""

    def tune(
        self,
        net: Supernet,
        state: TrainState,
        steps: int,
        batch: Batch,
        held_out: Batch,
        key: PRNGKey,
    ) -> Learning:
        """One architecture descends, unless the weights are still trained alone."""
        turn = self._turn(state, steps)
        learning = state.extra

        def tuned() -> Learning:
            logits = learning.logits[turn.number]
            own = jax.tree.map(lambda leaf: leaf[turn.number], learning.optimizer)
            gradient, soft = jax.grad(self.objective, argnums=2, has_aux=True)(
                net, state.params, logits, batch, held_out, key, turn
            )
            updates, moved = self._optimizer().update(gradient, own, logits)
            after = self.relaxation.tell(logits, logits + updates)
            found = _where_it_matters(net.space, soft, (after, moved), (logits, own))
            return jax.tree.map(
                lambda whole, one: whole.at[turn.number].set(one), learning, Learning(*found)
            )

        return jax.lax.cond(state.step >= self._first(steps), tuned, lambda: learning)

    def draw(
        self, net: Supernet, state: TrainState, steps: int, batch: Batch, key: PRNGKey
    ) -> SoftGenome:
        turn = self._turn(state, steps)
        return self.soft(net.space, state.extra.logits[turn.number], batch, key, turn)

    def gradients(
        self,
        net: Supernet,
        state: TrainState,
        steps: int,
        batch: Batch,
        subnets: SoftGenome,
        drop: Drop,
    ) -> tuple[Params, Learning, Losses]:
        def loss(params: Params) -> Float[Array, ""]:
            return self.error(self._trained(net, params, subnets, batch.images), batch)

        value, found = jax.value_and_grad(loss)(state.params)
        return found, state.extra, Losses(None, None, value)

    def schedule(self, settings: TrainConfig, steps: int) -> optax.Schedule:
        return warmed_up(settings, steps)

    def learnt(self, space: Space, extra: Learning) -> list[Architecture]:
        return [self._learnt(space, extra, number) for number in range(len(extra.logits))]

    def objective(
        self,
        net: Supernet,
        params: Params,
        logits: Logits,
        batch: Batch,
        held_out: Batch,
        key: PRNGKey,
        turn: Turn,
    ) -> tuple[Float[Array, ""], SoftGenome]:
        """What an architecture descends, as a function of its logits, and its soft genome.

        Of second order the weights are those after one step of gradient descent on the `batch`,
        which depends on the logits (DARTS, equation 7, without its finite differences).
        """
        soft = self.soft(net.space, logits, batch, key, turn)

        def error(params: Params, batch: Batch) -> Float[Array, ""]:
            return self.error(self._tuned(net, params, soft, batch.images), batch)

        if self.settings.relaxed.order == 2:
            slope = jax.grad(error)(params, batch)
            params = jax.tree.map(lambda w, g: w - turn.rate * g, params, slope)
        loss = error(params, held_out)
        pixels = held_out.images.shape[1]
        return self.priced(net.space, loss, logits, pixels, turn.number), soft

    def soft(
        self, space: Space, logits: Logits, batch: Batch, key: PRNGKey, turn: Turn
    ) -> SoftGenome:
        """The soft genome of a step."""
        asked = self.relaxation.ask(key, padded(self._choices(space), logits), turn.progress)
        return at_resolution(space, asked, batch.images.shape[1])

    def error(self, answers: Float[Array, "n classes"], batch: Batch) -> Float[Array, ""]:
        """Cross-entropy."""
        smoothing = self.settings.label_smoothing
        return hard_loss(answers, batch.labels, smoothing, batch.weights)

    def priced(
        self,
        space: Space,
        loss: Float[Array, ""],
        logits: Logits,
        pixels: int,
        number: Int[Array, ""],
    ) -> Float[Array, ""]:
        """The loss with the expected cost: that of the probabilities, whatever was drawn."""
        if self.cost is None:
            return loss
        settings = self.settings.relaxed
        cost = self.cost(space)(probabilities(space, self._choices(space), logits, pixels))
        if settings.cost_targets:
            target = jnp.asarray(settings.cost_targets, jnp.float32)[number]
            return loss * (cost / target) ** settings.cost_exponent
        return loss + jnp.asarray(settings.cost_weights, jnp.float32)[number] * cost

    def _trained(
        self, net: Supernet, params: Params, soft: SoftGenome, images: Array
    ) -> Float[Array, "n classes"]:
        """Logits for a gradient in the weights alone."""
        if not self.relaxation.hard:
            return net.apply(params, images, soft)[0]
        genome = jnp.argmax(soft, -1).astype(jnp.int32)
        if computes_one_path(net):
            return net.switched_training(params, genome, images)
        return trained_logits(net, params, genome, images)

    def _tuned(
        self, net: Supernet, params: Params, soft: SoftGenome, images: Array
    ) -> Float[Array, "n classes"]:
        """Logits for a gradient in the soft genome, too."""
        if not self.relaxation.chosen_only:
            return net.apply(params, images, soft)[0]
        if computes_one_path(net):
            return net.switched_training(params, soft, images)
        return net.apply(params, images, of_the_chosen(soft))[0]

    def _learnt(self, space: Space, extra: Learning, number: int) -> Architecture:
        settings = self.settings.relaxed
        choices = self._choices(space)
        logits = jnp.asarray(extra.logits[number])
        found = probabilities(space, choices, logits, space.resolutions[-1])
        learnt = Architecture("", np.asarray(found, np.float64), choices, self.relaxation.hard)
        if self.cost is None:
            return learnt
        cost = self.cost(space)
        if settings.cost_targets:
            target = settings.cost_targets[number]
            return replace(learnt, label=f"cost target {target:g}", cost=cost, target=target)
        return replace(learnt, label=f"cost weight {settings.cost_weights[number]:g}", cost=cost)

    def _choices(self, space: Space) -> Bool[np.ndarray, "genes choices"]:
        return searched_choices(space, self.settings.relaxed.zeros)

    def _optimizer(self) -> optax.GradientTransformation:
        rate = self.settings.relaxed.learning_rate
        adam = optax.adam(rate, self.relaxation.momentum, SECOND_MOMENT)
        return optax.chain(optax.add_decayed_weights(self.relaxation.weight_decay), adam)

    def _turn(self, state: TrainState, steps: int) -> Turn:
        first = self._first(steps)
        done = (state.step - first) / max(steps - first, 1)
        rate = self.schedule(self.settings, steps)(state.step)
        number = state.step % self.settings.relaxed.architectures
        return Turn(number, jnp.clip(done, 0, 1), jnp.asarray(rate))

    def _first(self, steps: int) -> int:
        """The first step of the architecture."""
        return round(self.settings.relaxed.weights_first * steps)


def relaxed(settings: TrainConfig, relaxation: Relaxation) -> Relaxed:
    """The method of these settings; what a cost is has to be added, where they name one."""
    own = settings.relaxed
    if not 0 <= relaxation.momentum < 1:
        raise UserError(
            "momentum of a relaxation must be from 0 to below 1, got "
            f"{relaxation.momentum:g}: choose one"
        )
    if not relaxation.weight_decay >= 0:
        raise UserError(
            "weight_decay of a relaxation must be at least 0, got "
            f"{relaxation.weight_decay:g}: choose one"
        )
    if settings.accumulate > 1:
        raise UserError(
            f"train.accumulate must be 1 with train.method relaxed, got {settings.accumulate}: "
            "lower train.batch_size instead"
        )
    if not own.architectures:
        raise UserError("train.relaxed.cost_weights must be one or more, got none: write 0")
    if own.cost_targets and any(own.cost_weights):
        raise UserError(
            "train.relaxed takes cost_weights or cost_targets, got both: leave one of them out"
        )
    if not own.cost and (own.cost_targets or own.cost_weights != (0.0,)):
        raise UserError(
            "train.relaxed.cost_weights and .cost_targets need train.relaxed.cost, got none: name "
            "a cost, or leave them out"
        )
    return Relaxed(relaxation, settings)


def _where_it_matters(space: Space, soft: SoftGenome, new: PyTree, old: PyTree) -> Any:
    """The new logits and moments of genes that matter in a soft genome, the old ones of others."""
    matter = (alive(space, soft) > 0)[:, None]
    return jax.tree.map(lambda a, b: jnp.where(matter, a, b) if a.ndim == 2 else a, new, old)
