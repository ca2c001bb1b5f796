"""Microcontrollers: one core that does all multiply-adds, and memories that are the limit.

Networks are int8, one byte a weight or activation; biases are int32, norms are folded into them.
"""

import math
from dataclasses import dataclass, fields
from typing import ClassVar

import jax.numpy as jnp

from jaxnas.errors import UserError
from jaxnas.hardware.cost_model import Estimate, Numbers, unknown
from jaxnas.networks.costs import CONV, LINEAR, Layers

BIAS_BYTES = 4
CLOCK_MHZ = (1e-3, 1e4)  # what a microcontroller may have; Hz for MHz lies beyond
MOST_CYCLES = 1e6  # a multiply-add
POSITIVE = ("clock_mhz", "ram_bytes", "flash_bytes", "dense")


@dataclass(frozen=True)
class Microcontroller:
    """A microcontroller that runs a network from its own RAM and flash.

    Activations lie in RAM: those of the operator under which the most are held, the image among
    them until its last use, and no operator writes over its input. Weights lie in flash. A network
    that exceeds either has no latency. Latency is multiply-adds times cycles, by kind of layer;
    poolings, additions and the runtime's own work are part of the measured cycles, or left out.
    """

    elastic: ClassVar = ("ram_bytes", "flash_bytes", "clock_mhz")  # settings to be chosen
    memories: ClassVar = ("ram_bytes",)  # local, in bytes

    name: str
    error: str  # how far its latency is off, and how that is known
    clock_mhz: float
    ram_bytes: int
    flash_bytes: int
    # Cycles a multiply-add: of ordinary, grouped and 1x1 convolutions, of depthwise ones, of the
    # fully connected layers (0: as `dense`).
    dense: float
    depthwise: float = 0.0  # 0: as `dense`
    linear: float = 0.0
    ram_overhead_bytes: int = 0  # of the runtime: stack, buffers
    flash_overhead_bytes: int = 0  # of the runtime's code, and of a boot loader

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str):
                if not value.strip():
                    raise UserError(f"{field.name} must be a text, got none")
                continue
            positive = field.name in POSITIVE
            if not (0 <= value < math.inf and (value or not positive)):
                raise UserError(
                    f"{field.name} must be {'above' if positive else 'at least'} 0 and finite, got "
                    f"{value}: check the unit"
                )
        low, high = CLOCK_MHZ
        if not low <= self.clock_mhz <= high:
            raise UserError(
                f"clock_mhz must be {low:g} to {high:g}, got {self.clock_mhz:g}: check the unit"
            )
        if (cycles := max(self.dense, self.depthwise, self.linear)) > MOST_CYCLES:
            raise UserError(
                f"a multiply-add must take {MOST_CYCLES:g} cycles at most, got {cycles:g}: check "
                "dense, depthwise and linear"
            )

    def __call__(self, layers: Layers) -> Estimate:
        """`latency_ms`, NaN where a memory is too small, `ram_bytes` and `flash_bytes`."""
        runs = layers.repeat > 0
        strange = unknown(layers)
        weighted = runs & ((layers.kind == CONV) | (layers.kind == LINEAR) | strange)
        depthwise = (layers.kind == CONV) & (layers.groups > 1) & (layers.groups == layers.c_in)
        known = layers.c_out * (layers.c_in // layers.groups) * layers.kernel**2
        weights = jnp.where(strange, layers.params, known) + BIAS_BYTES * layers.c_out
        cycles = jnp.where(
            depthwise,
            self.depthwise or self.dense,
            jnp.where(layers.kind == LINEAR, self.linear or self.dense, self.dense),
        )
        macs = jnp.where(runs, layers.macs, 0).astype(jnp.float32)
        latency_ms = (macs * cycles).sum(-1) / (1e3 * self.clock_mhz)
        ram = jnp.where(runs, layers.live, 0).max(-1).astype(jnp.float32) + self.ram_overhead_bytes
        flash = jnp.where(weighted, weights, 0).astype(jnp.float32).sum(-1)
        flash = flash + self.flash_overhead_bytes
        fits = (ram <= self.ram_bytes) & (flash <= self.flash_bytes)
        figures = {
            "latency_ms": jnp.where(fits, latency_ms, jnp.nan),
            "ram_bytes": ram,
            "flash_bytes": flash,
        }
        return Estimate(figures, {"extrapolated": strange.any(-1)})

    def load(self, estimate: Estimate) -> Numbers:
        """The larger share of the two memories that each network takes; above 1 it does not fit."""
        figures = estimate.figures
        return jnp.maximum(
            figures["ram_bytes"] / self.ram_bytes, figures["flash_bytes"] / self.flash_bytes
        )

    def refusal(self, estimate: Estimate) -> str:
        """Which memory the network exceeds, and by how much."""
        limits = {"RAM": ("ram_bytes", self.ram_bytes), "flash": ("flash_bytes", self.flash_bytes)}
        taken = {name: float(estimate.figures[figure]) for name, (figure, _) in limits.items()}
        return " and ".join(
            f"needs {taken[name] / 1024:.1f} KiB of {name}, of {limit / 1024:g}"
            for name, (_, limit) in limits.items()
            if taken[name] > limit
        )
