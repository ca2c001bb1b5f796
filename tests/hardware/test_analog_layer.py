"""Layers on an analog chip against a reference of their own, in float64 and NumPy."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.hardware import analog_tile
from jaxnas.hardware.analog_chip import PCM
from jaxnas.hardware.analog_layer import ChipMemory
from jaxnas.hardware.analog_layout import layout_of
from jaxnas.networks.op import Op

DAY = 86400.0
CHIP = replace(
    PCM,
    tile_rows=20,
    tile_columns=4,
    output_noise=0.0,
    short_term_noise=0.0,
    ir_drop=1000.0,
    output_bound=3.0,
)
OPS = {
    "three tiles across": Op("conv", "a", (-1,), 4, 4, 5, 6, kernel=3, stride=2),
    "groups, two on a tile": Op("conv", "a", (-1,), 7, 7, 6, 9, kernel=2 + 1, groups=3),
    "depthwise, two on a tile": Op("conv", "a", (-1,), 7, 7, 5, 5, kernel=3, groups=5),
    "linear": Op("linear", "a", (-1,), 1, 1, 50, 6),
}


def images_of(op):
    shape = (3, 7, 7, op.c_in) if op.kind == "conv" else (30, op.c_in)
    return np.random.default_rng(1).normal(size=shape).astype("f4")


def kernel_of(op):
    taps = (op.kernel, op.kernel) if op.kind == "conv" else ()
    return (
        np.random.default_rng(0).normal(size=(*taps, op.c_in // op.groups, op.c_out)).astype("f4")
    )


def patches(op, x, group):
    """(pixels, inputs of a group), by channel and then by tap."""
    if op.kind == "linear":
        return x.astype(np.float64)
    each = op.c_in // op.groups
    x = np.pad(x.astype(np.float64), ((0, 0), (op.kernel // 2,) * 2, (op.kernel // 2,) * 2, (0, 0)))
    x = x[..., group * each : (group + 1) * each]
    rows = [
        x[:, i * op.stride : i * op.stride + op.kernel, j * op.stride : j * op.stride + op.kernel]
        for i in range(op.height)
        for j in range(op.width)
    ]
    return np.stack(rows, 1).transpose(0, 1, 4, 2, 3).reshape(len(x) * len(rows), -1)


def reference(chip, op, weights, factor, x, limit):
    """What tiles compute from cells that were read, column by column; (pixels, outputs)."""
    across, rows, columns = weights.shape
    taps = op.kernel**2 if op.kind == "conv" else 1
    inputs = op.c_in // op.groups * taps
    found = []
    for column in range(columns):
        group = column // (columns // op.groups)
        x_own = patches(op, x, group) / limit
        step = 2 / (2**chip.input_bits - 2)
        x_own = np.clip(step * np.round(x_own / step), -1, 1)
        together = max(
            min(chip.tile_rows // inputs, chip.tile_columns // (columns // op.groups)), 1
        )
        first = group // together * together
        total = 0
        for a in range(across):
            used = min(rows, inputs - a * rows)
            w = weights[a, :used, column].astype(np.float64)
            mine = x_own[:, a * rows : a * rows + used]
            wires = used * min(together, op.groups - first)
            load = wires * (0.35 * 5e-6) * (np.abs(mine) @ np.abs(w))
            share = load * (load * (0.05 * load - 0.2) + 0.5)
            at = np.arange(used) + (group - first) * used
            y = mine @ w - chip.ir_drop * share * ((mine * (1 - (1 - at / wires) ** 2)) @ w)
            step = 2 * chip.output_bound / (2**chip.output_bits - 2)
            y = np.clip(step * np.round(y / step), -chip.output_bound, chip.output_bound)
            total = total + y * factor[a, column] * limit
        found.append(total)
    return np.stack(found, -1)


def read_after_a_day(memory, key, op, kernel, live):
    """Its rows of noise begin alike however long they are."""
    write_key, *read_keys = jax.random.split(key, 3)
    rows = [jax.random.normal(key, (memory.reads(op),)) for key in read_keys]
    noise = jax.random.normal(write_key, (memory.writes(op),)), jnp.stack(rows)
    held = memory.program(*noise, op, kernel, live, jnp.array([DAY]))
    return jax.tree.map(lambda leaf: leaf[0], held)


@pytest.fixture(scope="module", params=OPS)
def case(request):
    """An operator, its cells as read after a day, and what the chip makes of images."""
    op = OPS[request.param]
    memory = ChipMemory(CHIP)
    kernel = kernel_of(op)

    @jax.jit
    def computed(key, x):
        held = read_after_a_day(memory, key, op, jnp.asarray(kernel), op.c_out)
        return held, memory.product(jnp.zeros((len(x), 0)), op, held, x, jnp.float32(2.0))

    x = images_of(op)
    held, y = computed(jax.random.key(0), x)
    return op, jax.device_get(held), np.asarray(y).reshape(-1, op.c_out), x


def test_a_layer_is_that_of_the_reference(case):
    op, held, y, x = case
    expected = reference(CHIP, op, held.weights, held.factor, x, 2.0)
    near = np.abs(y - expected) < 1e-3
    assert near.mean() > 0.99  # a float32 may round to the other side of a level
    assert held.weights.shape[0] == {"linear": 3}.get(op.kind, 3 if op.groups == 1 else 1)
    for planted in ({"ir_drop": 0.0}, {"input_bits": 4}, {"output_bits": 5}, {"output_bound": 1.0}):
        other = reference(replace(CHIP, **planted), op, held.weights, held.factor, x, 2.0)
        assert (np.abs(y - other) < 1e-3).mean() < 0.9, planted
    turned = held.weights[:, ::-1]  # rows in another order
    assert (np.abs(y - reference(CHIP, op, turned, held.factor, x, 2.0)) < 1e-3).mean() < 0.5


@pytest.mark.parametrize("scaling", analog_tile.SCALINGS)
def test_columns_that_are_not_there_count_nowhere(scaling):
    """A layer computed wider than it is: the same cells, scales and compensation."""
    chip = replace(PCM, tile_rows=20, tile_columns=4, scaling=scaling)
    memory = ChipMemory(chip)
    wide = Op("conv", "a", (-1,), 7, 7, 3, 13, kernel=3)
    narrow = replace(wide, c_out=6)
    key = jax.random.key(0)
    kernel = jnp.asarray(kernel_of(wide) * np.linspace(1, 9, 13, dtype="f4"))

    @jax.jit
    def read(live):
        def of(op):
            there = jnp.minimum(live, op.c_out)
            return read_after_a_day(
                memory, jax.random.clone(key), op, kernel[..., : op.c_out], there
            )

        return of(wide), of(narrow)

    one, other = read(jnp.int32(6))
    np.testing.assert_array_equal(one.weights[..., :6], other.weights)
    np.testing.assert_allclose(one.factor[:, :6], other.factor, rtol=1e-6)
    planted, _ = read(jnp.int32(13))
    assert np.abs(planted.factor[:, :6] / other.factor - 1).max() > 0.01
    assert len({*np.asarray(other.factor)[0].tolist()}) == (2 if scaling == "tile" else 6)


def test_what_fits_on_no_tile_is_refused():
    with pytest.raises(UserError, match="a tile of 20 rows holds no filter of 25 taps"):
        layout_of(20, 4, 50, 6, 25)
