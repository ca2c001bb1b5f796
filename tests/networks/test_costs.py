"""Costs of operators and of cost tables."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from jaxnas.networks.costs import (
    ADD,
    AVGPOOL,
    AVGPOOL2,
    CONCAT,
    CONV,
    IDENTITY,
    KINDS,
    LINEAR,
    MAXPOOL,
    MAXPOOL2,
    MUL,
    POOL,
    SELECT,
    Layers,
    macs,
    params,
    peak_activation_bytes,
    peak_activations,
    weight_bytes,
)
from jaxnas.networks.op import Op

CONVOLUTION = Op("conv", "a", (-1,), 5, 6, 8, 12, kernel=3, stride=2)


def test_an_ordinary_convolution():
    assert CONVOLUTION.macs == 5 * 6 * 8 * 12 * 9
    assert CONVOLUTION.params == 8 * 12 * 9


def test_groups_norm_and_bias():
    depthwise = replace(CONVOLUTION, c_out=8, groups=8)
    assert (depthwise.macs, depthwise.params) == (5 * 6 * 8 * 9, 8 * 9)
    assert replace(CONVOLUTION, norm=True).params == CONVOLUTION.params + 24
    assert replace(CONVOLUTION, bias=True).params == CONVOLUTION.params + 12
    assert replace(CONVOLUTION, bias=True, norm=True).macs == CONVOLUTION.macs


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"conv", "linear"}))
def test_the_rest_is_free(kind):
    op = replace(CONVOLUTION, kind=kind)
    assert (op.macs, op.params) == (0, 0)


def table(rows):
    return Layers(*(jnp.array(column, jnp.int32) for column in zip(*rows, strict=True)))


def test_a_table_sums_its_layers_and_leaves_out_the_skipped():
    convolution = (CONV, 5, 6, 8, 12, 3, 2, 1, CONVOLUTION.macs, CONVOLUTION.params + 24)
    linear = (LINEAR, 1, 1, 12, 10, 1, 1, 1, 120, 130)
    pool = (POOL, 1, 1, 12, 12, 1, 1, 1, 0, 0)
    layers = table(
        [
            (*convolution, 40, 400, 1),
            (*pool, 12, 700, 1),
            (*linear, 12, 22, 1),
            (*convolution, 40, 1000, 0),
        ]
    )
    assert int(macs(layers)) == CONVOLUTION.macs + 120
    assert int(params(layers)) == CONVOLUTION.params + 24 + 130
    assert (
        int(macs(layers._replace(repeat=jnp.array([1, 1, 1, 2], jnp.int32))))
        == 3 * CONVOLUTION.macs + 120
    )
    assert int(peak_activations(layers)) == 700  # the most of those that run
    assert (int(weight_bytes(layers, 2)), int(peak_activation_bytes(layers, 2))) == (
        2 * int(params(layers)),
        1400,
    )


def test_a_population_of_tables_is_one_program():
    layers = table([(CONV, 4, 4, 3, 8, 3, 2, 1, 16 * 27, 29, 0, 0, 1)])
    many = jax.tree.map(lambda column: jnp.broadcast_to(column, (5, 1)), layers)
    widths = 8 * jnp.arange(5, dtype=jnp.int32)[:, None]
    many = many._replace(macs=many.macs * widths, params=many.params * widths)
    assert jax.jit(macs)(many).tolist() == [16 * 3 * 8 * i * 9 for i in range(5)]
    assert jax.vmap(params)(many).tolist() == [8 * i * (27 + 2) for i in range(5)]


def test_kinds_are_numbered_in_order():
    numbers = (CONV, LINEAR, POOL, AVGPOOL2, MUL, ADD, MAXPOOL2, SELECT, CONCAT, IDENTITY)
    assert [KINDS[i] for i in numbers] == [
        "conv",
        "linear",
        "pool",
        "avgpool2",
        "mul",
        "add",
        "maxpool2",
        "select",
        "concat",
        "identity",
    ]
    assert [KINDS[i] for i in (AVGPOOL, MAXPOOL)] == ["avgpool", "maxpool"]
