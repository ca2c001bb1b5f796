import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from evosax.algorithms import algorithms as all_algorithms

from jaxnas.algorithms import evosax
from jaxnas.algorithms.compiled import search_many
from jaxnas.algorithms.evosax import Evosax, known
from jaxnas.algorithms.loop import _ask, _init, _tell, search
from jaxnas.errors import UserError
from jaxnas.spaces.box import Box

POPULATION = 10
decoded = jax.jit(evosax.decoded, static_argnums=0)


def conflict(genomes, data):
    return jnp.stack([genomes.sum(1), -genomes[:, ::2].sum(1)], axis=1).astype(jnp.float32)


def often_failed(genomes, data):
    return jnp.where(genomes.sum(1, keepdims=True) % 3 == 0, jnp.nan, conflict(genomes, data))


def constant(genomes, data):
    return jnp.zeros((len(genomes), 2))


def failed(genomes, data):
    return jnp.full((len(genomes), 2), jnp.nan)


def test_all_qualify_but_those_that_need_more():
    """Random search needs what it draws from.

    The Stein variational ones a number of populations.
    """
    assert set(all_algorithms) - set(known()) == {"RandomSearch", "SV_CMA_ES", "SV_Open_ES"}
    assert {"CMA_ES", "xNES", "PSO", "DifferentialEvolution", "LGA"} < set(known())


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=[] if name in ("DifferentialEvolution", "Open_ES") else [pytest.mark.slow]
        )
        for name in known()
    ],
)
@pytest.mark.filterwarnings("ignore:optax.global_norm is deprecated:DeprecationWarning")  # PGPE
def test_every_algorithm_searches_and_survives_failures(space, name):
    algorithm = Evosax(name, POPULATION)
    for fitness in (conflict, often_failed, constant, failed):
        archive = search_many(algorithm, space, jax.random.split(jax.random.key(0), 2), fitness, 12)
        genomes = np.asarray(archive.genomes).reshape(2, 12, POPULATION, -1)
        assert ((genomes >= 0) & (genomes < space.sizes)).all()
        assert (genomes[0] != genomes[1]).any()
        # The same noise for a hundred generations.
        assert (genomes[:, 0] != genomes[:, 1]).any() or name == "NoiseReuseES"
        # A NaN in the state would repeat one.
        assert min(len(np.unique(generation, axis=0)) for generation in genomes[:, -1]) > 1


def test_random_keys_are_uniform_choices(space):
    keys = jax.random.normal(jax.random.key(0), (20000, 31))
    genomes = np.asarray(decoded(space, keys))
    for gene, size in enumerate(space.sizes):
        np.testing.assert_allclose(
            np.bincount(genomes[:, gene], minlength=size) / 20000, 1 / size, atol=0.02
        )
    ends = np.asarray(decoded(space, jnp.stack([jnp.full(31, -99.0), jnp.full(31, 99.0)])))
    np.testing.assert_array_equal(ends, [space.smallest, space.largest])


def test_random_keys_of_a_box_are_uniform_values():
    box = Box("box", (0.0, -1.0), (1.0, 3.0))
    values = np.asarray(decoded(box, jax.random.normal(jax.random.key(0), (20000, 2))))
    np.testing.assert_allclose(
        np.quantile(values, [0, 0.25, 0.5, 1], axis=0),
        [[0, -1], [0.25, 0], [0.5, 1], [1, 3]],
        atol=0.03,
    )


def test_what_failed_is_worse_than_everything_and_order_is_kept():
    fitness = jnp.array([[1.0, 1], [0, 3], [3, 0], [1e9, 1e9], [jnp.inf, 0], [jnp.nan, 0]])
    algorithm = Evosax(weights=(2.0, 2.0))
    seen = jnp.array([[0.0, 0], [3, 3]])
    value = np.asarray(jax.jit(algorithm._shaped)(fitness, seen))
    np.testing.assert_allclose(
        value[:3], [s / (1 + s) for s in (1 / 6 + 0.05 / 3, 0.525, 0.525)], rtol=1e-5
    )
    assert (value[:5] < 1).all() and value[5] == 1
    assert value[0] < value[1] < value[3] <= value[4]


@pytest.mark.parametrize("name", ["CMA_ES", "DifferentialEvolution"])
def test_weights_lead_the_search(space, name):
    def end(weights):
        archive = search(
            Evosax(name, 20, weights=weights),
            space,
            jax.random.key(0),
            lambda g: np.asarray(opposite(g)),
            40,
        )
        return archive.fitness[-20:].mean(axis=0)

    @jax.jit
    def opposite(genomes):
        return jnp.stack([genomes.sum(1), -genomes.sum(1)], axis=1).astype(jnp.float32)

    first = end((0.9, 0.1))
    second = end((0.1, 0.9))
    assert first[0] + 10 < second[0]


def test_it_descends_on_one_objective(space):
    algorithm = Evosax("CMA_ES", 20, objectives=1)
    archive = search(
        algorithm, space, jax.random.key(0), lambda g: g.sum(1)[:, None].astype(np.float32), 60
    )
    assert archive.fitness[-20:].mean() < 0.3 * archive.fitness[:20].mean()
    assert (archive.parents == -1).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"population": 1}, "population must be at least 2, got 1"),
        ({"objectives": 0}, "objectives must be at least 1, got 0"),
        (
            {"weights": (1.0,)},
            "weights must be one per objective, 2, 0 or more and not all 0, or none; got (1.0,)",
        ),
        ({"weights": (0.0, 0.0)}, "not all 0"),
        (
            {"scalar": "sum"},
            "unknown scalar 'sum'; known: augmented_tchebycheff, tchebycheff, weighted_sum",
        ),
        ({"name": "SV_CMA_ES"}, "unknown evosax algorithm 'SV_CMA_ES'; known: ARS,"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=re.escape(message)):
        Evosax(**settings)


def test_what_evosax_refuses_is_refused(space):
    with pytest.raises(
        UserError,
        match="evosax's ARS refuses a population of 9 with 31 genes: Population size must be even",
    ):
        _init(Evosax("ARS", 9), jax.random.key(0), space)


def test_fitness_of_another_shape_is_refused(space):
    algorithm = Evosax("ARS", 4)
    state = _init(algorithm, jax.random.key(0), space)
    asked = _ask(algorithm, jax.random.key(1), space, state)
    with pytest.raises(UserError, match=re.escape("fitness must have shape (4, 2), got (4, 3)")):
        _tell(algorithm, space, state, asked, jnp.zeros((4, 3)))
