"""Cost models: pure functions from networks' cost tables to their figures on a chip.

A cost model does not measure: whatever shows its figures shows `CostModel.error` beside them. A
chip is a file of its own (dataflow_chip.py, memory_chip.py) and a line in `config.DEVICES`.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxnas.errors import UserError
from jaxnas.hardware.device import Device, ExportedModel, Measurement, failed_measurement
from jaxnas.hardware.elastic_chip import ElasticChip
from jaxnas.hardware.timing import Summary
from jaxnas.networks.costs import KINDS, Layers, cost_table
from jaxnas.networks.op import Op

Numbers = Float[Array | np.ndarray, "*n"]
# What doubts mean, in words; one that is not here is shown by its name.
DOUBTS = {
    "extrapolated": "extrapolated, for the network is unlike all that the model was fitted to",
    "uncertain": "whether it fits the chip as a whole is a toss-up",
}


class Estimate(NamedTuple):
    """What a model says of networks: each array has one entry a network."""

    # `latency_ms`, of one image, NaN where the chip does not run the network; `energy_uj` where
    # the model has it; and figures of the chip's own.
    figures: dict[str, Array]
    doubts: dict[str, Bool[Array, "*n"]]  # why a network's figures may be worth less than others'

    @property
    def latency_ms(self) -> Float[Array, "*n"]:
        return self.figures["latency_ms"]


@runtime_checkable
class CostModel(Protocol):
    """An analytic chip: pure, traceable; `layers` may have any leading axes.

    An operator of a kind that the model does not know counts as a dense convolution with as many
    multiply-adds and weights, and the estimate says that it is `extrapolated`.
    """

    @property
    def name(self) -> str: ...

    @property
    def error(self) -> str:
        """How far it is off, and how that was found, for people to read."""
        ...

    def __call__(self, layers: Layers) -> Estimate: ...


class LayerCosts(NamedTuple):
    """Layer by layer, 0 where a layer is skipped; float32, and bool."""

    macs: Float[Array, "*n layers"]
    weight_bytes: Float[Array, "*n layers"]
    activation_bytes: Float[Array, "*n layers"]  # read and written
    spills: Bool[Array, "*n layers"]  # it does not fit into local memory
    npu_cycles: Float[Array, "*n layers"]
    system_cycles: Float[Array, "*n layers"]


@runtime_checkable
class SummedModel(CostModel, Protocol):
    """A cost model whose figures follow from sums over a network's layers.

    Those of a network's parts add up to those of the network.
    """

    def sums(self, layers: Layers, first: bool = True) -> Any:
        """A NamedTuple of numbers; `first` says whether the network begins with these layers."""
        ...

    def estimate(self, sums: Any, /) -> Estimate:
        """Of networks with these sums: all figures that follow from them."""
        ...


@runtime_checkable
class LayeredModel(CostModel, Protocol):
    """A cost model of a chip that runs a network layer by layer, and accounts for each layer."""

    @property
    def memory_bytes(self) -> int:
        """The local memory that a layer has to fit into."""
        ...

    def layer_by_layer(self, layers: Layers) -> LayerCosts:
        """What the network's figures are the sums of."""
        ...

    def latency_ms(self, npu_cycles: Numbers, system_cycles: Numbers) -> Numbers:
        """Of networks of so many cycles."""
        ...

    def operations(self, macs: Numbers, activation_bytes: Numbers) -> Numbers:
        """Multiply-adds, and what the chip's makers count beside them."""
        ...


@runtime_checkable
class LimitedModel(CostModel, Protocol):
    """A cost model of a chip that does not run every network: those have latency NaN."""

    def load(self, estimate: Estimate) -> Numbers:
        """How much of its tightest limit each network takes: 1 at the limit."""
        ...

    def refusal(self, estimate: Estimate) -> str:
        """Why it does not run this network, in one line."""
        ...


def unknown(layers: Layers) -> Bool[Array, "*n layers"]:
    """Which operators run, and are of a kind that no chip of this folder knows: a user's own."""
    return jnp.asarray((layers.repeat > 0) & (layers.kind >= len(KINDS)))


@dataclass(frozen=True)
class Modelled:
    """Lets a cost model stand in for a device: `Measurement.runtime` carries its stated error."""

    cost_model: CostModel

    @property
    def name(self) -> str:
        return self.cost_model.name

    def measure(self, model: ExportedModel) -> Measurement:
        """What the model says; the same every time."""
        if model.layers is None:
            raise ValueError(f"{self.name} needs the network's cost table")
        error = self.cost_model.error
        chip = self.cost_model
        if isinstance(chip, ElasticChip):
            chip = chip.chosen(model.chip)
        estimate = chip(model.layers)
        latency_ms = float(estimate.latency_ms)
        if math.isnan(latency_ms):
            refusal = ValueError(refused(chip, estimate))
            return replace(failed_measurement(self.name, 1, error, refusal), simulated=True)
        # A model has one figure, however often it is asked.
        summary: dict[str, Any] = dict.fromkeys(Summary._fields, latency_ms)
        return Measurement(
            self.name,
            **summary,
            repeats=1,
            threads=1,
            runtime=error,
            noise_floor=0.0,
            simulated=True,
            warning=warning(estimate),
        )


def refused(model: CostModel, estimate: Estimate) -> str:
    """Why a chip does not run this network."""
    return model.refusal(estimate) if isinstance(model, LimitedModel) else "it gives no latency"


def warning(estimate: Estimate) -> str:
    """The doubts about one network, in words."""
    return "; ".join(DOUBTS.get(name, name) for name, holds in estimate.doubts.items() if holds)


def cost_model(device: Device) -> CostModel | None:
    """The model that answers for a device; None for a device that measures."""
    return getattr(device, "cost_model", None)


def figure_names(model: CostModel) -> tuple[str, ...]:
    """The names of the figures that a model has."""
    layer = cost_table((Op("conv", "", (-1,), 1, 1, 1, 1),), 1, 1)
    return tuple(jax.eval_shape(model, layer).figures)


def model_with(device: Device, figure: str) -> CostModel:
    """The device's cost model; a `UserError` where it has none with this figure."""
    model = cost_model(device)
    if model is None or figure not in figure_names(model):
        raise UserError(
            f"the device {device.name} gives no {figure}: name one that models it, such as raptor, "
            "or a .toml file of such a chip"
        )
    return model


def layered_model(device: Device) -> LayeredModel:
    """The device's cost model; a `UserError` where it has none that accounts for each layer."""
    model = cost_model(device)
    if isinstance(model, ElasticChip):
        model = model.chosen({})
    if not isinstance(model, LayeredModel):
        raise UserError(
            f"the device {device.name} gives no account layer by layer, of memory and energy: name "
            "one that does, such as raptor, or a .toml file of such a chip"
        )
    return model
