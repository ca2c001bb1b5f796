"""Expected costs: of one-hot genomes the hard ones, and their gradients finite differences."""

import itertools
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.hardware.cost_model import Modelled
from jaxnas.hardware.dataflow_chip import HAILO_8L, SingleContext
from jaxnas.hardware.memory_chip import RAPTOR
from jaxnas.hardware.onnxruntime import OnnxRuntime
from jaxnas.hardware.tables import Table
from jaxnas.objectives.expected import COSTS, expected_figure, make_cost
from jaxnas.predictors.ensemble import Calibrated, Ensemble
from jaxnas.predictors.lookup import Lookup
from jaxnas.predictors.mlp import MLP, EarlyStoppedMLP
from jaxnas.predictors.single import One, Single
from jaxnas.predictors.trees import Trees
from jaxnas.spaces.encodings import one_hot
from jaxnas.spaces.nasbench201 import nasbench201
from jaxnas.spaces.published import residual
from jaxnas.spaces.soft import softened
from jaxnas.spaces.space import Space

MEASURED = OnnxRuntime()
STEP = 1e-4  # of finite differences


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
    """Of one-hot genomes the hard figures, and the gradient in every entry finite differences."""
    genomes = np.asarray(space.sample(jax.random.key(0), 5))
    genome = random_soft(space)
    entries = np.argwhere(np.arange(genome.shape[1]) < space.sizes[:, None])
    nudges = np.zeros((len(entries), *genome.shape))
    nudges[np.arange(len(entries)), *entries.T] = STEP
    nudged = [genome[None], genome + nudges, genome - nudges]
    with jax.enable_x64(True):
        rows = np.concatenate([softened(space, genomes), *nudged])
        values, gradients = jax.jit(jax.vmap(jax.value_and_grad(cost)))(jnp.asarray(rows))
    np.testing.assert_allclose(values[:5], hard(genomes), rtol=tolerance)
    assert np.ptp(values[:5]) > 0
    there, back = np.split(np.asarray(values[6:]), 2)
    slopes = (there - back) / (2 * STEP)
    gradient = np.asarray(gradients[5])[tuple(entries.T)]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-6 * np.abs(slopes).max())


def test_multiply_adds_and_parameters(space):
    costs = partial(make_cost, space=space, device=MEASURED, models={})
    check(space, costs("mmacs"), lambda genomes: space.costs(genomes).macs / 1e6)
    check(space, costs("mparams"), lambda genomes: space.costs(genomes).params / 1e6)


def test_energy_of_a_chip(space):
    """Which is linear in its latency, and in what moves."""
    chip = replace(RAPTOR, pj_per_mac=30.0, pj_per_byte=20.0)
    hard = jax.jit(jax.vmap(lambda genome: chip(space.layers(genome)).figures["energy_uj"]))
    check(space, make_cost("energy_uj", space, Modelled(chip), {}), hard)


def test_latency_of_a_dataflow_chip(small_mobilenet):
    space = small_mobilenet((8, 12), 1, 4)
    hard = jax.jit(jax.vmap(lambda genome: HAILO_8L(space.layers(genome)).latency_ms))
    check(space, make_cost("latency_ms", space, Modelled(HAILO_8L), {}), hard)


def test_the_chip_sees_the_longer_of_two_means(toy_family):
    """Not the mean of the longer."""
    space = toy_family.toy()
    chip = replace(RAPTOR, macs_per_cycle=4.0)  # so that either may be the longer
    cost = make_cost("latency_ms", space, Modelled(chip), {})
    genomes = np.array(list(itertools.product(*map(range, space.sizes))), np.int32)
    figures = jax.jit(jax.vmap(lambda genome: chip(space.layers(genome))))(genomes).figures
    longer = figures["npu_cycles"] > figures["system_cycles"]
    assert 0 < longer.sum() < len(longer)
    chance = np.prod(random_soft(space)[np.arange(len(space.genes)), genomes], axis=1)
    npu, system, latency_ms = (
        chance @ np.asarray(figures[name], np.float64)
        for name in ("npu_cycles", "system_cycles", "latency_ms")
    )
    found = cost(jnp.asarray(random_soft(space), jnp.float32))
    assert found == pytest.approx(max(npu, system) / (1e3 * chip.clock_mhz), rel=1e-5)
    assert found < latency_ms


FITTED = {
    "mlp": EarlyStoppedMLP(steps=20),
    "ensemble": Ensemble(MLP(one_hot, steps=20), folds=2, deals=1),
    "lookup": Single(Lookup()),
}


@pytest.fixture(scope="module")
def measured(small_mobilenet):
    space = small_mobilenet((8, 12), 1, 4)
    genomes = np.asarray(space.sample(jax.random.key(1), 40))
    latency_ms = np.asarray(space.costs(genomes).macs, np.float32) / 1e4
    return space, genomes, latency_ms


@pytest.mark.parametrize("name", FITTED)
def test_fitted_predictors(measured, name):
    space, genomes, latency_ms = measured
    model = FITTED[name].fit(jax.random.key(0), space, genomes, latency_ms, np.arange(40) >= 30)
    check(space, make_cost("latency_ms", space, MEASURED, {"latency_ms": model}), model)


def test_predictors_without_a_gradient_are_refused(measured):
    space, genomes, latency_ms = measured
    forests = Single(Trees(trees=2)).fit(jax.random.key(0), space, genomes, latency_ms).member
    rest = jnp.zeros((2, 1)), jnp.zeros(2), jnp.int32(2), jnp.int32(1)
    for model in (One(forests), Calibrated(forests, *rest)):
        with pytest.raises(UserError, match=r"Forests has no gradient .* mlp, ensemble or lookup"):
            make_cost("latency_ms", space, MEASURED, {"latency_ms": model})

    class Own:
        def __call__(self, genomes):
            return latency_ms

        def arrays(self):
            return {}

    with pytest.raises(UserError, match="predictor of Own has no gradient"):
        make_cost("latency_ms", space, MEASURED, {"latency_ms": Own()})


def test_devices_that_say_nothing_of_a_soft_genome_are_refused(measured):
    space = measured[0]
    with pytest.raises(UserError, match=r"onnxruntime measures networks, .* directory of a run"):
        make_cost("latency_ms", space, MEASURED, {})
    with pytest.raises(UserError, match="onnxruntime gives no energy_uj"):
        make_cost("energy_uj", space, MEASURED, {})
    with pytest.raises(UserError, match="hailo8l_model:single models whole networks"):
        make_cost("latency_ms", space, Modelled(SingleContext(HAILO_8L)), {})


def test_a_table_of_all_genomes():
    space = nasbench201()
    values = np.random.default_rng(0).uniform(1, 2, space.sizes).astype(np.float32)
    table = Table("latency", "ms", jnp.asarray(values))
    check(space, expected_figure(space, table), table, tolerance=0)
    values[0, 1, 2, 3, 4, 0] = np.nan
    with pytest.raises(UserError, match="latency lacks 1 of the 15625 genomes of nasbench201"):
        expected_figure(space, Table("latency", "ms", jnp.asarray(values)))


def test_unknown_costs_and_spaces_without_parts_are_refused():
    space = Space("cells", nasbench201().genes)
    with pytest.raises(UserError, match=r"unknown expected cost 'peak_kib'; known: .*mmacs"):
        make_cost("peak_kib", space, MEASURED, {})
    for name in COSTS:
        with pytest.raises(UserError, match="cells has no parts"):
            make_cost(name, space, Modelled(RAPTOR), {})
