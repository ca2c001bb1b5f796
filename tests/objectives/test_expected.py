"""Expected costs: of one-hot genomes the hard ones, and their gradients finite differences."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.hardware.onnxruntime import OnnxRuntime
from jaxnas.hardware.tables import Table
from jaxnas.objectives.expected import COSTS, expected_figure, make_cost
from jaxnas.spaces.nasbench201 import nasbench201
from jaxnas.spaces.published import residual
from jaxnas.spaces.soft import softened

MEASURED = OnnxRuntime()


@pytest.fixture(scope="module", params=["small", "residual", "toy"])
def space(request, small_mobilenet, toy_family):
    if request.param == "residual":
        smaller = residual(32, 3, 10).smaller
        assert smaller is not None
        return smaller()
    return small_mobilenet((8, 12), 1, 4) if request.param == "small" else toy_family.toy()


def random_soft(space):
    """Probabilities, float64."""
    rows = np.zeros((len(space.genes), int(space.sizes.max())))
    for row, size in zip(rows, space.sizes, strict=True):
        row[:size] = np.random.default_rng(size).dirichlet(np.full(size, 5.0))
    return rows


def check(space, cost, hard, tolerance=1e-6):
    """A cost is the hard one, and its gradient in every entry that of finite differences."""
    genomes = np.asarray(space.sample(jax.random.key(0), 5))
    found = jax.jit(jax.vmap(cost))(softened(space, genomes))
    np.testing.assert_allclose(found, hard(genomes), rtol=tolerance)
    assert np.ptp(found) > 0
    with jax.enable_x64(True):
        genome = random_soft(space)
        gradient = np.asarray(jax.jit(jax.grad(cost))(jnp.asarray(genome)))
        step = 1e-4
        entries = np.argwhere(np.arange(genome.shape[1]) < space.sizes[:, None])
        nudges = np.zeros((len(entries), *genome.shape))
        nudges[np.arange(len(entries)), *entries.T] = step
        many = jax.jit(jax.vmap(cost))
        there, back = (np.asarray(many(jnp.asarray(genome + sign * nudges))) for sign in (1, -1))
        slopes = (there - back) / (2 * step)
        np.testing.assert_allclose(
            gradient[tuple(entries.T)], slopes, rtol=1e-5, atol=1e-6 * np.abs(slopes).max()
        )


def test_multiply_adds_and_parameters(space):
    costs = partial(make_cost, space=space, device=MEASURED, models={})
    check(space, costs("mmacs"), lambda genomes: space.costs(genomes).macs / 1e6)
    check(space, costs("mparams"), lambda genomes: space.costs(genomes).params / 1e6)


def test_a_table_of_all_genomes():
    space = nasbench201()
    values = np.random.default_rng(0).uniform(1, 2, space.sizes).astype(np.float32)
    table = Table("latency", "ms", jnp.asarray(values))
    check(space, expected_figure(space, table), table, tolerance=0)
    values[0, 1, 2, 3, 4, 0] = np.nan
    with pytest.raises(UserError, match="latency lacks 1 of the 15625 genomes of nasbench201"):
        expected_figure(space, Table("latency", "ms", jnp.asarray(values)))


def test_unknown_costs_and_spaces_without_parts_are_refused():
    with pytest.raises(UserError, match=r"unknown expected cost 'peak_kib'; known: .*mmacs"):
        make_cost("peak_kib", nasbench201(), MEASURED, {})
    for name in COSTS:
        with pytest.raises(UserError, match="nasbench201 has no parts"):
            make_cost(name, nasbench201(), MEASURED, {})
