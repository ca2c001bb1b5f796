"""One score of several objectives that orders networks as their Pareto rank does (HW-PR-NAS)."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from jaxnas.algorithms import pareto
from jaxnas.errors import UserError
from jaxnas.predictors.encoders import Weights
from jaxnas.predictors.network import ColumnsLoss, Fitted, Network, encoded, learnt
from jaxnas.predictors.predictor import Choices, check_count, check_genomes
from jaxnas.predictors.ranking import LOSSES, Loss, rmse
from jaxnas.predictors.targets import check_targets, standard
from jaxnas.spaces.space import Space
from jaxnas.types import PRNGKey


@dataclass(frozen=True)
class ParetoRank:
    """Learns the rank of the networks measured, in the two steps of HW-PR-NAS.

    First a `Network` learns each objective by its RMSE, with `network`'s settings; then, for
    `steps` of `batch` at `learning_rate`, a further output learns the rank by `loss`, which is
    added to the RMSE of the objectives. Equal ranks have no order (`ranking`). Benmeziane et al.,
    ACM TACO 2023.
    """

    network: Network
    loss: str = "list_mle"
    steps: int = 2000
    batch: int = 128
    learning_rate: float = 1e-3

    def __post_init__(self):
        if self.loss not in LOSSES or self.loss == "rmse":
            known = ", ".join(name for name in LOSSES if name != "rmse")
            raise UserError(f"a rank is learnt by one of {known}, got {self.loss!r}")

    def fit(
        self,
        key: PRNGKey,
        space: Space,
        genomes: Choices,
        fitness: Float[np.ndarray, "n objectives"],
        used: Bool[np.ndarray, "k n"] | None = None,
    ) -> "Ranks":
        """One model for each row of `used`, of the ranks among the networks that it marks.

        Without it one model, of all networks. Objectives are minimised; refused is what
        `targets.check_targets` names, of the objectives and of the ranks.
        """
        if np.ndim(fitness) != 2 or np.shape(fitness)[1] == 0:
            raise UserError(
                "a rank is learnt from rows of objectives, a column each, got an array of shape "
                f"{np.shape(fitness)}: stack them along the last axis"
            )
        used = np.ones((1, len(fitness)), bool) if used is None else used
        check_genomes(space, genomes)
        check_count(genomes, fitness)
        check_targets(fitness, used, self.network.positive)
        targets, mean, deviation = standard(fitness, used, self.network.positive)
        targets = jnp.concatenate([targets, _ranks(fitness, used)[..., None]], axis=-1)
        features = encoded(self.network.encoder, space, jnp.asarray(genomes))
        keys = jax.random.split(key, (3, len(used)))
        outputs = fitness.shape[1] + 1
        weights = jax.vmap(lambda key: self.network.fresh(key, features, outputs))(keys[0])
        data = features, targets, jnp.asarray(used)
        weights = self.regressed(keys[1], weights, *data)
        weights = self.ranked(keys[2], weights, *data)
        last = ((0, 0), (0, 1))  # scores have no unit
        deviation = jnp.pad(deviation, last, constant_values=1)
        return Ranks(Fitted(space, self.network, weights, jnp.pad(mean, last), deviation))

    def regressed(
        self,
        keys: Key[Array, "k"],
        weights: Weights,
        features: Any,
        targets: Float[Array, "k n outputs"],
        used: Bool[Array, "k n"],
    ) -> Weights:
        """The first step from these weights, of one network for each row of `used`; traceable."""
        return learnt(self.network, objectives_error, keys, weights, features, targets, used)

    def ranked(
        self,
        keys: Key[Array, "k"],
        weights: Weights,
        features: Any,
        targets: Float[Array, "k n outputs"],
        used: Bool[Array, "k n"],
    ) -> Weights:
        """The second step; the last of the targets is the rank. Traceable."""
        tuned = replace(
            self.network, steps=self.steps, batch=self.batch, learning_rate=self.learning_rate
        )
        loss = with_rank(LOSSES[self.loss])
        return learnt(tuned, loss, keys, weights, features, targets, used)


def _ranks(
    fitness: Float[np.ndarray, "n objectives"], used: Bool[np.ndarray, "k n"]
) -> Float[Array, "k n"]:
    """Among those of each row of `used`, 0 for the others."""
    ranks = np.zeros(used.shape, np.float32)
    for own, row in zip(ranks, used, strict=True):
        own[row] = pareto.rank(fitness[row])
        check_targets(own[:, None], row[None], positive=False)
    return jnp.asarray(ranks)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Ranks:
    """Scores of genomes, the less the better; a pytree, an argument of a compiled search."""

    fitted: Fitted

    def __call__(self, genomes: Choices) -> Float[Array, "n"]:
        """The models' mean, of no unit; traceable."""
        return self.predict(genomes).mean(axis=0)

    def predict(self, genomes: Choices) -> Float[Array, "k n"]:
        """What each model says."""
        check_genomes(self.fitted.space, genomes)
        return self.fitted.scores(genomes)[..., -1]

    def objectives(self, genomes: Choices) -> Float[Array, "k n objectives"]:
        """What the same models say of each objective, in its unit."""
        return self.fitted.outputs(genomes)[..., :-1]


def objectives_error(
    scores: Float[Array, "n outputs"], targets: Float[Array, "n outputs"], key: PRNGKey
) -> Float[Array, ""]:
    """The sum of the RMSEs of all outputs but the last."""
    return jax.vmap(rmse, (1, 1, None))(scores[:, :-1], targets[:, :-1], key).sum()


@cache
def with_rank(loss: Loss) -> ColumnsLoss:
    """And a loss of the last output."""
    return lambda scores, targets, key: (
        objectives_error(scores, targets, key) + loss(scores[:, -1], targets[:, -1], key)
    )
