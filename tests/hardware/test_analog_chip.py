"""What networks cost on tiles of analog memory, counted by hand, and settings that are refused."""

from dataclasses import replace

import numpy as np
import pytest

from jaxnas.config import load_chip
from jaxnas.errors import UserError
from jaxnas.hardware.analog_cell import HERMES as CELL
from jaxnas.hardware.analog_chip import HERMES, PCM, AnalogChip
from jaxnas.networks.costs import cost_table
from jaxnas.networks.op import Op

SIMPLE = AnalogChip("simple", "none", CELL, 100.0, 0.5, tile_rows=20, tile_columns=5)
OPS = (
    Op("conv", "a", (-1,), 4, 4, 3, 6, kernel=3),  # 27 x 6 on 2 x 2 tiles, 16 products
    Op("add", "", (0, 0), 4, 4, 6, 6),
    Op("linear", "b", (1,), 1, 1, 6, 4),  # as if pooled before: 6 x 4 on a tile, 1 product
)


def test_a_network_counted_by_hand():
    found = SIMPLE(cost_table(OPS, 4, 4)).figures
    np.testing.assert_allclose(found["tiles"], 5)
    np.testing.assert_allclose(found["latency_ms"], 17 * 100 / 1e6, rtol=1e-6)
    np.testing.assert_allclose(found["energy_uj"], (4 * 16 + 1) * 100 * 0.5 / 1e6, rtol=1e-6)
    np.testing.assert_allclose(found["utilisation"], (27 * 6 + 6 * 4) / 500, rtol=1e-6)
    finer = replace(SIMPLE, output_bits=10)(cost_table(OPS, 4, 4)).figures
    np.testing.assert_allclose(finer["latency_ms"], 4 * found["latency_ms"], rtol=1e-6)


def test_hermes_has_the_published_peak():
    """64 full tiles, 63.1 TOPS, 9.76 TOPS/W."""
    network = (Op("conv", "a", (-1,), 1, 1, 256, 64 * 256),)
    found = HERMES(cost_table(network, 1, 1)).figures
    operations = 2 * 64 * 256**2
    assert found["tiles"] == 64 and found["utilisation"] == 1
    np.testing.assert_allclose(operations / (found["latency_ms"] * 1e-3) / 1e12, 63.1, rtol=1e-5)
    np.testing.assert_allclose(operations / (found["energy_uj"] * 1e-6) / 1e12, 9.76, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scaling": "row"}, "scaling must be one of tile, column, got 'row'"),
        ({"compensation": "often"}, "compensation must be one of none, tile, column, exact, got"),
        ({"tile_rows": 0}, "tile_rows must be above 0 and finite, got 0"),
        ({"ir_drop": -1.0}, "ir_drop must be at least 0 and finite, got -1"),
        ({"output_bits": 1}, "output_bits must be 2 to 16, or 0 for exact converters, got 1"),
    ],
)
def test_what_is_no_chip_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        replace(PCM, **change)


def test_a_file_may_have_a_cell_of_its_own(tmp_path):
    path = tmp_path / "mine.toml"
    costs = 'kind = "analog"\nerror = "a guess"\nproduct_ns = 130\npj_per_cell = 0.2\n'
    path.write_text(f'{costs}cell = "hermes"\ncompensation = "column"')
    chip = load_chip(str(path))
    assert isinstance(chip, AnalogChip) and chip.cell is CELL and chip.compensation == "column"
    path.write_text(f"{costs}[cell]\ng_max = 30\nprogramming = [[0.2, 1.5]]")
    chip = load_chip(str(path))
    assert isinstance(chip, AnalogChip) and chip.cell.g_max == 30
    path.write_text(f"{costs}[cell]\ng_max = 30")
    with pytest.raises(
        UserError, match=r"mine.toml: cell: programming is missing, expected a list"
    ):
        load_chip(str(path))
