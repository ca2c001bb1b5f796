"""Models that check one another.

Each learns without one part of the networks, and its errors there say what the intervals must be.
"""

import math
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnas.errors import UserError
from jaxnas.predictors.mlp import MLP
from jaxnas.predictors.predictor import (
    Arrays,
    Choices,
    Latencies,
    Marks,
    Members,
    Method,
    Prediction,
    check_latencies,
    checked,
    soft_members,
)
from jaxnas.spaces.space import Space
from jaxnas.types import PRNGKey, SoftGenome

# Measured networks are padded to more than their number: growing sets share a few compiled
# programs.
PAD = 256
PREFIX = "members."  # of the names of the members' arrays


@dataclass(frozen=True)
class Ensemble:
    """A predictor with calibrated intervals (`predictor.Predictor`) of any method.

    The networks are dealt into folds, several times over; every member learns without one fold, and
    the prediction is the members' geometric mean. The interval is the jackknife+'s on log latency
    (Barber et al., Predictive inference with the jackknife+, 2021), with the members that have not
    seen a network in place of the one model without it (as Kim et al., Predictive inference is free
    with the jackknife+-after-bootstrap, 2020): for every measured network, what those say of the
    new one, give or take what they were off; of all these the finite-sample quantile. The
    guarantee, 1 - 2 alpha, is below the nominal coverage 1 - alpha that it has in practice, where
    one member's whims do not widen it: the more deals, the less. It holds for networks drawn as the
    measured ones are.
    """

    method: Method = field(default_factory=MLP)
    folds: int = 5
    """Or as many as there are networks if there are fewer; 2 at least."""
    deals: int = 5
    """Into folds; `folds` times `deals` is the number of members."""
    coverage: float = 0.9
    """Share of fresh measurements that are to fall into their intervals."""

    def __post_init__(self):
        if self.folds < 2 or self.deals < 1 or not 0 < self.coverage < 1:
            raise UserError(
                "an ensemble needs 2 folds, 1 deal or more and a coverage between 0 and 1, "
                f"got {self.folds}, {self.deals} and {self.coverage}: choose others"
            )

    def fit(
        self,
        key: PRNGKey,
        space: Space,
        genomes: Choices,
        latency_ms: Latencies,
        validation: Marks | None = None,
    ) -> "Calibrated":
        """Learns from the networks marked for validation too: each fold validates its members.

        Raises a `UserError` for fewer than two networks, and for latencies that are not finite and
        above 0.
        """
        check_latencies("training", latency_ms)
        n = len(latency_ms)
        if n < 2:
            raise UserError(
                f"an ensemble learns from 2 measured networks or more, got {n}: measure more"
            )
        deal_key, fit_key = jax.random.split(key)
        unseen = self._unseen(deal_key, n)
        members = self.method.fit(fit_key, space, genomes, latency_ms, unseen.T == 0)
        # Of few shapes, for few compiled programs.
        every = np.pad(np.asarray(genomes), ((0, _padding(n)), (0, 0)))
        strangers = (unseen * np.log(np.asarray(members.predict(every)))[:, :n].T).sum(axis=1)
        return self._calibrated(members, unseen, strangers - np.log(np.asarray(latency_ms)))

    def from_arrays(self, space: Space, arrays: Arrays) -> "Calibrated":
        n = len(arrays.get("residual", ()))
        count = min(self.folds, n) * self.deals
        theirs = {name for name in arrays if name.startswith(PREFIX)}
        own = checked(
            space,
            {name: arrays[name] for name in arrays.keys() - theirs},
            {"residual": (n,), "unseen": (n, count)},
        )
        members = self.method.from_arrays(
            space, {name.removeprefix(PREFIX): arrays[name] for name in theirs}, count
        )
        return self._calibrated(members, np.asarray(own["unseen"]), np.asarray(own["residual"]))

    def _calibrated(
        self,
        members: Members,
        unseen: Float[np.ndarray, "n members"],
        residual: Float[np.ndarray, "n"],
    ) -> "Calibrated":
        n = len(residual)
        rows = (0, _padding(n))
        return Calibrated(
            members,
            jnp.asarray(np.pad(unseen, (rows, (0, 0))), jnp.float32),
            jnp.asarray(np.pad(residual, rows, constant_values=np.inf), jnp.float32),
            jnp.int32(n),
            jnp.int32(math.ceil(self.coverage * (n + 1) - 1e-9) - 1),
        )

    def _unseen(self, key: PRNGKey, n: int) -> Float[np.ndarray, "n members"]:
        """What each member counts for each network.

        Nothing if it learns from it, the others alike.
        """
        folds = min(self.folds, n)
        deals = [
            np.asarray(jax.random.permutation(one, n)) % folds
            for one in jax.random.split(key, self.deals)
        ]
        return (
            np.concatenate([fold[:, None] == np.arange(folds) for fold in deals], axis=1)
            / self.deals
        )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Calibrated:
    """A fitted ensemble; a pytree where its method's members are one.

    Shapes change only with every 256th network that it learns from.
    """

    members: Members
    # Weights of the members that have not seen each measured network; padded.
    unseen: Float[Array, "p members"]
    # Log of what they predict over the measurement; infinite where padded.
    residual: Float[Array, "p"]
    count: Int[Array, ""]  # measured networks
    place: Int[Array, ""]  # of the quantile among the sorted bounds

    def __call__(self, genomes: Choices) -> Float[Array, "n"]:
        return jnp.exp(jnp.log(self.members.predict(genomes)).mean(axis=0))

    def expected(self, genome: SoftGenome) -> Float[Array, ""]:
        return jnp.exp(jnp.log(soft_members(self.members).expected(genome)).mean())

    def predict(self, genomes: Choices) -> Prediction:
        each = jnp.log(self.members.predict(genomes))
        mean = each.mean(axis=0)
        unseen = jnp.matmul(self.unseen, each, precision="highest")
        off = jnp.abs(self.residual)[:, None]
        high = jnp.sort(unseen + off, axis=0)[self.place]
        low = -jnp.sort(off - unseen, axis=0)[self.place]
        return Prediction(
            jnp.exp(mean), jnp.exp(jnp.minimum(low, mean)), jnp.exp(jnp.maximum(high, mean))
        )

    def arrays(self) -> dict[str, Array]:
        measured = slice(int(self.count))
        theirs = {f"{PREFIX}{name}": array for name, array in self.members.arrays().items()}
        return {"unseen": self.unseen[measured], "residual": self.residual[measured]} | theirs

    def disagreement(self, genomes: Choices) -> Float[Array, "n"]:
        """Standard deviation of the members' log latencies.

        Where it is large, a measurement tells most.
        """
        return jnp.log(self.members.predict(genomes)).std(axis=0)

    def errors(self) -> Float[np.ndarray, "n"]:
        """How far off the members that had not seen it were on each measured network.

        As a share of the measurement.
        """
        return np.abs(np.expm1(np.asarray(self.residual)[: int(self.count)]))


def _padding(n: int) -> int:
    """Rows added to `n`: one at least, for the infinite residual that few networks need."""
    return PAD - n % PAD
