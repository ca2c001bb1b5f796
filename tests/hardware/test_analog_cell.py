"""Cells against the published values, and a million of them against their own statistics."""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.hardware.analog_cell import CELLS, HERMES, HERMES_ONE, PCM, RERAM, load

DAY = 86400.0
TIMES = (0.0, 1.0, 60.0, 3600.0, DAY, 30 * DAY)
COUNT = 1_000_000


class Vector(NamedTuple):
    at: tuple[float, ...]  # r, or t
    expected: tuple[float, ...]


VECTORS = {
    "programming": Vector(
        (0, 0.1, 0.25, 0.5, 0.75, 1), (0.26348, 0.44825, 0.68141, 0.95271, 1.07736, 1.05538)
    ),
    "drift_mean": Vector((0, 0.1, 0.25, 1), (0.1, 0.06009, 0.049, 0.049)),
    "drift_deviation": Vector((0, 0.1, 0.25, 0.5, 1), (0.045, 0.02288, 0.01143, 0.008, 0.008)),
    "read": Vector((0, 0.1, 0.25, 0.5, 0.75, 1), (0.2, 0.03931, 0.02167, 0.01381, 0.01061, 0.0088)),
    "growth": Vector(TIMES, (4.1838, 4.1897, 4.3463, 4.7648, 5.0868, 5.4108)),
    "factor_0.049": Vector(TIMES, (1, 0.9976, 0.9343, 0.7751, 0.6635, 0.5617)),
    "factor_0.1": Vector(TIMES, (1, 0.9951, 0.8706, 0.5946, 0.4330, 0.3081)),
}


def values(name, at):
    """What the model of PCM says, by name of the vector."""
    r = jnp.asarray(at, jnp.float32)
    if name == "programming":
        return PCM.deviation(PCM.g_max * r, jnp.float32(0))
    if name.startswith("factor"):
        exponent = jnp.full(len(at), float(name.partition("_")[2]))
        return jax.vmap(PCM.drifted)(jnp.ones(len(at)), exponent, r)
    return jax.vmap(getattr(PCM, name))(r)


@pytest.mark.parametrize("name", VECTORS)
def test_pcm_has_the_published_values(name):
    at, expected = VECTORS[name]
    np.testing.assert_allclose(values(name, at), expected, atol=1e-4)


def test_deviations_scale_with_the_largest_conductance():
    larger = replace(PCM, g_max=50.0)
    np.testing.assert_allclose(
        larger.deviation(jnp.float32(25.0), jnp.float32(0)), 2 * 0.95271, atol=1e-4
    )


def test_the_other_chips_by_hand():
    """At one r on either side of each curve's split, worked out from the published formulas."""
    r = np.array([0.05, 0.5])
    np.testing.assert_allclose(
        HERMES.drift_mean(jnp.asarray(r)),
        [-0.0387 * np.log(0.05) - 0.0182, -0.0436 * 0.25 - 0.0126 * 0.5 + 0.0736],
        atol=1e-6,
    )
    for cell, slope, offset, curve in (
        (HERMES, -0.0117, -0.0069, 0.0069 / 8 - 0.0280 / 4 + 0.0211 / 2 + 0.0123),
        (HERMES_ONE, -0.0078, 0.0038, 0.0664 / 8 - 0.1352 / 4 + 0.0768 / 2 + 0.0088),
    ):
        expected = [slope * np.log(0.05) + offset, curve]
        np.testing.assert_allclose(cell.read(jnp.asarray(r)), expected, atol=1e-6)
    for cell, slope, offset, curve in (
        (HERMES, -0.0117, -0.0057, -0.0118 / 4 + 0.0093 / 2 + 0.0073),
        (HERMES_ONE, -0.0120, -0.0023, -0.0165 / 4 + 0.0116 / 2 + 0.0104),
    ):
        expected = [slope * np.log(0.05) + offset, curve]
        np.testing.assert_allclose(cell.drift_deviation(jnp.asarray(r)), expected, atol=1e-6)
    zero = jnp.float32(0)
    np.testing.assert_allclose(
        HERMES.deviation(HERMES.g_max * jnp.float32(0.5), zero),
        0.16603 + 4.71806 / 2 - 8.48101 / 4 + 4.68961 / 8,
        atol=1e-4,
    )
    np.testing.assert_allclose(
        HERMES_ONE.deviation(HERMES_ONE.g_max * jnp.float32(0.5), zero),
        0.15782 + 2.32444 / 2 - 2.16311 / 4 + 0.68842 / 8,
        atol=1e-4,
    )
    np.testing.assert_allclose(
        RERAM.deviation(jnp.float32(20.0), jnp.float32(DAY)),
        0.701 + 22.086 / 2 - 50.773 / 4 + 47.095 / 8 - 16.458 / 16,
        atol=1e-3,
    )


@pytest.mark.parametrize("r", [0.3, 0.8])
def test_a_million_cells(r):
    """Mean and deviation of programming, drift and read, each within 1 % of what is published."""
    keys = jax.random.split(jax.random.key(0), 3)
    normal, drawn, noise = (jax.random.normal(key, (COUNT,)) for key in keys)
    target = jnp.full(COUNT, r * PCM.g_max)
    programmed = PCM.programmed(target, normal, jnp.float32(0))
    deviation = 0.26348 + 1.9650 * r - 1.1731 * r**2
    np.testing.assert_allclose(programmed.mean(), r * 25, rtol=0.01)
    np.testing.assert_allclose(programmed.std(), deviation, rtol=0.01)
    exponent = PCM.exponent(target, drawn)
    spread = np.clip(-0.0125 * np.log(r) - 0.0059, 0.008, 0.045)
    np.testing.assert_allclose(exponent.mean(), 0.049, rtol=0.01)
    np.testing.assert_allclose(exponent.std(), spread, rtol=0.01)
    day = jnp.float32(DAY)
    same = jnp.full(COUNT, 25 * r)
    drifted = PCM.drifted(same, jnp.full(COUNT, 0.049), day)
    read = PCM.read_noise(same, drifted, day) * noise
    assert abs(read.mean()) < 0.01 * read.std()
    np.testing.assert_allclose(read.std(), 25 * r * 0.6635 * (0.0088 / r**0.65) * 5.0868, rtol=0.01)


def test_times_at_which_nothing_is_known():
    RERAM.check_time(DAY)
    with pytest.raises(UserError, match=r"measured 1, 86400, 172800 s after programming, got 60"):
        RERAM.check_time(60.0)
    with pytest.raises(UserError, match="must be 0 s or more, got -1"):
        PCM.check_time(-1.0)
    assert np.isnan(RERAM.deviation(jnp.float32(20.0), jnp.float32(60.0)))


def test_cells_of_a_file():
    assert load("f", "hermes") is CELLS["hermes"]
    given = {
        "g_max": 25,
        "programming": [[0.26348, 1.965, -1.1731]],
        "drift_mean": {"low": [-0.0155, 0.0244, 0.049, 0.1]},
        "drift_deviation": {"low": [-0.0125, -0.0059, 0.008, 0.045]},
        "read": {"power": [0.0088, 0.65, 1e-3, 0.2]},
    }
    assert load("f", given) == replace(PCM, fitted_g_max=0.0)
    for change, message in (
        ({"read": {"power": [1.0]}}, "f: cell.read: power must be four numbers"),
        ({"programming": []}, "programming must have a row of coefficients for each of times_s"),
        ({"g_max": 0}, "f: cell: g_max must be above 0, got 0"),
        ({"colour": 1}, "f: cell: unknown setting colour; known: g_max, programming"),
    ):
        with pytest.raises(UserError, match=message):
            load("f", given | change)
    with pytest.raises(UserError, match="unknown f: cell 'flash'; known: hermes, hermes_one, pcm"):
        load("f", "flash")
