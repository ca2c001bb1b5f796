"""Proximal policy optimisation (Schulman et al. 2017): several careful steps a generation."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxnas.algorithms.algorithm import AnySpace, Asked, check_fitness
from jaxnas.algorithms.policy import Params, entropy_share
from jaxnas.algorithms.reinforce import Reinforce, State
from jaxnas.errors import UserError
from jaxnas.types import Fitness


@dataclass(frozen=True)
class PPO(Reinforce):
    """A recurrent policy draws the candidates and learns from their rewards, several times each.

    As `Reinforce`, but with `epochs` steps of Adam a generation on the probability of each
    candidate as a ratio to that with which it was drawn, times its advantage. A candidate whose
    ratio has already moved by `clip` the way that its advantage says adds nothing. NASNet (Zoph et
    al., CVPR 2018) and MnasNet (Tan et al., CVPR 2019) were found so.
    """

    learning_rate: float = 0.004
    """Of Adam. Published: 0.00035 (NASNet), for 20,000 candidates."""
    epochs: int = 4
    """Steps per generation."""
    clip: float = 0.2
    """How far the ratio of probabilities may move from 1."""
    entropy: float = 0.2
    """Weight of the entropy of a candidate's choices, in nats, beside advantages in standard
    deviations."""

    def __post_init__(self):
        super().__post_init__()
        if self.epochs < 1:
            raise UserError(f"epochs must be at least 1, got {self.epochs}: set more")
        if not 0 < self.clip < 1:
            raise UserError(f"clip must lie between 0 and 1, got {self.clip:g}: set it so")

    def tell(self, space: AnySpace, state: State, asked: Asked, fitness: Fitness) -> State:
        check_fitness(self, fitness)
        judged = self.reward.judged(state.memory, fitness, self.limits, self.baseline)
        before = self.policy.scores(space, state.params, asked.genomes)

        def loss(params: Params) -> Float[Array, ""]:
            scores = self.policy.scores(space, params, asked.genomes)
            ratio = jnp.exp(jnp.sum(scores.log_probs - before.log_probs, axis=1))
            gained = surrogate(ratio, judged.advantages, self.clip)
            return -jnp.mean(gained + self.entropy * scores.entropies.sum(axis=1))

        def epoch(learning: tuple[Params, Any], _: None) -> tuple[tuple[Params, Any], None]:
            params, optimizer = learning
            updates, optimizer = self._optimizer().update(jax.grad(loss)(params), optimizer)
            return (optax.apply_updates(params, updates), optimizer), None

        start = state.params, state.optimizer
        (params, optimizer), _ = jax.lax.scan(epoch, start, length=self.epochs)
        return State(
            params,
            optimizer,
            judged.memory,
            jnp.mean(judged.rewards),
            entropy_share(space, asked.genomes, before),
        )


def surrogate(
    ratios: Float[Array, "n"], advantages: Float[Array, "n"], clip: float
) -> Float[Array, "n"]:
    """What each candidate gains (equation 7): at most what the clipped ratio does.

    >>> surrogate(jnp.array([1.5, 0.5]), jnp.array([2.0, 2.0]), 0.25).tolist()
    [2.5, 1.0]
    """
    clipped = jnp.clip(ratios, 1 - clip, 1 + clip)
    return jnp.minimum(ratios * advantages, clipped * advantages)
