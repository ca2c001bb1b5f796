"""`jaxnas inspect` in analog memory: tiles that add up, and noise that statistics know."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxnas.cli import main
from jaxnas.config import make_analog_chip
from jaxnas.hardware.analog_chip import PCM, RERAM
from jaxnas.hardware.analog_tile import NONE, TILE
from jaxnas.networks.costs import cost_table
from jaxnas.spaces.resnet_like import resnet_like
from jaxnas.studies.analog_inspection import DAY_S, MONTH_S, analog_layers, held_weights, times

SMALLEST = resnet_like().smaller
assert SMALLEST is not None
SPACE = SMALLEST()


def test_cells_are_as_far_off_as_their_moments_say():
    """Half the largest weight: 0.95271 uS, and 0.26348 uS of the other side, which has no less.

    After a day the mean of (t / t_0)^-nu is 0.6635 exp((0.008 ln(t / t_0))^2 / 2).
    """
    programmed, first, day = held_weights(
        PCM.cell, jax.random.key(0), np.full(200_000, 0.5), (DAY_S,)
    )
    squared = 0.95271**2 + 0.26348**2 / 2
    assert np.square(25 * (programmed - 0.5)).mean() == pytest.approx(squared, rel=0.02)
    spread = np.log(1 + DAY_S / 20)
    other = 0.26348 / np.sqrt(2 * np.pi) * 0.4330 * np.exp((0.045 * spread) ** 2 / 2)
    mean = 12.5 * 0.6635 * np.exp((0.008 * spread) ** 2 / 2) - other
    assert 25 * day.mean() == pytest.approx(mean, rel=0.005)
    assert first.mean() > 1.3 * day.mean() and first.std() > programmed.std()


@pytest.mark.parametrize("chip", [PCM, replace(PCM, tile_rows=32, tile_columns=16)])
def test_tiles_add_up_to_the_network(chip):
    ops = SPACE.ops(SPACE.largest)
    rows = analog_layers(chip, SPACE, SPACE.largest, seed=0)
    assert [row.name for row in rows] == [op.path for op in ops if op.kind in ("conv", "linear")]
    whole = chip(cost_table(ops, *2 * (SPACE.pixels(SPACE.largest),))).figures
    assert sum(row.tiles for row in rows) == int(whole["tiles"])
    used = sum(row.tiles * row.utilisation for row in rows) / sum(row.tiles for row in rows)
    assert used == pytest.approx(float(whole["utilisation"]), rel=1e-5)


def test_drift_without_compensation_is_worse_and_grows():
    uncompensated, by_tile = (
        analog_layers(replace(PCM, compensation=kind), SPACE, SPACE.largest, seed=1)
        for kind in (NONE, TILE)
    )
    assert times(PCM) == (DAY_S, MONTH_S)
    for none, tile in zip(uncompensated, by_tile, strict=True):
        assert none.programming == tile.programming > 0.01
        assert tile.programming < tile.later[0] < tile.later[1] < 0.15
        assert none.later[0] > 1.5 * tile.later[0] and none.later[1] > none.later[0]


def test_scales_of_columns_make_noise_smaller():
    columns, tiles = (
        analog_layers(replace(PCM, scaling=kind), SPACE, SPACE.largest, seed=2)
        for kind in ("column", "tile")
    )
    for column, tile in zip(columns, tiles, strict=True):
        assert column.programming < tile.programming


def test_a_memory_that_is_known_at_some_times_is_asked_for_those():
    rows = analog_layers(RERAM, SPACE, SPACE.smallest, seed=3)
    assert all(len(row.later) == 3 and np.isfinite(row.later).all() for row in rows)


def test_inspect_prints_and_draws(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["--space", "tiny", "--classes", "10", "--device", "pcm"]
    assert main(["inspect", "smallest", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("tiny at 32 pixels on pcm (no machine at all")
    assert " ".join(lines[2].split()) == "layer matrix tiles used % programmed 1 d 30 d"
    assert lines[3].split()[:6] == ["first_conv", "27", "x", "8", "1", "0.1"]
    assert "tiles of 512 x 512; drift compensation: tile" in lines[-3]
    assert (tmp_path / lines[-1]).read_text().count("<svg") == 1


def test_other_chips_are_none_of_these():
    assert make_analog_chip("raptor") is None and make_analog_chip("onnxruntime") is None
    assert make_analog_chip("hermes") is not None
