"""ENAS (Pham et al., ICML 2018): shared weights and a controller are trained in turn.

The weights learn from labels in networks that the controller draws; the controller from the
accuracy of networks that it draws, with these weights, on images that no weight learns from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from jaxnas.algorithms.reinforce import Reinforce, State
from jaxnas.relaxations.architecture import Architecture, Cost, at_resolution, searched_choices
from jaxnas.spaces.soft import softened
from jaxnas.spaces.space import Space
from jaxnas.supernets.supernet import Params, Supernet
from jaxnas.training.dropout import Drop
from jaxnas.training.evaluate import trained_logits
from jaxnas.training.method import Batch, Losses, TrainConfig, TrainState
from jaxnas.training.optimizer import warmed_up
from jaxnas.training.single_path import label_gradients
from jaxnas.types import Fitness, Genome, Genomes, PRNGKey


@dataclass(frozen=True)
class Enas:
    """A `Bilevel` method; the controller is asked and told as in a search."""

    controller: Reinforce
    settings: TrainConfig
    cost: Callable[[Space], Cost] | None = None

    @property
    def held_out(self) -> float:
        return self.settings.enas.held_out

    def check(self, space: Space) -> None:
        """Every space can be trained so, but a cost may not know it."""
        if self.cost is not None:
            self.cost(space)

    def init(self, params: Params) -> tuple[()]:
        return ()

    def start(self, space: Space) -> State:
        """A controller that draws uniformly, as it does whatever the key of its weights."""
        return self.controller.init(jax.random.key(0), space)

    def begin(self, net: Supernet, done: int, steps: int, params: Params, extra: State) -> None:
        """All steps are alike."""

    def tune(
        self,
        net: Supernet,
        state: TrainState,
        steps: int,
        batch: Batch,
        held_out: Batch,
        key: PRNGKey,
    ) -> State:
        """A step of the controller, where one is due."""
        own = self.settings.enas

        def told() -> State:
            asked = self.controller.ask(key, net.space, state.extra)
            genomes = _at_images(net.space, asked.genomes, held_out)
            fitness = self._fitness(net, state.params, genomes, held_out)
            return self.controller.tell(
                net.space, state.extra, asked._replace(genomes=genomes), fitness
            )

        due = (state.step >= round(own.weights_first * steps)) & (state.step % own.every == 0)
        return jax.lax.cond(due, told, lambda: state.extra)

    def draw(
        self, net: Supernet, state: TrainState, steps: int, batch: Batch, key: PRNGKey
    ) -> Genomes:
        policy = self.controller.policy
        drawn = policy.sample(key, net.space, state.extra.params, self.settings.random_subnets)
        return _at_images(net.space, drawn, batch)

    def gradients(
        self,
        net: Supernet,
        state: TrainState,
        steps: int,
        batch: Batch,
        subnets: Genomes,
        drop: Drop,
    ) -> tuple[Params, State, Losses]:
        smoothing = self.settings.label_smoothing
        found, losses = label_gradients(net, state.params, batch, subnets, smoothing)
        return found, state.extra, losses

    def schedule(self, settings: TrainConfig, steps: int) -> optax.Schedule:
        return warmed_up(settings, steps)

    def learnt(self, space: Space, extra: State) -> list[Architecture]:
        """The controller's most probable network, with the others that it draws beside."""
        soft = _conditionals(self.controller, space, extra.params)
        return [
            Architecture(
                "",
                np.asarray(at_resolution(space, soft, max(space.resolutions))),
                searched_choices(space),
                hard=True,
                cost=None if self.cost is None else self.cost(space),
                reward=float(extra.reward),
            )
        ]

    def _fitness(self, net: Supernet, params: Params, genomes: Genomes, batch: Batch) -> Fitness:
        """The error of each network, as a share, and its cost where one is paid for."""

        def error(genome: Genome) -> Float[Array, ""]:
            answers = jnp.argmax(trained_logits(net, params, genome, batch.images), axis=-1)
            return jnp.mean(answers != batch.labels)

        columns = [jax.lax.map(error, genomes)]
        if self.cost is not None:
            columns.append(jax.vmap(self.cost(net.space))(softened(net.space, genomes)))
        return jnp.stack(columns, axis=-1).astype(jnp.float32)


def enas(settings: TrainConfig, controller: Reinforce) -> Enas:
    """The method of these settings; what a cost is has to be added, where they name one."""
    return Enas(controller, settings)


def _at_images(space: Space, genomes: Genomes, batch: Batch) -> Genomes:
    return space.at_resolution(genomes, space.resolution_choice(batch.images.shape[1]))


@partial(jax.jit, static_argnums=(0, 1))
def _conditionals(
    controller: Reinforce, space: Space, params: Any
) -> Float[Array, "genes choices"]:
    """The probability of each gene's choices, given the most probable ones of earlier genes."""
    genes, choices = len(space.genes), int(space.sizes.max())
    genome = controller.policy.likeliest(space, params)
    rows = np.arange(genes)[:, None]
    changed = jnp.tile(genome, (genes, choices, 1))
    changed = changed.at[rows, np.arange(choices), rows].set(np.arange(choices))
    changed = jnp.minimum(changed, space.sizes - 1)
    scores = controller.policy.scores(space, params, changed.reshape(-1, genes))
    log_probs = scores.log_probs.reshape(genes, choices, genes)[
        np.arange(genes), :, np.arange(genes)
    ]
    soft = jnp.where(searched_choices(space), jnp.exp(log_probs), 0.0)
    return jnp.where(space.alive(genome)[:, None], soft, softened(space, genome))
