"""What a controller is rewarded for, and how much better than expected a candidate was."""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.algorithms import pareto
from jaxnas.errors import UserError
from jaxnas.types import Fitness

INFEASIBLE = 1e20  # a figure from here on says that its candidate breaks a constraint
LEAST_RATIO = 1e-6  # of a cost to its target; less counts as this
LEAST_SPREAD = 1e-5  # of rewards, as a share of the largest; less is rounding
CLIP = 3.0  # of advantages, in standard deviations


class Memory(NamedTuple):
    """What earlier batches have taught; NaN before a candidate of one has succeeded."""

    targets: Float[Array, "costs"]
    baseline: Float[Array, ""]


class Judged(NamedTuple):
    """The candidates of a batch, and the memory after it."""

    rewards: Float[Array, "n"]  # of failed candidates the least of the batch
    advantages: Float[Array, "n"]  # of failed candidates 0
    memory: Memory


@dataclass(frozen=True)
class Reward:
    """Of one objective its negative; of several MnasNet's (Tan et al., CVPR 2019, equations 2-3).

    That is accuracy * (cost / target)^exponent, with a factor for each objective after the first,
    which is the error.
    """

    target: tuple[float, ...] = ()
    """Of each objective after the first, in its unit; none: the medians of the first generation."""
    exponent: float = -0.07
    """Of each ratio of a cost to its target: 5 % more accuracy are worth twice the cost."""
    hard: bool = False
    """The exponent is 0 up to the target and -1 beyond."""
    worst_error: float = 1.0
    """The first objective of a network that is never right: 1 for a share, 100 for percent."""

    def __post_init__(self):
        if any(not target > 0 for target in self.target):
            raise UserError(f"target must be above 0 for each cost, got {self.target}: set it so")
        if not self.worst_error > 0:
            raise UserError(
                f"worst_error must be above 0, got {self.worst_error:g}: set 1 for errors as a "
                "share, 100 for percent"
            )

    def check(self, objectives: int) -> None:
        """Refuses targets that are not one for each cost."""
        costs = objectives - 1
        if self.target and len(self.target) != costs:
            what_to_do = f"set {costs}" if costs else "leave it away"
            raise UserError(
                "target must be one for each objective after the first, of which there are "
                f"{costs}, got {len(self.target)}: {what_to_do}"
            )

    def nothing_known(self, objectives: int) -> Memory:
        """The memory before the first batch."""
        targets = self.target or (jnp.nan,) * (objectives - 1)
        return Memory(jnp.asarray(targets, jnp.float32), jnp.float32(jnp.nan))

    def of(self, fitness: Fitness, targets: Float[Array, "costs"]) -> Float[Array, "n"]:
        """The reward of each candidate, NaN of failed ones.

        Where the accuracy is below 0, costs are not traded for it: it is the reward.
        """
        if fitness.shape[1] == 1:
            return -fitness[:, 0]
        accuracy = 1 - fitness[:, 0] / self.worst_error
        ratios = jnp.maximum(fitness[:, 1:] / targets, LEAST_RATIO)
        exponents = jnp.where(ratios <= 1, 0.0, -1.0) if self.hard else self.exponent
        traded = accuracy * jnp.prod(ratios**exponents, axis=1)
        return jnp.where(accuracy > 0, traded, accuracy)

    def judged(
        self, memory: Memory, fitness: Fitness, limits: tuple[float | None, ...], decay: float
    ) -> Judged:
        """How much better each candidate is than the mean of earlier batches.

        That baseline is a moving average, which keeps the share `decay` of itself. Advantages are
        in standard deviations of the batch's rewards, so that they have no unit, and clipped.
        """
        fitness = fitness.astype(jnp.float32)
        targets = jnp.where(jnp.isnan(memory.targets), _medians(fitness), memory.targets)
        excess = _excess(fitness, limits)
        rewards = _placed(self.of(fitness, targets), excess, memory.baseline)
        taught = ~jnp.isnan(rewards)
        mean = jnp.mean(rewards, where=taught)
        # What infeasible candidates are given compares within their batch alone.
        alone = jnp.isnan(memory.baseline) | (excess > 0).any()
        baseline = jnp.where(alone, mean, memory.baseline)
        advantages = jnp.clip((rewards - baseline) / _spread(rewards), -CLIP, CLIP)
        feasible = excess == 0
        told = jnp.mean(rewards, where=feasible)
        moved = decay * jnp.where(jnp.isnan(memory.baseline), told, memory.baseline)
        moved += (1 - decay) * told
        return Judged(
            jnp.where(taught, rewards, jnp.min(rewards, where=taught, initial=jnp.inf)),
            jnp.where(jnp.isfinite(advantages), advantages, 0.0),
            Memory(targets, jnp.where(feasible.any(), moved, memory.baseline)),
        )


def _spread(rewards: Float[Array, "n"]) -> Float[Array, ""]:
    """Their standard deviation, those of failed candidates left out."""
    largest = jnp.nanmax(jnp.abs(rewards))
    return jnp.maximum(jnp.nanstd(rewards), LEAST_SPREAD * largest)


def _medians(fitness: Fitness) -> Float[Array, "costs"]:
    sound = jnp.where(fitness < INFEASIBLE, fitness, jnp.nan)
    return jnp.maximum(jnp.nanmedian(sound[:, 1:], axis=0), LEAST_RATIO)


def _excess(fitness: Fitness, limits: tuple[float | None, ...]) -> Float[Array, "n"]:
    """By how much each candidate is infeasible: 0 = feasible, NaN = failed."""
    told = jnp.where(fitness < INFEASIBLE, 0.0, fitness).sum(axis=1)
    return pareto.total_violation(fitness, limits) + told


def _placed(
    rewards: Float[Array, "n"], excess: Float[Array, "n"], baseline: Float[Array, ""]
) -> Float[Array, "n"]:
    """The rewards; those of infeasible candidates lie below all feasible ones.

    They are spread as far as the feasible ones are, evenly and in the order of their excess, for
    an excess has no common unit with a reward.
    """
    feasible = excess == 0
    low = jnp.min(rewards, where=feasible, initial=jnp.inf)
    span = jnp.max(rewards, where=feasible, initial=-jnp.inf) - low
    low = jnp.where(feasible.any(), low, jnp.nan_to_num(baseline))
    infeasible = excess > 0
    ordered = jnp.sort(jnp.where(infeasible, excess, jnp.inf))
    place = jnp.searchsorted(ordered, excess, side="right") / jnp.maximum(infeasible.sum(), 1)
    below = low - jnp.where(span > 0, span, 1.0) * place.astype(jnp.float32)
    return jnp.where(infeasible, below, rewards)
