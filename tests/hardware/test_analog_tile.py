"""Products on analog tiles against a reference of their own, in float64 and NumPy."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.hardware import analog_tile
from jaxnas.hardware.analog_cell import PCM as CELL
from jaxnas.hardware.analog_chip import PCM
from jaxnas.hardware.analog_tile import COMPENSATIONS, product, program, read

QUIET = replace(PCM, output_noise=0.0, short_term_noise=0.0, tile_rows=20, tile_columns=8)
STILL = replace(CELL, programming_scale=0.0, drift_scale=0.0, read_scale=0.0)
EXACT = replace(QUIET, cell=STILL, input_bits=0, output_bits=0, ir_drop=0.0, output_bound=1e6)
DAY = 86400.0
READ = jax.jit(read, static_argnums=0)
PROGRAM = jax.jit(program, static_argnums=0)
PRODUCT = jax.jit(product, static_argnums=0)


@pytest.fixture(scope="module")
def matrix():
    """On 3 x 2 tiles, the last of which have a row and a column less."""
    draw = np.random.default_rng(0)
    return draw.normal(size=(50, 13)).astype(np.float32) * draw.uniform(0.2, 3, 13).astype("f4")


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(1).normal(size=(40, 50)).astype(np.float32)


def reference(chip, weights, factor, x, limit):
    """What the tiles compute from weights that are read, tile by tile; (n, outputs)."""
    across, rows, columns = weights.shape
    x = np.pad(x.astype(np.float64), ((0, 0), (0, across * rows - x.shape[1])))
    found = np.zeros((len(x), columns))
    for i in range(across):
        used = min(rows, 50 - i * rows)
        step = 2 / (2**chip.input_bits - 2)
        own = x[:, i * rows : i * rows + used] / limit
        own = np.clip(step * np.round(own / step), -1, 1)
        w = weights[i, :used].astype(np.float64)
        y = own @ w
        load = used * (0.35 * 5e-6) * (np.abs(own) @ np.abs(w))
        share = load * (load * (0.05 * load - 0.2) + 0.5)
        far = own * (1 - (1 - np.arange(used) / used) ** 2)
        y = y - chip.ir_drop * share * (far @ w)
        step = 2 * chip.output_bound / (2**chip.output_bits - 2)
        y = np.clip(step * np.round(y / step), -chip.output_bound, chip.output_bound)
        found += y * factor[i] * limit
    return found


def test_a_matrix_comes_back_from_exact_tiles(matrix, inputs):
    for scaling in analog_tile.SCALINGS:
        chip = replace(EXACT, scaling=scaling, compensation="none")
        state = PROGRAM(chip, jax.random.key(0), matrix)
        assert state.target.shape == (2, 3, 17, 13) and state.layout.down == 2
        held = READ(chip, jax.random.key(1), state, DAY)
        y = PRODUCT(chip, jax.random.key(2), held, inputs, 8.0, np.arange(13, dtype=np.float32))
        np.testing.assert_allclose(y, inputs @ matrix + np.arange(13), atol=1e-4)


@pytest.mark.parametrize("bits", [8, 6])
def test_a_product_is_that_of_the_reference(matrix, inputs, bits):
    """Noisy weights, both converters, and wires that resist a thousand times as much as they do."""
    chip = replace(QUIET, input_bits=bits, output_bits=bits, output_bound=3.0, ir_drop=1000.0)
    state = PROGRAM(chip, jax.random.key(0), matrix)
    held = READ(chip, jax.random.key(1), state, DAY)
    weights, factor = np.asarray(held.weights), np.asarray(held.factor)
    y = np.asarray(PRODUCT(chip, jax.random.key(2), held, inputs, 2.0))
    expected = reference(chip, weights, factor, inputs, 2.0)
    near = np.abs(y - expected) < 1e-3
    assert near.mean() > 0.99  # a float32 may round to the other side of a level
    assert np.abs(y - expected).max() < 2 * factor.max() * 2 * 2 * 3.0 / (2**bits - 2)
    assert np.abs(expected - inputs @ matrix).std() > 0.1 * expected.std()
    for planted in ({"ir_drop": 0.0}, {"input_bits": 4}, {"output_bits": 5}, {"output_bound": 2.5}):
        other = reference(replace(chip, **planted), weights, factor, inputs, 2.0)
        assert (np.abs(y - other) < 1e-3).mean() < 0.8, planted


def statistics(weight, t):
    """Mean and deviation of what many equal cells hold, read `t` seconds after programming.

    A single one of 1 sets the scale.
    """
    chip = replace(PCM, scaling="tile", compensation="none")
    weights = np.full((512, 512), weight, np.float32)
    weights[0, 0] = 1.0
    state = PROGRAM(chip, jax.random.key(3), weights)
    held = np.asarray(READ(chip, jax.random.key(4), state, t).weights)
    return held.mean(), held.std()


def both(weight, t):
    """The same from the published formulas, of a pair of cells of PCM, in shares: float64 NumPy."""
    draw = np.random.default_rng(5)
    sides = []
    for r in (weight, 0.0):
        deviation = 0.26348 + 1.9650 * r - 1.1731 * r**2
        held = np.maximum(25 * r + deviation * draw.normal(size=400_000), 0)
        logarithm = np.log(max(r, 1e-7))
        mean = np.clip(-0.0155 * logarithm + 0.0244, 0.049, 0.1)
        spread = np.clip(-0.0125 * logarithm - 0.0059, 0.008, 0.045)
        exponent = np.abs(mean + spread * draw.normal(size=400_000))
        drifted = held * ((t + 20) / 20) ** -exponent
        quality = np.minimum(0.0088 / np.maximum((held / 25) ** 0.65, 1e-3), 0.2)
        noise = drifted * quality * np.sqrt(np.log((t + 20 + 250e-9) / 500e-9))
        sides.append(np.maximum(drifted + noise * draw.normal(size=400_000), 0))
    pair = (sides[0] - sides[1]) / 25
    return pair.mean(), pair.std()


@pytest.mark.parametrize("weight", [0.1, 0.6])
def test_weights_of_a_day_have_the_statistics_of_pairs(weight):
    np.testing.assert_allclose(statistics(weight, DAY), both(weight, DAY), rtol=0.01)


def test_errors_planted_in_cells_are_seen(monkeypatch):
    """Cells that drift upwards, and pairs of which one side is without noise."""
    expected = np.array(both(0.1, DAY))

    def one_sided(cell, target, normal, t):
        noisy = jnp.maximum(target + cell.deviation(target, t) * normal, 0.0)
        return noisy.at[1].set(target[1])

    for name, planted in (
        ("drifted", lambda cell, held, exponent, t: held * ((t + 20) / 20) ** exponent),
        ("programmed", one_sided),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(type(CELL), name, planted)
            jax.clear_caches()
            wrong = np.array(statistics(0.1, DAY))
        jax.clear_caches()
        apart = np.abs(wrong / expected - 1).max()
        assert apart > 0.02, (name, apart)


def test_compensation_brings_a_drifted_product_back(matrix, inputs):
    """Without it outputs fade; with it they keep their size, whichever way it is measured."""
    sizes = {}
    for compensation in COMPENSATIONS:
        chip = replace(QUIET, compensation=compensation, output_bits=0, ir_drop=0.0)
        state = PROGRAM(chip, jax.random.key(0), matrix)
        held = READ(chip, jax.random.key(1), state, 30 * DAY)
        y = np.asarray(PRODUCT(chip, jax.random.key(2), held, inputs, 8.0))
        exact = inputs @ matrix
        sizes[compensation] = (y * exact).sum() / (exact**2).sum()
    assert 0.45 < sizes["none"] < 0.65  # exponents of 0.049 to 0.1
    for compensation in ("tile", "column", "exact"):
        assert 0.85 < sizes[compensation] < 1.1, sizes


def test_noise_of_outputs_has_the_stated_deviations():
    """Of the output, 0.04; of a read, 0.0175 times the root of the current."""
    x = np.full((20_000, 16), 0.5, np.float32)
    weights = np.ones((16, 4), np.float32)
    still = replace(EXACT, compensation="none")
    for change, expected in (
        ({"output_noise": 0.04}, 0.04),
        ({"short_term_noise": 0.0175}, 0.0175 * np.sqrt(16 * 0.25)),
    ):
        chip = replace(still, **change)
        held = READ(chip, jax.random.key(1), PROGRAM(chip, jax.random.key(0), weights), 0.0)
        y = np.asarray(PRODUCT(chip, jax.random.key(2), held, x))
        np.testing.assert_allclose(y.std(), expected, rtol=0.01)
        np.testing.assert_allclose(y.mean(), 8.0, rtol=0.01)


def test_times_and_programmings_are_one_program(matrix, inputs):
    """Mapped over both; a column of zeros stays finite."""
    weights = matrix.copy()
    weights[:, 3] = 0
    traces = []

    @jax.jit
    def outputs(keys, times):
        traces.append(None)

        def one(key, t):
            keys = jax.random.split(key, 3)
            held = read(QUIET, keys[1], program(QUIET, keys[0], jnp.asarray(weights)), t)
            return product(QUIET, keys[2], held, jnp.asarray(inputs), 8.0)

        return jax.vmap(jax.vmap(one, (None, 0)), (0, None))(keys, times)

    times = jnp.array([1.0, DAY])
    found = np.asarray(outputs(jax.random.split(jax.random.key(0), 3), times))
    outputs(jax.random.split(jax.random.key(1), 3), 2 * times)
    assert found.shape == (3, 2, 40, 13) and np.isfinite(found).all() and len(traces) == 1
    assert (found.std(axis=0) > 0).mean() > 0.8  # programmings differ
