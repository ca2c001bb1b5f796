"""Whether a device runs networks of a space at all: found before hours are spent."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.config import Config, make_device
from jaxnas.errors import UserError
from jaxnas.hardware.cost_model import LimitedModel, cost_model
from jaxnas.hardware.elastic_chip import chip_of
from jaxnas.spaces.space import Space

TRIED = 1024  # random networks
LEAST = 2  # networks that the profile needs of each split, and the search to begin with


def check_fits(config: Config, space: Space) -> None:
    """Refuses a chip that runs none of the space's networks, or too few to begin a search with.

    The smallest network is tried at every resolution, beside random ones. A device that measures is
    not asked.
    """
    device = make_device(config.profile)
    model = cost_model(device)
    if model is None or not isinstance(chip_of(model, space, space.smallest), LimitedModel):
        return
    smallest = [space.at_resolution(space.smallest, i) for i in range(len(space.resolutions))]
    random = space.sample(jax.random.key(0), TRIED)
    genomes = np.concatenate([np.stack(smallest), np.asarray(random)])

    def load(genome):
        chip = chip_of(model, space, genome)
        assert isinstance(chip, LimitedModel)
        estimate = chip(space.layers(genome))
        return chip.load(estimate), jnp.isfinite(estimate.latency_ms)

    loads, fits = map(np.asarray, jax.jit(jax.vmap(load))(jnp.asarray(genomes)))
    if not fits.any():
        nearest = genomes[loads.argmin()]
        chip = chip_of(model, space, nearest)
        assert isinstance(chip, LimitedModel)
        raise UserError(
            f"no network of {space.name} fits the device {device.name}: of {len(genomes):,} tried, "
            f"the smallest {chip.refusal(chip(space.layers(nearest)))}: choose a space of smaller "
            "networks, or a larger chip"
        )
    few = min((config.search.population, *_splits(config)))
    found = int(fits[len(smallest) :].sum())
    if found * few < LEAST * TRIED:
        raise UserError(
            f"only {found} of {TRIED:,} random networks of {space.name} fit the device "
            f"{device.name}, too few to begin with: choose a space of smaller networks, or a "
            "larger chip"
        )


def _splits(config: Config) -> tuple[int, ...]:
    """Networks of each split of the profile, where there is one."""
    profile = config.profile
    return (profile.train, profile.validation, profile.test) if config.predicts else ()
