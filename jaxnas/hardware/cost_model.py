"""Analytic accelerators: pure functions from a cost table to a latency.

With their error on their face.

They model, they do not measure: whatever shows their figures must show `CostModel.error` beside
them. The chips themselves are npu_dataflow.py (the Hailo-8L) and npu_memory.py (Raptor, and
whatever a user describes in a file).
"""

import math
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float

from jaxnas.hardware.device import ExportedModel, Measurement, failed_measurement
from jaxnas.hardware.timing import Summary
from jaxnas.networks.costs import Layers

DOUBTS = {
    "extrapolated": "extrapolated, for the network is unlike all that the model was fitted to",
    "uncertain": "whether it fits the chip as a whole is a toss-up",
}


@runtime_checkable
class Estimate(Protocol):
    """What a model says of networks, one entry a network; every chip adds figures of its own."""

    @property
    def latency_ms(self) -> Float[Array, "*n"]: ...


@runtime_checkable
class CostModel(Protocol):
    """An analytic device: pure, traceable; `layers` may have any leading axes."""

    @property
    def name(self) -> str: ...

    @property
    def error(self) -> str:
        """How far it is off, and how that was found, for people to read."""
        ...

    def __call__(self, layers: Layers) -> Estimate: ...


@dataclass(frozen=True)
class Modelled:
    """An analytic device in the place of a measured one.

    Its latencies come of a network's cost table, and its runtime says how far off.
    """

    model: CostModel

    @property
    def name(self) -> str:
        return self.model.name

    def measure(self, model: ExportedModel) -> Measurement:
        """What the model says; the same every time."""
        if model.layers is None:
            raise ValueError(f"{self.name} needs the network's cost table")
        estimate = self.model(model.layers)
        latency_ms = float(estimate.latency_ms)
        if math.isnan(latency_ms):
            return replace(
                failed_measurement(
                    self.name,
                    1,
                    self.model.error,
                    ValueError("the network does not fit as a whole"),
                ),
                simulated=True,
            )
        # A model has one figure, however often it is asked.
        same = Summary(*[latency_ms] * len(Summary._fields))._asdict()
        told = Measurement(
            self.name,
            **same,
            repeats=1,
            threads=1,
            runtime=self.model.error,
            noise_floor=0.0,
            simulated=True,
        )
        return replace(told, warning=doubts(estimate))


def doubts(estimate: Estimate) -> str:
    """What a chip that knows where its model ends says of one network.

    See `npu_dataflow.Estimate`.
    """
    return "; ".join(words for name, words in DOUBTS.items() if getattr(estimate, name, False))
