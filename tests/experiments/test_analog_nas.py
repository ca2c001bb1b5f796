"""The published problem of AnalogNAS, and what searches of analog accuracy are measured by."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@pytest.fixture(scope="module")
def analog_nas(experiment):
    return experiment("analog_nas")


@pytest.fixture(scope="module")
def genomes(analog_nas):
    return jnp.asarray(analog_nas.SPACE.sample(jax.random.key(0), 64))


def counted(values):
    """Parameters of the network, layer by layer."""
    channels = values["out_channel0"]
    total = 7 * 7 * 3 * channels + 2 * channels
    for group in range(1, values["M"] + 1):
        wider = 100 * channels // values[f"widenfact{group}"]
        for _ in range(values[f"R{group}"]):
            for _ in range(values[f"B{group}"]):
                total += 9 * channels * wider + 2 * wider + 9 * wider * wider + 2 * wider
            if wider != channels:
                total += channels * wider + 2 * wider
            channels = wider
    return total + 10 * channels + 10


def test_features_are_those_that_the_boosters_were_trained_on(analog_nas, genomes):
    names = ["out_channel0", "M", "R1", "R2", "R3", "R4", "R5"] + [
        f"{kind}{group}" for group in range(1, 6) for kind in ("convblock", "widenfact", "B")
    ]
    assert names == analog_nas.NAMES
    found = np.asarray(analog_nas.features(genomes))
    groups = found[:, 1]
    assert {*groups} == {1, 2, 3, 4, 5}
    for group in range(2, 6):
        column = names.index(f"B{group}")
        assert ((found[:, column] > 0) == (groups >= group)).all()
    factors = found[:, names.index("widenfact1")]
    np.testing.assert_allclose([factors.min(), factors.max()], [0.5, 0.8])


def test_parameters_are_those_counted_layer_by_layer(analog_nas, genomes):
    values = np.asarray(analog_nas.SPACE.values(genomes))
    expected = [counted(dict(zip(analog_nas.NAMES, map(int, row), strict=True))) for row in values]
    np.testing.assert_allclose(analog_nas.params(genomes), expected, rtol=1e-6)


def test_a_child_differs_in_one_decision_that_matters(analog_nas, genomes):
    """And about a quarter of the children in none."""
    child = np.asarray(jax.jit(analog_nas.changed)(jax.random.key(1), genomes))
    differs = child != np.asarray(genomes)
    assert differs.sum(axis=1).max() == 1 and 0.5 < differs.any(axis=1).mean() < 0.95
    assert np.asarray(analog_nas.SPACE.alive(genomes))[differs].all()
    assert (child >= 0).all() and (child < analog_nas.SPACE.sizes).all()


def test_networks_within_the_limits_come_first(analog_nas):
    figures = analog_nas.Figures(
        *map(jnp.array, ([0.9, 0.5, 0.99, 0.99], [5.0, 9.0, 11.0, 5.0], [9e5, 1e3, 1e3, 4e6]))
    )
    assert np.argsort(-analog_nas.score(figures)).tolist() == [0, 1, 2, 3]
    drawn = jax.jit(analog_nas.drawn, static_argnums=1)(jax.random.key(2), 20)
    assert (np.asarray(analog_nas.params(drawn)) < 1e6).all()


def test_the_best_of_so_many_queries(experiment):
    script = experiment("nb201_analog")
    errors = np.random.default_rng(0).uniform(10, 30, (3, 300, 1))
    found = script.best(errors)
    expected = [[100 - one[:count].min() for one in errors] for count in script.QUERIES]
    np.testing.assert_allclose(found, expected)
