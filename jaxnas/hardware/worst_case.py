"""The worst of several devices: what a network takes on the one that it suits least."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import jax.numpy as jnp

from jaxnas.errors import UserError
from jaxnas.hardware.cost_model import (
    CostModel,
    Estimate,
    LimitedModel,
    Modelled,
    Numbers,
    cost_model,
)
from jaxnas.hardware.device import (
    Device,
    ExportedModel,
    Identified,
    Measurement,
    check_reachable,
)
from jaxnas.hardware.elastic_chip import ElasticChip
from jaxnas.networks.costs import Layers


def worst_case(devices: Sequence[Device], name: str) -> Device:
    """A device of this name that takes as long as the slowest of these.

    Where all are models it is one, and its energy is the largest too.

    Raises:
        UserError: there are fewer than two, two have one name, or one leaves settings of its chip
            to be chosen.
    """
    names = [device.name for device in devices]
    if len(names) < 2 or len({*names}) < len(names):
        raise UserError(
            f"a worst case is of two devices or more, each once, got {', '.join(names) or 'none'}: "
            "write worst:raptor_small,hailo8l_model"
        )
    models = [model for model in map(cost_model, devices) if model is not None]
    if elastic := [one.name for one in models if isinstance(one, ElasticChip)]:
        raise UserError(
            f"the chip {elastic[0]} of the device {name} leaves settings to be chosen, which no "
            "worst case does: give each one value"
        )
    if len(models) == len(devices):
        return Modelled(WorstModel(name, tuple(models)))
    return WorstDevice(name, tuple(devices))


@dataclass(frozen=True)
class WorstModel:
    """A cost model: the largest figure of each that all of the `models` have.

    A network that one of them does not run has latency NaN, and one that one of them doubts is in
    doubt. The figures of each model stand beside, under `MODEL/FIGURE`.
    """

    name: str
    models: tuple[CostModel, ...]

    @property
    def error(self) -> str:
        return "; ".join(f"{model.name}: {model.error}" for model in self.models)

    def __call__(self, layers: Layers) -> Estimate:
        each = {model.name: model(layers) for model in self.models}
        figures = {
            f"{name}/{figure}": value
            for name, estimate in each.items()
            for figure, value in estimate.figures.items()
        }
        first, *others = each.values()
        for figure, value in first.figures.items():
            if all(figure in other.figures for other in others):
                # Of a NaN and a number it is NaN.
                values = [other.figures[figure] for other in others]
                figures[figure] = reduce(jnp.maximum, values, value)
        doubts: dict = {}
        for estimate in each.values():
            for name, holds in estimate.doubts.items():
                doubts[name] = doubts.get(name, False) | holds
        return Estimate(figures, doubts)

    def load(self, estimate: Estimate) -> Numbers:
        """Of the chip that it loads most, of those that have limits."""
        loads = [
            model.load(_of(model, estimate))
            for model in self.models
            if isinstance(model, LimitedModel)
        ]
        return reduce(jnp.maximum, loads, jnp.zeros_like(estimate.latency_ms))

    def refusal(self, estimate: Estimate) -> str:
        """Of the first chip that does not run the network."""
        for model in self.models:
            mine = _of(model, estimate)
            if jnp.isnan(mine.latency_ms) and isinstance(model, LimitedModel):
                return f"{model.refusal(mine)} (of {model.name})"
        return "has no latency"


def _of(model: CostModel, estimate: Estimate) -> Estimate:
    start = f"{model.name}/"
    mine = {
        name.removeprefix(start): value
        for name, value in estimate.figures.items()
        if name.startswith(start)
    }
    return Estimate(mine, estimate.doubts)


@dataclass(frozen=True)
class WorstDevice:
    """Measures on each of the devices, one after another; the slowest measurement counts.

    A network that fails on one of them fails.
    """

    name: str
    devices: tuple[Device, ...]

    def measure(self, model: ExportedModel) -> Measurement:
        """Carries the clock, processor, runtime and doubts of the device that was slowest."""
        found = []
        for device in self.devices:
            found.append(device.measure(model))
            if found[-1].failure:
                return replace(found[-1], device=self.name)
        slowest = max(found, key=lambda one: one.latency_ms)
        return replace(slowest, device=self.name)

    def identity(self) -> Mapping[str, str | int | float] | None:
        """Of all devices; None where one cannot tell."""
        every: dict[str, str | int | float] = {}
        for device in self.devices:
            mine = device.identity() if isinstance(device, Identified) else None
            if mine is None:
                return None
            every |= {f"{device.name} {name}": value for name, value in mine.items()}
        return every

    def check(self) -> None:
        """Raises `UserError` where one of them cannot measure now."""
        for device in self.devices:
            check_reachable(device)
