"""One model of any method, which learns from all networks but those kept for validation."""

from dataclasses import dataclass

import jax
from jaxtyping import Array, Float

from jaxnas.predictors.predictor import (
    Arrays,
    Choices,
    Latencies,
    Marks,
    Members,
    Method,
    soft_members,
    trained_on,
)
from jaxnas.spaces.space import Space
from jaxnas.types import PRNGKey, SoftGenome


@dataclass(frozen=True)
class Single:
    """A predictor of one model, without intervals of its own (`predictor.Predictor`)."""

    method: Method

    def fit(
        self,
        key: PRNGKey,
        space: Space,
        genomes: Choices,
        latency_ms: Latencies,
        validation: Marks | None = None,
    ) -> "One":
        used = trained_on(latency_ms, validation)
        return One(self.method.fit(key, space, genomes, latency_ms, used[None]))

    def from_arrays(self, space: Space, arrays: Arrays) -> "One":
        return One(self.method.from_arrays(space, arrays, 1))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class One:
    """The only member of its kind (`predictor.Model`)."""

    member: Members

    def __call__(self, genomes: Choices) -> Float[Array, "n"]:
        return self.member.predict(genomes)[0]

    def expected(self, genome: SoftGenome) -> Float[Array, ""]:
        return soft_members(self.member).expected(genome)[0]

    def arrays(self) -> dict[str, Array]:
        return self.member.arrays()
