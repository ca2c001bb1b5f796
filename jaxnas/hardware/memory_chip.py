"""Chips that run a network layer by layer from a small local memory.

What does not fit there passes through the system's.

The cycle model and its constants for TinyRAPTOR were fitted to the thirteen published figures of
Castagnetti et al. ("Neural architecture search under hardware constraints for a memory-constrained
embedded accelerator"): experiments/raptor_table1.py.
"""

from dataclasses import dataclass, fields, replace
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.errors import UserError
from jaxnas.hardware.cost_model import Estimate, LayerCosts, Numbers, unknown
from jaxnas.networks.costs import CONV, LINEAR, Layers

MAX_SETTING = 1e9  # which int32 and float32 take


class Sums(NamedTuple):
    """Over the layers of each network, float32: see `LayerCosts`."""

    macs: Float[Array, "*n"]
    weight_bytes: Float[Array, "*n"]
    activation_bytes: Float[Array, "*n"]
    npu_cycles: Float[Array, "*n"]
    system_cycles: Float[Array, "*n"]
    unknown: Float[Array, "*n"]  # operators of kinds that the model does not know, a number


@dataclass(frozen=True)
class MemoryBoundChip:
    """An accelerator of int8 networks, one byte a weight or activation.

    A layer computes for `dense` or `depthwise` cycles a multiply-add and lane, while the system
    moves its bytes; whichever takes longer is the network's time. Activations of a layer that does
    not fit cost `spilled_cycles` a byte more.
    """

    elastic: ClassVar = ("memory_bytes", "macs_per_cycle", "weight_memory_bytes")  # to be chosen
    memories: ClassVar = ("memory_bytes", "weight_memory_bytes")  # local, in bytes

    name: str
    error: str  # how far its figures are off, and how that is known
    clock_mhz: float
    macs_per_cycle: float  # lanes
    memory_bytes: int  # local; a layer's inputs, output and weights share it
    # Of the system, to read or write a byte: 1 / bandwidth in bytes a cycle.
    activation_cycles: float
    spilled_cycles: float
    weight_cycles: float
    power_mw: float
    dense: float = 1.0
    depthwise: float = 1.0
    weight_memory_bytes: int = 0  # a local memory of the weights' own; 0: they share the other
    pj_per_mac: float = 0.0  # energy beyond power x latency
    pj_per_byte: float = 0.0
    # Counted beside the multiply-adds, for every byte of activation moved.
    operations_per_byte: float = 0.0

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            positive = field.name in ("clock_mhz", "macs_per_cycle", "memory_bytes")
            if isinstance(value, str):
                if not value.strip():
                    raise UserError(f"{field.name} must be a text, got none")
                continue
            if value < 0 or (positive and value == 0):
                raise UserError(
                    f"{field.name} must be {'above' if positive else 'at least'} 0, got {value}"
                )
            if not value <= MAX_SETTING:
                raise UserError(f"{field.name} must be at most {MAX_SETTING:g}, got {value:g}")

    def __call__(self, layers: Layers) -> Estimate:
        """`latency_ms`, `energy_uj`, cycles, the efficiency `mu`, `operations` and `peak_bytes`.

        `mu` is the share of the system's cycles in which the accelerator computes; `peak_bytes` are
        the inputs, output and weights of the layer that has the most.
        """
        each = self.layer_by_layer(layers)
        estimate = self.estimate(self.sums(layers))
        peak_bytes = (each.weight_bytes + each.activation_bytes).max(-1)
        return estimate._replace(figures=estimate.figures | {"peak_bytes": peak_bytes})

    def sums(self, layers: Layers, first: bool = True) -> Sums:
        each = self.layer_by_layer(layers)
        return Sums(
            each.macs.sum(-1),
            each.weight_bytes.sum(-1),
            each.activation_bytes.sum(-1),
            each.npu_cycles.sum(-1),
            each.system_cycles.sum(-1),
            unknown(layers).sum(-1).astype(jnp.float32),
        )

    def estimate(self, sums: Sums) -> Estimate:
        """All figures but `peak_bytes`, which are those of a single layer."""
        latency_ms = self.latency_ms(sums.npu_cycles, sums.system_cycles)
        bytes_pj = self.pj_per_byte * (sums.activation_bytes + sums.weight_bytes)
        beyond_uj = (self.pj_per_mac * sums.macs + bytes_pj) / 1e6
        figures = {
            "latency_ms": latency_ms,
            "energy_uj": self.power_mw * latency_ms + beyond_uj,
            "npu_cycles": sums.npu_cycles,
            "system_cycles": sums.system_cycles,
            "mu": sums.npu_cycles / sums.system_cycles,
            "operations": jnp.asarray(self.operations(sums.macs, sums.activation_bytes)),
        }
        return Estimate(figures, {"extrapolated": sums.unknown > 0})

    def latency_ms(self, npu_cycles: Numbers, system_cycles: Numbers) -> Float[Array, "*n"]:
        """Of networks of so many cycles: accelerator and system work side by side."""
        return jnp.maximum(npu_cycles, system_cycles) / (1e3 * self.clock_mhz)

    def operations(self, macs: Numbers, activation_bytes: Numbers) -> Numbers:
        """Multiply-adds, and what the chip's authors count for moving activations."""
        return macs + self.operations_per_byte * activation_bytes

    def layer_by_layer(self, layers: Layers) -> LayerCosts:
        """The account that the network's figures are the sums of."""
        runs = layers.repeat > 0
        weighted = (layers.kind == CONV) | (layers.kind == LINEAR)
        depthwise = (layers.kind == CONV) & (layers.groups > 1) & (layers.groups == layers.c_in)
        known = jnp.where(
            runs & weighted, layers.c_out * (layers.c_in // layers.groups) * layers.kernel**2, 0
        )
        weights = jnp.where(unknown(layers), layers.params, known).astype(jnp.float32)
        macs = jnp.where(runs, layers.macs, 0).astype(jnp.float32)
        moved = jnp.where(
            runs, layers.reads + layers.height * layers.width * layers.c_out, 0
        ).astype(jnp.float32)
        shared = jnp.asarray(self.weight_memory_bytes) == 0
        held = moved + jnp.where(shared, weights, 0)
        spills = (held > self.memory_bytes) | (~shared & (weights > self.weight_memory_bytes))
        npu = macs * jnp.where(depthwise, self.depthwise, self.dense) / self.macs_per_cycle
        system = (
            moved * (self.activation_cycles + self.spilled_cycles * spills)
            + self.weight_cycles * weights
        )
        return LayerCosts(macs, weights, moved, spills, npu, system)


RAPTOR = MemoryBoundChip(
    name="raptor",
    error=(
        "simulated TinyRAPTOR: an analytic model, six numbers fitted to thirteen published figures "
        "of MobileNetV2. Of these it misses the nine efficiencies by 5.8 % on average and 14 % at "
        "worst, the two latencies by 3 %; nobody has measured it on anything else"
    ),
    clock_mhz=200.0,
    macs_per_cycle=128.0,
    memory_bytes=256_000,
    activation_cycles=2.604,
    spilled_cycles=6.046,
    weight_cycles=0.129,
    power_mw=10.22,
    dense=3.163,
    depthwise=19.889,
    operations_per_byte=1.087,
)
"""200 MHz, 128 processing elements; the size of its memory is not published, but deduced. Latencies
of networks unlike MobileNetV2, and accuracies of other data, are beyond what the model was fitted
to."""

RAPTOR_SMALL = replace(
    RAPTOR,
    name="raptor_small",
    error=(
        "no machine at all: the simulated TinyRAPTOR, the memory of its activations scaled to "
        "0.16, so that at 32 pixels those blocks spill that spill at 160"
    ),
    memory_bytes=40_960,
    weight_memory_bytes=256_000,
)
"""At 32 pixels maps have 0.16 of their area at 160. Weights are as large as ever, and keep a memory
of the old size."""
