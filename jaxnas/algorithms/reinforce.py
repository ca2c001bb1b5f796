"""REINFORCE (Williams 1992): what was better than before becomes more probable."""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxnas.algorithms.algorithm import AnySpace, Asked, check_fitness, check_limits, check_sizes
from jaxnas.algorithms.policy import Params, Policy, Scores, entropy_share
from jaxnas.algorithms.reward import Memory, Reward
from jaxnas.errors import UserError
from jaxnas.plugins import leaves_unread
from jaxnas.types import Fitness, PRNGKey

EPSILON = 1e-5  # of Adam: gradients that are rounding alone make no steps


class State(NamedTuple):
    """The policy, and what its last candidates were like; NaN before the first."""

    params: Params
    optimizer: optax.OptState
    memory: Memory
    reward: Float[Array, ""]  # mean over the candidates
    entropy: Float[Array, ""]  # mean over the genes, as a share of the most


@leaves_unread("initial")  # a policy learns from candidates that it drew itself
@dataclass(frozen=True)
class Reinforce:
    """A recurrent policy draws the candidates and learns from their rewards.

    After Zoph & Le (ICLR 2017): a step of Adam a generation on the log-probability of each
    candidate times its advantage, which is its reward above a moving average of earlier ones. The
    entropy of the choices adds to it, as in ENAS (Pham et al., ICML 2018). Unlike there, advantages
    are in standard deviations, so that the settings suit rewards of any unit.

    Candidates have no parents and may repeat. Those beyond a limit come after all others of their
    generation, by their excess; failed ones teach nothing.

    Published controllers draw 8,000 to 20,000 networks. The defaults suit 2,000: a larger step, and
    an entropy that keeps it from settling early (experiments/nb201_controllers.py).
    """

    population: int = 28
    """Candidates per generation, at least 2."""
    objectives: int = 2
    """Columns of the fitness."""
    policy: Policy = field(default_factory=Policy)
    reward: Reward = field(default_factory=Reward)
    learning_rate: float = 0.01
    """Of Adam. Published: 0.0035 (ENAS), 0.00035 (NASNet)."""
    entropy: float = 0.1
    """Weight of the entropy of a candidate's choices, in nats, beside advantages in standard
    deviations. ENAS has 0.0001 beside accuracies."""
    baseline: float = 0.5
    """Share of itself that the moving average of rewards keeps from generation to generation."""
    limits: tuple[float | None, ...] = ()
    """The most that each objective may be; None, or nothing at all, sets no limit."""

    def __post_init__(self):
        check_sizes(self.population, self.objectives)
        check_limits(self.limits, self.objectives)
        self.reward.check(self.objectives)
        if not self.learning_rate > 0:
            raise UserError(f"learning_rate must be above 0, got {self.learning_rate:g}: set it so")
        if not self.entropy >= 0:
            raise UserError(f"entropy must be at least 0, got {self.entropy:g}: set its weight")
        if not 0 <= self.baseline < 1:
            raise UserError(
                f"baseline must be from 0 to below 1, got {self.baseline:g}: set a share"
            )

    def init(self, key: PRNGKey, space: AnySpace) -> State:
        params = self.policy.init(key, space)
        memory = self.reward.nothing_known(self.objectives)
        reward, entropy = jnp.full(2, jnp.nan, jnp.float32)
        return State(params, self._optimizer().init(params), memory, reward, entropy)

    def ask(self, key: PRNGKey, space: AnySpace, state: State) -> Asked:
        genomes = self.policy.sample(key, space, state.params, self.population)
        return Asked(genomes, jnp.full((self.population, 2), -1, jnp.int32))

    def tell(self, space: AnySpace, state: State, asked: Asked, fitness: Fitness) -> State:
        check_fitness(self, fitness)
        judged = self.reward.judged(state.memory, fitness, self.limits, self.baseline)

        def loss(params: Params) -> tuple[Float[Array, ""], Scores]:
            scores = self.policy.scores(space, params, asked.genomes)
            gained = judged.advantages * scores.log_probs.sum(axis=1)
            return -jnp.mean(gained + self.entropy * scores.entropies.sum(axis=1)), scores

        gradient, scores = jax.grad(loss, has_aux=True)(state.params)
        updates, optimizer = self._optimizer().update(gradient, state.optimizer)
        return State(
            optax.apply_updates(state.params, updates),
            optimizer,
            judged.memory,
            jnp.mean(judged.rewards),
            entropy_share(space, asked.genomes, scores),
        )

    def figures(self, state: State) -> dict[str, Array]:
        """Of the last generation: mean reward, and the genes' entropy as a share of the most."""
        return {"reward": state.reward, "entropy": state.entropy}

    def _optimizer(self) -> optax.GradientTransformation:
        return optax.adam(self.learning_rate, eps=EPSILON)
