"""The worst of several devices, modelled and measured."""

from dataclasses import dataclass, field, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.config import ProfileConfig, device_names, make_device
from jaxnas.errors import UserError
from jaxnas.hardware.cost_model import LimitedModel, cost_model, layered_model, model_with
from jaxnas.hardware.device import ExportedModel, Measurement
from jaxnas.hardware.tables import Table, worst_case
from jaxnas.networks.costs import cost_table
from jaxnas.networks.op import Op

# A network whose convolutions take more weights than activations, and the other way round.
SMALL, LARGE = (
    cost_table((Op("conv", "a", (-1,), size, size, inputs, outputs, kernel=3),), size, size)
    for size, inputs, outputs in ((8, 512, 512), (128, 3, 32))
)
MICROCONTROLLER = """
kind = "microcontroller"
error = "a guess"
clock_mhz = 100
ram_bytes = 100000
flash_bytes = 100000
dense = 2
"""


def made(device) -> Any:
    return make_device(ProfileConfig(device=device))


def test_each_figure_is_the_largest_and_the_models_errors_and_doubts_carry_over():
    device = made("worst:raptor,raptor_small")
    model = model_with(device, "energy_uj")
    alone = [model_with(made(name), "energy_uj") for name in ("raptor", "raptor_small")]
    assert device.name == model.name == "worst:raptor,raptor_small"
    assert all(f"{one.name}: {one.error}" in model.error for one in alone)
    for layers in (SMALL, LARGE):
        estimate = model(layers)
        for figure in ("latency_ms", "energy_uj"):
            each = [one(layers).figures[figure] for one in alone]
            assert estimate.figures[figure] == max(each)
            assert estimate.figures[f"raptor/{figure}"] == each[0]
        assert estimate.doubts["extrapolated"] == any(
            one(layers).doubts["extrapolated"] for one in alone
        )
    measurement = device.measure(ExportedModel(b"", np.zeros(1, np.int32), layers=SMALL))
    assert measurement.simulated and measurement.latency_ms == model(SMALL).latency_ms
    with pytest.raises(UserError, match="the device worst:raptor,hailo8l_model gives no energy_uj"):
        model_with(made("worst:raptor,hailo8l_model"), "energy_uj")
    with pytest.raises(UserError, match="gives no account layer by layer"):
        layered_model(device)


def test_a_network_that_one_chip_does_not_run_has_no_worst_case(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(MICROCONTROLLER)
    model = cost_model(made(f"worst:raptor,{path}"))
    assert isinstance(model, LimitedModel)
    estimate = model(SMALL)
    assert jnp.isnan(estimate.latency_ms) and jnp.isfinite(estimate.figures["raptor/latency_ms"])
    assert model.load(estimate) > 1 and model.refusal(estimate).endswith("(of small)")
    path.write_text(MICROCONTROLLER.replace("100000", "100000000"))
    model = cost_model(made(f"worst:raptor,{path}"))
    assert isinstance(model, LimitedModel)
    assert 0 < model.load(model(SMALL)) < 1 and jnp.isfinite(model(SMALL).latency_ms)


@dataclass(frozen=True)
class Timed:
    """A device that takes as long as it is told to; it is unreachable where it has no time."""

    name: str
    ms: dict = field(hash=False)

    def measure(self, model):
        ms, failure = self.ms[model.turn]
        return Measurement(self.name, ms, ms, ms, 1, 1, f"runtime of {self.name}", failure)

    def identity(self):
        return {"clock": 3} if self.ms else None

    def check(self):
        if not self.ms:
            raise UserError(f"{self.name} is away")


def test_of_devices_that_measure_the_slowest_counts_and_a_failure_is_one(monkeypatch):
    from jaxnas.config import DEVICES

    times = {
        "one": {0: (1.0, ""), 1: (5.0, ""), 2: (5.0, "")},
        "two": {0: (2.0, ""), 1: (4.0, ""), 2: (np.nan, "crash: killed")},
        "away": {},
    }
    for name, ms in times.items():
        monkeypatch.setitem(DEVICES, name, lambda settings, ms=ms: Timed(settings.device, ms))
    device = made("worst:one,two")
    network = ExportedModel(b"", np.zeros(1, np.int32), layers=SMALL)
    first, second, third = (device.measure(replace(network, turn=turn)) for turn in range(3))
    assert (first.latency_ms, first.runtime) == (2.0, "runtime of two")
    assert (second.latency_ms, second.runtime) == (5.0, "runtime of one")
    assert third.failure == "crash: killed" and third.ambiguous and np.isnan(third.latency_ms)
    assert {one.device for one in (first, second, third)} == {device.name} == {"worst:one,two"}
    assert device.identity() == {"one clock": 3, "two clock": 3}
    # Where a model among devices that measure is slowest, the figure is said to be simulated.
    mixed = made("worst:one,raptor")
    assert cost_model(mixed) is None and mixed.identity() is None
    assert mixed.measure(network).simulated
    away = made("worst:one,away")
    assert away.identity() is None
    with pytest.raises(UserError, match="away is away"):
        away.check()


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("worst", "of two devices or more, each once, got none: write worst:raptor_small,hailo"),
        ("worst:raptor", "of two devices or more, each once, got raptor: write"),
        ("worst:raptor,raptor", "each once, got raptor, raptor: write"),
        ("worst:raptor,worst:raptor,raptor_small", "names a worst case in a worst case"),
        ("worst:raptor,rapid", "unknown device 'rapid'; known: hailo8l"),
    ],
)
def test_mistakes_are_one_line(device, message):
    with pytest.raises(UserError) as error:
        made(device)
    assert message in str(error.value)


def test_a_chip_with_settings_to_choose_is_refused(tmp_path, chip):
    path = tmp_path / "elastic.toml"
    path.write_text(chip.replace("memory_bytes = 1000", "memory_bytes = [1000, 2000]"))
    with pytest.raises(UserError, match="the chip elastic of the device worst:raptor,"):
        made(f"worst:raptor,{path}")
    assert device_names(f"worst:raptor,{path}") == ["raptor", str(path)]


def test_the_worst_of_tables_is_the_largest_of_each_genome():
    one, two = (
        Table(name, "ms", jnp.array(values))
        for name, values in (("a", [1.0, 2.0, 3.0]), ("b", [2.0, 1.0, np.nan]))
    )
    worst = worst_case(one, two)
    assert (worst.name, worst.unit) == ("worst of a, b", "ms")
    np.testing.assert_array_equal(worst(jnp.array([[0], [1], [2]])), [2, 2, np.nan])
