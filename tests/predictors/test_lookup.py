import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.predictors import lookup
from jaxnas.predictors.lookup import Lookup, Tables, blocks
from jaxnas.predictors.metrics import within
from jaxnas.profiling.active_profile import uniform_sample
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.meta_kernel import meta_kernel
from jaxnas.spaces.space import Space

TOY = Space("toy", (Gene("a", (8, 16)), Gene("b", (3, 5, 7))))


def prices(space, tables, constant_ms) -> Tables:
    """One model of blocks whose entries are known, in the order of `blocks`."""
    least = constant_ms + sum(table.min() for table in tables)
    rows = tuple(jnp.asarray(table, jnp.float32)[None] for table in tables)
    return Tables(space, rows, jnp.float32([constant_ms]), jnp.float32([least]))


def test_a_network_takes_what_its_blocks_take():
    model = prices(TOY, [np.array([1.0, 2.0]), np.array([10.0, 20.0, 40.0])], 0.5)
    assert np.asarray(model.predict(np.array([[0, 0], [1, 2], [0, 1]]))).tolist() == [
        [11.5, 42.5, 21.5]
    ]
    assert blocks(TOY) == ((0,), (1,))


@pytest.fixture(scope="module")
def mobile(small_mobilenet):
    """A space whose blocks depend on several genes, and a price for every entry of every block."""
    space = small_mobilenet((24, 32), 3, 10)
    draw = np.random.default_rng(0)
    tables = [
        draw.uniform(0.5, 1.5, math.prod(space.sizes[i] for i in block)) for block in blocks(space)
    ]
    return space, prices(space, tables, 1.0)


def test_blocks_are_the_terms_of_the_space_s_costs(mobile):
    space, truth = mobile
    genomes = np.asarray(space.sample(jax.random.key(0), 50))
    expected = np.full(50, 1.0)
    for term, table in zip(space.terms, truth.tables, strict=True):
        sizes = [space.sizes[i] for i in term.genes]
        expected += np.asarray(table)[0][np.ravel_multi_index(genomes[:, term.genes].T, sizes)]
    np.testing.assert_allclose(truth.predict(genomes)[0], expected, rtol=1e-6)


def test_tables_are_fitted_to_whole_networks(mobile):
    """Every entry has a price of its own.

    With many networks they are found, with fewer, those that share choices stand in.
    """
    space, truth = mobile
    genomes = np.asarray(
        uniform_sample(jax.random.key(0), space, 400, np.zeros((0, len(space.genes)), np.int32))
    )
    ms = np.asarray(truth.predict(genomes))[0]
    shares = []
    for n in (40, 250):
        model = Lookup().fit(jax.random.key(0), space, genomes[:n], ms[:n], np.ones((1, n), bool))
        shares.append(within(ms[250:], np.asarray(model.predict(genomes[250:]))[0], 0.02))
    assert shares[1] > 0.9 > shares[0]


def test_the_ridge_chosen_is_that_of_the_least_leave_one_out_error(monkeypatch):
    """Against fits without each network.

    Latencies around 1, so that leaving one out hardly moves the unit of the ridge.
    """
    draw = np.random.default_rng(0)
    x = draw.normal(size=(30, 12))
    latency = np.exp(0.1 * x @ draw.normal(size=12) + draw.normal(0, 0.15, 30))
    gram = x @ x.T + 3
    ridges = np.array([0.01, 1.0, 10.0, 300.0])

    def fitted(ridges, used):
        monkeypatch.setattr(lookup, "RIDGES", ridges)
        return gram @ lookup._solve(gram, latency, used)

    every = np.arange(30)
    errors = [
        np.mean([(fitted(ridges[[r]], every != i)[i] / latency[i] - 1) ** 2 for i in every])
        for r in range(4)
    ]
    best = int(np.argmin(errors))
    assert 0 < best < 3
    np.testing.assert_allclose(
        fitted(ridges, every >= 0), fitted(ridges[[best]], every >= 0), rtol=1e-9
    )


def test_parts_that_no_gene_decides_are_in_what_every_network_takes():
    space = meta_kernel(16, 1, 4)
    assert () in [term.genes for term in space.terms]
    assert blocks(space) == ((0,), (1,), (2,), (3,))


def test_many_networks_have_the_tables_of_few(monkeypatch):
    """Solved for entries or for networks; latencies are a sum but for 10 %."""
    genomes = np.asarray(TOY.sample(jax.random.key(0), 40))
    draw = np.random.default_rng(0)
    sums = np.array([1.0, 2.0])[genomes[:, 0]] + np.array([1.0, 3.0, 9.0])[genomes[:, 1]]
    latency_ms = sums * draw.uniform(0.9, 1.1, 40)
    used = np.stack([np.arange(40) % 4 > 0, np.arange(40) < 36])
    found = []
    for many, unused in ((40, "_solve_by_entries"), (20, "_solve")):
        with monkeypatch.context() as patch:
            patch.setattr(lookup, "MANY", many)
            patch.delattr(lookup, unused)
            fitted = Lookup().fit(jax.random.key(0), TOY, genomes, latency_ms, used)
            found.append(fitted.arrays())
    for name, array in found[0].items():
        np.testing.assert_allclose(found[1][name], array, rtol=1e-6)


def test_predictions_stay_positive():
    genomes = np.array([[0, 0], [0, 1], [1, 1]], np.int32)
    model = Lookup().fit(
        jax.random.key(0),
        TOY,
        genomes,
        np.array([10.0, 0.1, 0.01], np.float32),
        np.ones((1, 3), bool),
    )
    assert np.asarray(model.predict(np.array([[1, 0], [0, 2], [1, 2]]))).min() >= 0.001
