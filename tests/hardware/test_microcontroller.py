"""Microcontrollers: counted by hand, against published latencies, and their limits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxnas.config import load_chip
from jaxnas.errors import UserError
from jaxnas.hardware.cost_model import Modelled
from jaxnas.hardware.device import ExportedModel
from jaxnas.hardware.microcontroller import Microcontroller
from jaxnas.networks.costs import cost_table
from jaxnas.networks.op import Op

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SIMPLE = Microcontroller("simple", "none", 1.0, 200, 120, 2.0, depthwise=3.0, linear=4.0)
OPS = (
    Op("conv", "a", (-1,), 4, 4, 1, 4, kernel=3),  # 576 multiply-adds, 36 weights, 4 biases
    Op("conv", "b", (0,), 4, 4, 4, 4, kernel=3, groups=4),  # 576, 36 and 4
    Op("add", "", (1, 0), 4, 4, 4, 4),  # two inputs and an output: 192 activations
    Op("pool", "", (2,), 1, 1, 4, 4),
    Op("linear", "c", (3,), 1, 1, 4, 2),  # 8, 8 and 2
)
LAYERS = cost_table(OPS, 4, 4)


def test_a_network_counted_by_hand():
    figures = replace(SIMPLE, ram_overhead_bytes=8)(LAYERS).figures
    assert figures["ram_bytes"] == 200 and figures["flash_bytes"] == 36 + 36 + 8 + 4 * (4 + 4 + 2)
    np.testing.assert_allclose(figures["latency_ms"], (576 * 2 + 576 * 3 + 8 * 4) / 1e3)


def resnet8() -> tuple[Op, ...]:
    """The image classifier of MLPerf Tiny, of 32 pixels: 12.50 million multiply-adds."""
    ops = [Op("conv", "stem", (-1,), 32, 32, 3, 16, kernel=3)]
    for i, (c_in, c_out, size) in enumerate(((16, 16, 32), (16, 32, 16), (32, 64, 8))):
        stride = 1 if c_in == c_out else 2
        start = len(ops) - 1
        ops += [
            Op("conv", f"{i}/a", (start,), size, size, c_in, c_out, kernel=3, stride=stride),
            Op("conv", f"{i}/b", (start + 1,), size, size, c_out, c_out, kernel=3),
        ]
        shortcut = start
        if stride == 2:
            ops.append(Op("conv", f"{i}/c", (start,), size, size, c_in, c_out, stride=2))
            shortcut = start + 3
        ops.append(Op("add", "", (start + 2, shortcut), size, size, c_out, c_out))
    last = len(ops)
    return (
        *ops,
        Op("pool", "", (last - 1,), 1, 1, 64, 64),
        Op("linear", "classifier", (last,), 1, 1, 64, 10),
    )


def mobilenet() -> tuple[Op, ...]:
    """The visual wake words network, MobileNetV1 0.25 of 96 pixels: 7.49 million multiply-adds."""
    ops = [Op("conv", "stem", (-1,), 48, 48, 3, 8, kernel=3, stride=2)]
    size, c_in = 48, 8
    widths = (16, 32, 32, 64, 64, 128, 128, 128, 128, 128, 128, 256, 256)
    for i, c_out in enumerate(widths):
        stride = 2 if i in (1, 3, 5, 11) else 1
        size //= stride
        at = len(ops) - 1
        depthwise = Op(
            "conv", f"{i}/d", (at,), size, size, c_in, c_in, kernel=3, stride=stride, groups=c_in
        )
        ops += [depthwise, Op("conv", f"{i}/p", (at + 1,), size, size, c_in, c_out)]
        c_in = c_out
    at = len(ops) - 1
    return (
        *ops,
        Op("pool", "", (at,), 1, 1, 256, 256),
        Op("linear", "classifier", (at + 1,), 1, 1, 256, 2),
    )


@pytest.mark.parametrize(
    ("ops", "size", "macs", "per_second", "off"),
    [(resnet8(), 32, 12_501_632, 4.407, 0.001), (mobilenet(), 96, 7_489_664, 4.339, -0.04)],
    ids=["resnet8", "mobilenet"],
)
def test_the_cycles_of_a_cortex_m4_give_the_published_latencies(ops, size, macs, per_second, off):
    """STMicroelectronics on an STM32L4R5 at 120 MHz, MLPerf Tiny v1.0; `off` as the file says."""
    assert sum(op.macs for op in ops) == macs
    chip = load_chip(str(EXPERIMENTS / "stm32f412.toml"))
    assert isinstance(chip, Microcontroller)
    found = float(replace(chip, clock_mhz=120.0)(cost_table(ops, size, size)).latency_ms)
    assert found / (1e3 / per_second) - 1 == pytest.approx(off, abs=0.003)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"ram_bytes": 191}, "needs 0.2 KiB of RAM, of 0.186523"),
        ({"flash_bytes": 119}, "needs 0.1 KiB of flash, of 0.116211"),
        ({"ram_overhead_bytes": 1025}, "needs 1.2 KiB of RAM, of 0.1875"),
        ({"flash_overhead_bytes": 1024}, "needs 1.1 KiB of flash, of 0.117188"),
    ],
)
def test_a_network_beyond_a_memory_fails_and_says_why(change, reason):
    chip = replace(SIMPLE, ram_bytes=192)
    found = Modelled(replace(chip, **change)).measure(
        ExportedModel(b"", np.zeros(1, np.int32), layers=LAYERS)
    )
    assert reason in found.failure and bool(found.failure) == bool(reason)
    assert np.isnan(found.latency_ms) == bool(reason) and found.simulated


@pytest.mark.parametrize("name", ["stm32f412", "microbit", "uno"])
def test_the_files_of_microcontrollers_say_that_nobody_measured_them(name):
    chip = load_chip(str(EXPERIMENTS / f"{name}.toml"))
    assert isinstance(chip, Microcontroller) and chip.error.startswith("not measured")


def test_a_mistake_is_one_line():
    for change in ({"clock_mhz": 0.0}, {"ram_bytes": -1}, {"error": " "}):
        with pytest.raises(UserError, match=f"{next(iter(change))} must be"):
            replace(SIMPLE, **change)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"clock_mhz": 16e6}, "clock_mhz must be 0.001 to 10000, got 1.6e"),
        ({"clock_mhz": 1e-300}, "clock_mhz must be 0.001 to 10000"),
        ({"linear": 1e38}, "a multiply-add must take 1e.06 cycles at most"),
    ],
)
def test_a_number_of_another_unit_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        replace(SIMPLE, **change)
