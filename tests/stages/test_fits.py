"""A chip that runs none of a space's networks, or few, is refused before hours are spent."""

from dataclasses import replace

import pytest

from jaxnas.config import Config, ProfileConfig, SearchConfig, load_chip
from jaxnas.errors import UserError
from jaxnas.spaces.joint import joint
from jaxnas.stages.fits import check_fits

CHIP = """
kind = "microcontroller"
error = "a guess"
clock_mhz = 1
ram_bytes = RAM
flash_bytes = 1000000
dense = 1
"""


@pytest.fixture
def config(tmp_path):
    def config(ram) -> Config:
        (tmp_path / "mine.toml").write_text(CHIP.replace("RAM", str(ram)))
        return Config("mine", profile=ProfileConfig(device=str(tmp_path / "mine.toml")))

    return config


def test_a_chip_is_asked_before_hours_are_spent(config, small_mobilenet):
    space = small_mobilenet((8, 12), 1, 4)
    smallest = int(space.costs(space.smallest[None]).peak_activations[0])
    largest = int(space.costs(space.largest[None]).peak_activations[0])
    check_fits(config(largest), space)
    check_fits(Config("measured"), space)
    said = f"of 1,026 tried, the smallest needs {smallest / 1024:.1f} KiB of RAM, of 0.00097"
    with pytest.raises(UserError, match=f"no network of {space.name} fits the device mine: {said}"):
        check_fits(config(1), space)
    one = config(smallest)
    with pytest.raises(UserError, match=r"only \d+ of 1,024 random networks of .* fit the device"):
        check_fits(one, space)
    many = SearchConfig(population=1000, objectives=("error", "energy_uj"))
    check_fits(replace(one, search=many), space)  # and no profile, of which a split is small


def test_some_chip_of_several_is_enough(config, small_mobilenet):
    space = small_mobilenet((8, 12), 1, 4)
    elastic = config([1, 2, 1_000_000])
    check_fits(elastic, joint(space, load_chip(elastic.profile.device).genes))  # type: ignore[attr-defined]
