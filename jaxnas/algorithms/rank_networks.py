"""Networks that learn the Pareto rank of what a search has observed, again and again."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxnas.algorithms import pareto
from jaxnas.algorithms.aims import Aims
from jaxnas.algorithms.algorithm import AnySpace
from jaxnas.algorithms.belief import scored
from jaxnas.algorithms.memory import Memory
from jaxnas.predictors.copula import values_of
from jaxnas.predictors.encoders import Flat, Weights, standardised
from jaxnas.predictors.network import Network
from jaxnas.predictors.pareto_rank import ParetoRank
from jaxnas.spaces.encodings import grouped
from jaxnas.types import Fitness, Genomes, PRNGKey

RATE, DECAY, BATCH, HIDDEN = 3e-3, 0.5, 64, (64, 64)  # for a few hundred observations

Outputs = Float[Array, "k n outputs"]  # scores of the columns of the fitness, and of the rank


@dataclass(frozen=True)
class RankNetworks:
    """`members` networks over the features of `encodings.grouped`, as `ParetoRank` has them.

    They learn normal scores of the columns of a fitness (`copula`) and the rank by constrained
    dominance; or, where `by_rank` is false, the columns alone.
    """

    aims: Aims
    members: int
    steps: int  # of the first fit, of the columns alone
    refit_steps: int  # of each fit
    by_rank: bool

    @property
    def _surrogate(self) -> ParetoRank:
        network = Network(
            Flat(grouped),
            positive=False,
            hidden=HIDDEN,
            steps=self.steps,
            batch=BATCH,
            learning_rate=RATE,
            weight_decay=DECAY,
        )
        return ParetoRank(network, steps=self.refit_steps, batch=BATCH, learning_rate=RATE)

    def fresh(self, key: PRNGKey, space: AnySpace, memory: Memory) -> Weights:
        outputs = memory.fitness.shape[1] + 1
        features = standardised(grouped, space, memory.genomes)
        return jax.vmap(lambda key: self._surrogate.network.fresh(key, features, outputs))(
            jax.random.split(key, self.members)
        )

    def refitted(
        self,
        key: PRNGKey,
        space: AnySpace,
        weights: Weights,
        memory: Memory,
        first: Bool[Array, ""],
    ) -> Weights:
        """From where they are; for the first time with the columns alone before."""
        rank = pareto.rank(
            memory.fitness[:, : self.aims.objectives], self.aims.violation(memory.fitness)
        )
        targets = jnp.vstack([scored(memory.fitness)[0], rank.astype(jnp.float32)]).T
        known = ~pareto.failed(memory.fitness)
        data = (
            standardised(grouped, space, memory.genomes),
            jnp.broadcast_to(targets, (self.members, *targets.shape)),
            jnp.broadcast_to(known, (self.members, *known.shape)),
        )
        keys = jax.random.split(key, (2, self.members))
        surrogate = self._surrogate
        weights = jax.lax.cond(
            first, lambda: surrogate.regressed(keys[0], weights, *data), lambda: weights
        )
        if self.by_rank:
            return surrogate.ranked(keys[1], weights, *data)
        shorter = replace(surrogate.network, steps=self.refit_steps)
        return replace(surrogate, network=shorter).regressed(keys[1], weights, *data)

    def outputs(self, space: AnySpace, weights: Weights, genomes: Genomes) -> Outputs:
        features = standardised(grouped, space, genomes)
        return jax.vmap(self._surrogate.network.scores, (0, None))(weights, features)

    def values(self, memory: Memory, outputs: Float[Array, "n outputs"]) -> Fitness:
        """Figures in their units."""
        back = scored(memory.fitness)[1]
        return jax.vmap(values_of, (0, 1), 1)(back, outputs[:, :-1])

    def minimised(
        self, memory: Memory, outputs: Float[Array, "n outputs"]
    ) -> Float[Array, "n columns"]:
        """Scores of the objectives, and of the rank; or the violation, where none is learnt."""
        last = outputs[:, -1] if self.by_rank else self._violation(memory, outputs)
        return jnp.concatenate([outputs[:, : self.aims.objectives], last[:, None]], axis=1)

    def places(
        self, memory: Memory, outputs: Outputs, new: Bool[Array, "n"]
    ) -> Float[Array, "judges n"]:
        """Of the new candidates, the less the better, to those who choose in turn.

        To each network by its score of the rank, and after each to all of them together, by rank
        and crowding of the objectives they predict. Where no rank is learnt, to the latter alone.
        """
        mean = outputs.mean(axis=0)
        objectives = jnp.where(new[:, None], mean[:, : self.aims.objectives], jnp.nan)
        rank = pareto.rank(objectives, self._violation(memory, mean))
        best = pareto.survivors(rank, pareto.crowding(objectives, rank), len(rank))
        front = jnp.zeros(len(best)).at[best].set(jnp.arange(len(best), dtype=jnp.float32))
        if not self.by_rank:
            return front[None]
        scores = outputs[..., -1]
        both = jnp.stack([scores, jnp.broadcast_to(front, scores.shape)], axis=1)
        return both.reshape(-1, len(front))

    def _violation(self, memory: Memory, outputs: Float[Array, "n outputs"]) -> Float[Array, "n"]:
        return self.aims.violation(self.values(memory, outputs))
