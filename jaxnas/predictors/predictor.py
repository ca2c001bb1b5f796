"""What a predictor is.

It learns a device's latency from measurements, and says how far off it may be.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxnas.errors import UserError
from jaxnas.spaces.space import Space
from jaxnas.types import PRNGKey

Choices = Int[Array | np.ndarray, "n genes"]
Latencies = Float[Array | np.ndarray, "n"]


class Prediction(NamedTuple):
    """Latencies in ms.

    And the interval that a fresh measurement of each network is to fall into.
    """

    mean_ms: Float[Array, "n"]
    low_ms: Float[Array, "n"]
    high_ms: Float[Array, "n"]


@runtime_checkable
class Model(Protocol):
    """What a predictor has learnt.

    Called, it gives `mean_ms` alone, as a table of measured latencies gives its figures.
    """

    def predict(self, genomes: Choices) -> Prediction: ...

    def __call__(self, genomes: Choices) -> Float[Array, "n"]: ...


@runtime_checkable
class Predictor(Protocol):
    """Learns from measured networks; a frozen dataclass is its own configuration.

    `ensemble.Ensemble` is one, of any method.
    """

    def fit(self, key: PRNGKey, space: Space, genomes: Choices, latency_ms: Latencies) -> Model: ...


@runtime_checkable
class Members(Protocol):
    """Several models of one method."""

    def predict(self, genomes: Choices) -> Float[Array, "k n"]:
        """What each says in ms, always positive."""
        ...


@runtime_checkable
class Method(Protocol):
    """A way to learn latencies, without intervals.

    `mlp.MLP`, `lookup.Lookup`, `trees.Trees`, `transfer.Transfer`.
    """

    def fit(
        self,
        key: PRNGKey,
        space: Space,
        genomes: Choices,
        latency_ms: Latencies,
        used: Bool[np.ndarray, "k n"],
    ) -> Members:
        """One model for each row of `used`, from the networks that it marks.

        Of the others it learns nothing.
        """
        ...


def check_latencies(split: str, latency_ms: Latencies) -> None:
    """Refuses latencies that are no measurements; `split` names them in the message."""
    latency_ms = np.asarray(latency_ms)
    wrong = ~(np.isfinite(latency_ms) & (latency_ms > 0))
    if wrong.any():
        bad = latency_ms[wrong]
        raise UserError(
            f"{split} latencies must be finite and above 0 ms, got {bad[0]} ({bad.size} such): "
            "leave failed measurements out"
        )
    if latency_ms.size == 0:
        raise UserError(f"the latency predictor needs {split} measurements, got none")
