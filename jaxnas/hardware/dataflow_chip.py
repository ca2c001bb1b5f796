"""Chips that run all layers of a network at once, as a pipeline: the Hailo-8L."""

import math
from dataclasses import dataclass, fields
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool

from jaxnas.errors import UserError, choose
from jaxnas.hardware.cost_model import Estimate, Numbers, unknown
from jaxnas.networks.costs import (
    ADD,
    AVGPOOL,
    AVGPOOL2,
    CONV,
    LINEAR,
    MAXPOOL,
    MAXPOOL2,
    MUL,
    Layers,
)

# Settings that a chip divides by.
POSITIVE = ("macs_per_ms", "clock_mhz", "params_capacity", "lines_capacity")


class Workload(NamedTuple):
    """What a dataflow chip sees of networks, float32, one entry a network; the counts in millions.

    Fits use numpy's float64.
    """

    pixels: Numbers  # of the input image
    dense: Numbers  # multiply-adds, but the depthwise ones
    depthwise: Numbers  # multiply-adds of depthwise convolutions
    elementwise: Numbers  # outputs of additions, multiplications and poolings, but the global ones
    params: Numbers
    lines: Numbers  # activations in the rows of its input that each layer holds
    # Share of an image that passes before each layer can start, summed over the layers.
    fill: Numbers
    gates: Numbers  # squeeze-excites, a number
    unknown: Numbers  # operators of kinds that the model does not know, a number


def workload(layers: Layers, first: bool = True) -> Workload:
    """Sums over the layers of each network; the image counts where it begins with these layers.

    A multiplication by one number a channel is a squeeze-excite; any other is elementwise, as an
    addition.
    """
    runs = layers.repeat.astype(jnp.float32)
    halving = (layers.kind == AVGPOOL2) | (layers.kind == MAXPOOL2)
    pooled = halving | (layers.kind == MAXPOOL) | (layers.kind == AVGPOOL)
    halves = halving & (layers.kernel == 1)  # as spaces write it, without a window
    kernel = jnp.where(halves, 2, layers.kernel)
    stride = jnp.where(halves, 2, layers.stride)
    strange = unknown(layers)
    windowed = (layers.kind == CONV) | strange
    spatial = windowed | (layers.kind == ADD) | (layers.kind == MUL) | pooled
    weighted = windowed | (layers.kind == LINEAR)
    depthwise = (layers.kind == CONV) & (layers.groups > 1) & (layers.groups == layers.c_in)
    pixels = layers.height * layers.width
    outputs = runs * pixels * layers.c_out
    macs = runs * layers.macs
    gates = runs * ((layers.kind == MUL) & (layers.reads <= (pixels + 1) * layers.c_out))

    def millions(values):
        return values.sum(axis=-1) / 1e6

    return Workload(
        pixels=first * (pixels * layers.stride**2)[..., 0].astype(jnp.float32) / 1e6,
        dense=millions(jnp.where(depthwise, 0, macs)),
        depthwise=millions(jnp.where(depthwise, macs, 0)),
        elementwise=millions(jnp.where(weighted | ~spatial, 0, outputs)),
        params=millions(runs * layers.params),
        lines=millions(jnp.where(spatial, runs * kernel * stride * layers.width * layers.c_in, 0)),
        fill=(
            runs * ((windowed & (layers.height > 1)) | pooled) * kernel / layers.height + gates
        ).sum(axis=-1),
        gates=gates.sum(axis=-1),
        unknown=strange.sum(axis=-1),
    )


@dataclass(frozen=True)
class DataflowChip:
    """A chip on which all layers of a network run at once.

    Each on its own share, as a pipeline of rows.

    A network that fits takes, per image, whichever is more (with a soft corner): the time to take
    the image in, or that of its work spread over the chip. One that does not fit is cut into parts,
    which are loaded in turn for every image.
    """

    elastic: ClassVar = ("macs_per_ms", "params_capacity", "lines_capacity")  # to be chosen
    memories: ClassVar = ()  # none of them in bytes

    name: str
    error: str
    macs_per_ms: float  # at the chip's peak, millions
    clock_mhz: float
    pixel_cycles: float  # to take in a pixel
    dense: float  # times the peak's time that a dense multiply-add takes
    depthwise: float
    elementwise: float  # the same, an output of an addition or pooling
    # Per million parameters: to load the parts of a network that does not fit.
    load_params_ms: float
    load_lines_ms: float  # per million activations in the layers' rows
    parts_slower: float  # than the same network in one piece, the loading aside
    params_capacity: float  # millions of parameters that fill the chip
    lines_capacity: float  # millions of activations in rows that fill it
    # Of its window that a layer waits for; from three measurements of two networks, untested.
    pipeline: float = 0.505
    # Latency over period of a network in several parts: 0.72 to 0.95 over eight networks.
    parts_latency: float = 0.8
    shortest_ms: float = 0.09  # no published network is faster
    # Occupancies at which networks were found on either side.
    uncertain: tuple[float, float] = (0.65, 1.05)
    # Quantity of the workload, least and most among the fitted networks.
    fitted: tuple[tuple[str, float, float], ...] = ()

    def __post_init__(self):
        if not self.error.strip():
            raise UserError("error must be a text, got none")
        for field in fields(self):
            value = getattr(self, field.name)
            positive = field.name in POSITIVE
            if isinstance(value, int | float) and not (
                0 <= value < math.inf and (value or not positive)
            ):
                raise UserError(
                    f"{field.name} must be {'above' if positive else 'at least'} 0 and finite, got "
                    f"{value}: check the unit"
                )
        for name, _, _ in self.fitted:
            choose("quantity in fitted", name, dict.fromkeys(Workload._fields))

    def __call__(self, layers: Layers) -> Estimate:
        return self.estimate(self.sums(layers))

    def sums(self, layers: Layers, first: bool = True) -> Workload:
        return workload(layers, first)

    def estimate(self, work: Workload) -> Estimate:
        """`latency_ms` from a network's first byte on the chip to its last off it, and more.

        `period_ms` is the time from image to image at batch 1, `occupancy` the share of the chip
        that the whole network would take. `several` says that it does not fit as a whole: the chip
        is loaded anew, part after part, for every image.
        """
        whole_ms = self.whole_ms(work)
        loading_ms = self.loading_ms(work)
        occupancy = jnp.asarray(
            work.params / self.params_capacity + work.lines / self.lines_capacity
        )
        gated = jnp.asarray(work.gates > 0)
        several = (occupancy > 1) | gated
        period_ms = jnp.where(
            several,
            loading_ms + self.parts_slower * whole_ms,
            jnp.maximum(whole_ms, self.shortest_ms),
        )
        figures = {
            "latency_ms": period_ms
            * jnp.where(several, self.parts_latency, 1 + self.pipeline * work.fill),
            "period_ms": period_ms,
            "occupancy": occupancy,
            "several": several,
        }
        toss_up = (occupancy > self.uncertain[0]) & (occupancy < self.uncertain[1])
        doubts = {
            "extrapolated": gated | (work.unknown > 0) | self._is_outside(work),
            "uncertain": gated | toss_up,
        }
        return Estimate(figures, doubts)

    def _is_outside(self, work: Workload) -> Bool[Array, "*n"]:
        """Whether a quantity of the workload lies outside those of the fitted networks."""
        outside = jnp.zeros(jnp.shape(work.params), bool)
        for name, least, most in self.fitted:
            outside |= (getattr(work, name) < least) | (getattr(work, name) > most)
        return outside

    def whole_ms(self, work: Workload) -> Numbers:
        """Milliseconds per image of a network in one piece."""
        taken_in = self.pixel_cycles * work.pixels * 1e3 / self.clock_mhz
        spread = (
            self.dense * work.dense
            + self.depthwise * work.depthwise
            + self.elementwise * work.elementwise
        )
        return (taken_in**4 + (spread / self.macs_per_ms) ** 4) ** 0.25

    def loading_ms(self, work: Workload) -> Numbers:
        """Milliseconds per batch to load the parts of a network."""
        return self.load_params_ms * work.params + self.load_lines_ms * work.lines


HAILO_8L = DataflowChip(
    name="hailo8l_model",
    error=(
        "simulated Hailo-8L: analytic, fitted to the published throughput of 28 networks of 120 to "
        "300 pixels. Asked for each without having seen it: median error 12 %, and one in twenty "
        "beyond a factor of 1.5; of one network in 28 it is wrong whether it fits as a whole, "
        "which is a factor of 5"
    ),
    macs_per_ms=6500.0,  # 13 TOPS: 16,250 multiply-adds a cycle at 400 MHz, in millions
    clock_mhz=400.0,
    pixel_cycles=2.235,
    dense=1.991,
    depthwise=150.1,
    elementwise=910.5,
    load_params_ms=0.1673,
    load_lines_ms=2.869,
    parts_slower=1.0435,
    params_capacity=19.20,
    lines_capacity=1.510,
    fitted=(
        ("pixels", 0.0144, 0.0901),
        ("dense", 172.0, 9244.0),
        ("depthwise", 0.0, 180.2),
        ("elementwise", 0.0, 5.73),
        ("params", 1.23, 25.57),
        ("lines", 0.102, 2.5),
    ),
)
"""Squeeze-excites count as not fitting (no published network with them does) and as extrapolation.
Unseen too, but not shown by the cost table, are swish and hard-swish. Frame times are of
compilations with high effort. Fitted and tested by experiments/hailo8l_model.py."""


@dataclass(frozen=True)
class SingleContext:
    """The same chip for networks that fit as a whole.

    One that does not has no latency, as if it had failed.
    """

    chip: DataflowChip

    @property
    def name(self) -> str:
        return f"{self.chip.name}:single"

    @property
    def error(self) -> str:
        return self.chip.error

    def __call__(self, layers: Layers) -> Estimate:
        estimate = self.chip(layers)
        several = estimate.figures["several"]
        latency_ms = jnp.where(several, jnp.nan, estimate.latency_ms)
        return estimate._replace(figures=estimate.figures | {"latency_ms": latency_ms})

    def load(self, estimate: Estimate) -> Numbers:
        """Its occupancy."""
        return estimate.figures["occupancy"]

    def refusal(self, estimate: Estimate) -> str:
        return "the network does not fit as a whole"
