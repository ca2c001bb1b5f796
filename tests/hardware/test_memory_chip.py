"""Chips that run layer by layer.

Counted by hand, against the published figures, and described in a file.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.config import ProfileConfig, load_chip, make_device
from jaxnas.errors import UserError
from jaxnas.hardware.cost_model import CostModel, Modelled
from jaxnas.hardware.device import ExportedModel
from jaxnas.hardware.memory_chip import RAPTOR, RAPTOR_SMALL, MemoryBoundChip
from jaxnas.networks.costs import cost_table
from jaxnas.networks.op import Op
from jaxnas.spaces.mobilenet_v2 import RAPTOR_WIDTHS, mobilenet_v2, mobilenet_v2_cifar
from jaxnas.spaces.published import tiny
from jaxnas.supernets.build import build

# One cycle a byte, ten more where it spills, one a weight; two a multiply-add, three a depthwise
# one, of four lanes.
SIMPLE = MemoryBoundChip(
    "simple", "none", 1.0, 4.0, 100, 1.0, 10.0, 1.0, 5.0, dense=2.0, depthwise=3.0
)
OPS = (
    Op("conv", "a", (-1,), 4, 4, 1, 4, kernel=3),  # 16 + 64 bytes, 36 weights: 116 bytes do not fit
    Op("conv", "b", (0,), 2, 2, 4, 4, kernel=3, stride=2, groups=4),  # 64 + 16 bytes, 36 weights
    Op("conv", "c", (1,), 2, 2, 4, 4),  # 16 + 16 bytes, 16 weights
    Op("add", "", (2, 1), 2, 2, 4, 4),  # 2 x 16 + 16 bytes
    Op("linear", "d", (3,), 1, 1, 4, 2),  # as if pooled before: 16 + 2 bytes, 8 weights
)


def test_a_network_counted_by_hand():
    each = SIMPLE.layer_by_layer(cost_table(OPS, 4, 4))
    whole = SIMPLE(cost_table(OPS, 4, 4)).figures
    assert each.activation_bytes.tolist() == [80, 80, 32, 48, 18]
    assert each.weight_bytes.tolist() == [36, 36, 16, 0, 8]
    assert each.spills.tolist() == [True, True, False, False, False]
    assert each.npu_cycles.tolist() == [576 * 2 / 4, 144 * 3 / 4, 64 * 2 / 4, 0, 8 * 2 / 4]
    assert each.system_cycles.tolist() == [880 + 36, 880 + 36, 32 + 16, 48, 18 + 8]
    np.testing.assert_allclose(whole["latency_ms"], each.system_cycles.sum() / 1e3)
    np.testing.assert_allclose(whole["energy_uj"], 5 * whole["latency_ms"])
    np.testing.assert_allclose(whole["mu"], each.npu_cycles.sum() / each.system_cycles.sum())
    assert whole["peak_bytes"] == 116


def test_weights_may_have_a_memory_of_their_own():
    chip = replace(SIMPLE, weight_memory_bytes=36)
    assert chip.layer_by_layer(cost_table(OPS, 4, 4)).spills.tolist() == [False] * 5
    assert replace(chip, weight_memory_bytes=35).layer_by_layer(
        cost_table(OPS, 4, 4)
    ).spills.tolist() == [True, True, False, False, False]


def test_energy_and_operations_beyond_the_clock():
    chip = replace(SIMPLE, power_mw=0.0, pj_per_mac=2.0, pj_per_byte=3.0, operations_per_byte=0.5)
    layers = cost_table(OPS, 4, 4)
    macs = 576 + 144 + 64 + 8
    moved = 258
    weights = 96
    np.testing.assert_allclose(
        chip(layers).figures["energy_uj"], (2 * macs + 3 * (moved + weights)) / 1e6, rtol=1e-6
    )
    assert chip(layers).figures["operations"] == macs + 0.5 * moved


def test_a_network_that_computes_longer_than_it_moves():
    chip = replace(SIMPLE, activation_cycles=0.0, spilled_cycles=0.0, weight_cycles=0.0)
    np.testing.assert_allclose(chip(cost_table(OPS, 4, 4)).latency_ms, (288 + 108 + 32 + 4) / 1e3)


@pytest.mark.parametrize("space", [tiny(32, 3, 10), mobilenet_v2()], ids=lambda space: space.name)
def test_genomes_cost_what_their_operators_do(space):
    """The space's own table against that of the operators, squeeze-excites and shortcuts too."""
    genomes = np.stack([space.smallest, space.largest, space.sample(jax.random.key(0), 1)[0]])
    # On the host: the table itself takes seconds to compile. tests/spaces compares it traced.
    tables = jax.tree.map(lambda *rows: jnp.stack(rows), *map(space.layers, genomes))
    found = jax.jit(jax.vmap(lambda layers: RAPTOR(layers).figures))(tables)
    net = build(space)
    for i, genome in enumerate(genomes):
        size = space.resolutions[genome[space.static]]
        for name, value in RAPTOR(cost_table(net.ops(genome), size, size)).figures.items():
            np.testing.assert_allclose(found[name][i], value, rtol=1e-5, err_msg=name)


def spilling(chip, space, resolution):
    """Layers of the space's only network that do not fit."""
    ops = build(space).ops(space.encode(space.decode(space.largest) | {"resolution": resolution}))
    each = chip.layer_by_layer(cost_table(ops, resolution, resolution))
    return [op.path for op, spills in zip(ops, each.spills, strict=True) if spills]


def test_the_small_machine_spills_at_32_pixels_what_the_large_one_does_at_160():
    backbone = [(m,) for m in RAPTOR_WIDTHS]
    large = spilling(RAPTOR, mobilenet_v2(multipliers=backbone), 160)
    assert large == ["mb2/block0/expand", "mb2/block0/depthwise", "classifier"]  # of 1,000 classes
    assert spilling(RAPTOR_SMALL, mobilenet_v2_cifar(multipliers=backbone), 32) == large[:-1]


@pytest.mark.parametrize("chip", [RAPTOR, RAPTOR_SMALL, SIMPLE], ids=lambda chip: chip.name)
def test_it_is_a_cost_model(chip):
    assert isinstance(chip, CostModel)
    measurement = Modelled(chip).measure(
        ExportedModel(b"", np.zeros(1, np.int32), layers=cost_table(OPS, 4, 4))
    )
    assert (
        measurement.latency_ms == float(chip(cost_table(OPS, 4, 4)).latency_ms)
        and measurement.runtime == chip.error
    )
    assert all(word in RAPTOR.error for word in ("simulated", "fitted", "5.8 %"))


FILE = """
error = "a guess"
clock_mhz = 400
macs_per_cycle = 256
memory_bytes = 131072
activation_cycles = 0.25
spilled_cycles = 1.0
weight_cycles = 0.125
power_mw = 150.5
"""


def test_a_file_is_the_same_as_python(tmp_path):
    (tmp_path / "mine.toml").write_text(FILE)
    device = make_device(ProfileConfig(device=str(tmp_path / "mine.toml")))
    assert device == Modelled(
        MemoryBoundChip("mine", "a guess", 400.0, 256.0, 131072, 0.25, 1.0, 0.125, 150.5)
    )


@pytest.mark.parametrize(
    "change, message",
    [
        (("clock_mhz = 400", ""), "mine.toml: clock_mhz is missing, expected a number"),
        (("clock_mhz = 400", "clock_mhz = 0"), "mine.toml: clock_mhz must be above 0, got 0"),
        (("131072", "1000000000000"), "mine.toml: memory_bytes must be at most 1e+09, got 1e+12"),
        (
            ("clock_mhz = 400", "clock_mhz = 'fast'"),
            "mine.toml: clock_mhz must be a number, got 'fast'",
        ),
        (("131072", "1.5"), "mine.toml: memory_bytes must be a whole number, got 1.5"),
        (("power_mw", "power"), "mine.toml: unknown setting power; known: error, "),
        (("power_mw = 150.5", "power_mw = -1"), "mine.toml: power_mw must be at least 0, got -1"),
        (('"a guess"', '""'), "mine.toml: error must be a text, got none"),
        (
            ("power_mw = 150.5", "power_mw = nan"),
            "mine.toml: power_mw must be at most 1e+09, got nan",
        ),
        (
            ("clock_mhz = 400", "clock_mhz = inf"),
            "mine.toml: clock_mhz must be at most 1e+09, got inf",
        ),
        (('"a guess"', "a guess"), "mine.toml is no TOML file"),
    ],
)
def test_a_mistake_in_a_file_is_one_line(tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(FILE.replace(*change))
    with pytest.raises(UserError) as error:
        load_chip("mine.toml")
    assert str(error.value).startswith(message)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(
        UserError,
        match=r"cannot read the device .*no.toml: No such file or directory; name a .toml file",
    ):
        load_chip(str(tmp_path / "no.toml"))
