from dataclasses import replace

import jax
import jax.numpy as jnp
import moocore
import numpy as np
import pytest

from jaxnas.algorithms import acquisition
from jaxnas.algorithms.algorithm import Asked
from jaxnas.algorithms.bayesian import ACQUISITIONS, Bayesian
from jaxnas.algorithms.latin_hypercube import latin_hypercube
from jaxnas.algorithms.variation import Real
from jaxnas.errors import UserError
from jaxnas.predictors.surrogates import SURROGATES
from jaxnas.spaces.box import Box
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space

SMALL = Bayesian(
    population=6,
    initial=12,
    memory=40,
    inner_population=24,
    inner_generations=6,
    pool=32,
    samples=32,
)
LOW, REFERENCE = jnp.zeros(2), jnp.ones(2)
volumes = jax.jit(acquisition.volumes)
batch = jax.jit(acquisition.batch, static_argnames=("size", "together"))
init = jax.jit(Bayesian.init, static_argnums=(0, 2))
ask = jax.jit(Bayesian.ask, static_argnums=(0, 2))
tell = jax.jit(Bayesian.tell, static_argnums=(0, 1))


@pytest.fixture(scope="module")
def table():
    """625 networks whose objectives conflict, and interact a little."""
    return Space("table", tuple(Gene(f"g{i}", (1, 2, 3, 4, 5), "width") for i in range(4)))


def conflict(genomes):
    genomes = jnp.asarray(genomes)
    cost = (genomes * jnp.array([1.0, 2.0, 3.0, 1.0])).sum(axis=1)
    error = ((4 - genomes) ** 2).sum(axis=1) + (genomes[:, 0] * genomes[:, 1] == 6)
    return jnp.stack([cost, error.astype(jnp.float32)], axis=1)


def covered(fitness):
    return moocore.hypervolume(np.asarray(fitness, float), ref=[30.0, 70.0])


WHOLE = covered(conflict(np.array(list(np.ndindex(5, 5, 5, 5)))))


def searched(algorithm, space, fitness, generations, seed=0):
    """Genomes, fitness and, of each generation, figures."""
    init_key, *keys = jax.random.split(jax.random.key(seed), 1 + generations)
    state = init(algorithm, init_key, space)
    found = []
    for key in keys:
        asked = ask(algorithm, key, space, state)
        told = fitness(asked.genomes)
        state = tell(algorithm, space, state, asked, told)
        found.append((asked.genomes, told, jax.device_get(algorithm.figures(state))))
    genomes, told, figures = zip(*found, strict=True)
    return np.concatenate(genomes), np.concatenate(told), figures


def added(front, points):
    """By how much the hypervolume of a front grows, exactly."""
    whole = np.concatenate([front, points])
    return moocore.hypervolume(whole, ref=[1, 1]) - moocore.hypervolume(front, ref=[1, 1])


def test_hypervolume_along_directions_is_the_exact_one():
    draw = np.random.default_rng(0)
    for m in (1, 2, 3):
        points = draw.uniform(0, 1.2, (20, m))
        ways = acquisition.directions(m, 2048)
        found = volumes(jnp.asarray(points, jnp.float32), jnp.zeros(m), jnp.ones(m), ways)
        exact = (
            1 - points.min()
            if m == 1
            else moocore.hypervolume(points[points.max(1) < 1], ref=[1] * m)
        )
        assert found.max(axis=0).mean() == pytest.approx(exact, rel=0.01)


def test_a_batch_is_what_brute_force_over_the_samples_chooses():
    draw = np.random.default_rng(1)
    front = draw.uniform(0.3, 0.9, (4, 2))
    pool = draw.uniform(0.2, 1.1, (12, 2)) + 0.1 * draw.normal(size=(8, 12, 2))
    ways = acquisition.directions(2, 2048)
    promised, reached = (
        volumes(jnp.asarray(points, jnp.float32), LOW, REFERENCE, ways) for points in (pool, front)
    )
    found, gains = batch(promised, reached.max(axis=0), jnp.zeros(12), jnp.arange(12) != 5, size=4)
    chosen: list[int] = []
    for best, gain in zip(found.tolist(), gains, strict=True):
        means = [
            np.mean([added(np.concatenate([front, one[chosen]]), one[[row]]) for one in pool])
            for row in range(12)
        ]
        free = np.where(np.arange(12) == 5, -1.0, means)
        assert best == np.argmax(free)
        assert gain == pytest.approx(free.max(), rel=0.03)
        chosen.append(best)
    one_by_one, _ = batch(
        promised, reached.max(axis=0), jnp.zeros(12), jnp.ones(12, bool), size=4, together=False
    )
    assert one_by_one[0] == np.argmax([added(front, pool[0, [row]]) for row in range(12)])


def test_where_nothing_is_promised_the_least_violation_leads():
    found, gains = batch(
        jnp.zeros((3, 4, 8)),
        jnp.zeros(8),
        jnp.array([3.0, 0.5, 2.0, 1.0]),
        jnp.ones(4, bool),
        size=3,
    )
    assert found.tolist() == [1, 3, 2] and (gains == 0).all()


def test_a_latin_hypercube_is_even(space):
    genomes = latin_hypercube(jax.random.key(0), space, 50)
    assert genomes.dtype == jnp.int32
    for column, size in zip(genomes.T, space.sizes, strict=True):
        counts = np.bincount(column, minlength=size)
        assert len(counts) == size and np.ptp(counts) <= 1
    assert len(np.unique(genomes, axis=0)) == 50
    box = Box("box", (0.0, -3.0), (1.0, 2.0))
    slices = (latin_hypercube(jax.random.key(0), box, 20) - jnp.array(box.low)) / jnp.array(
        [1, 5.0]
    )
    np.testing.assert_array_equal(np.sort(np.floor(slices * 20), axis=0).T, [np.arange(20)] * 2)


def test_a_front_is_found_in_a_third_of_the_evaluations_that_chance_takes(table):
    for seed in range(2):
        genomes, fitness, figures = searched(SMALL, table, conflict, 7, seed)
        chance = covered(conflict(table.sample(jax.random.key(seed), 126)))
        assert covered(fitness) > max(chance, 0.95 * WHOLE)
        assert len(np.unique(genomes, axis=0)) == 42
        for step, one in enumerate(figures):
            assert one["predicted"].shape == one["predicted_sd"].shape == (6, 2)
            assert np.isnan(one["predicted"]).all() == np.isnan(one["acquisition"]) == (step < 2)
        off = np.abs(figures[-1]["predicted"] - fitness[-6:])[:, 0].mean()
        assert off < 3  # of a cost from 0 to 28
        # 0 where the observations around are equal
        assert (figures[-1]["predicted_sd"] >= 0).all() and figures[-1]["predicted_sd"].any()
        assert figures[-1]["acquisition"] >= 0


def test_failed_candidates_are_left_out_and_not_asked_again(table):
    def flaky(genomes):
        return jnp.where(genomes[:, :1] == 2, jnp.nan, conflict(genomes))

    genomes, fitness, _ = searched(SMALL, table, flaky, 6)
    failed = np.isnan(fitness).any(axis=1)
    assert failed.any() and len(np.unique(genomes, axis=0)) == 36
    assert covered(fitness[~failed]) > 0.85 * WHOLE


def test_trees_and_their_predicted_front_beat_chance(table):
    algorithm = replace(SMALL, predictor="trees", acquisition="linas")
    genomes, fitness, _ = searched(algorithm, table, conflict, 5)
    assert len(np.unique(genomes, axis=0)) == 30
    chance = [
        covered(conflict(table.sample(key, 30))) for key in jax.random.split(jax.random.key(9), 8)
    ]
    assert covered(fitness) > np.mean(chance)


@pytest.mark.parametrize("acquisition", ACQUISITIONS)
@pytest.mark.parametrize("predictor", SURROGATES)
def test_every_predictor_has_every_acquisition(table, predictor, acquisition):
    algorithm = replace(SMALL, predictor=predictor, acquisition=acquisition)

    def asked(key):
        init_key, ask_key = jax.random.split(key)
        return algorithm.ask(ask_key, table, algorithm.init(init_key, table))

    found = jax.eval_shape(asked, jax.random.key(0))
    assert found.genomes.shape == (6, 4) and found.genomes.dtype == jnp.int32


def test_constraints_and_limits_guide_the_search_of_a_box():
    """The front of x and y whose product is at least 1/4, where x is at most 0.7."""
    box = Box("box", (0.0, 0.0), (1.0, 1.0))
    algorithm = replace(
        SMALL, acquisition="ucb", variation=Real(), constraints=1, limits=(0.7, None)
    )

    def fitness(x):
        return jnp.concatenate([x, 0.25 - x[:, :1] * x[:, 1:]], axis=1)

    genomes, found, _ = searched(algorithm, box, fitness, 8)
    feasible = (found[:, 2] <= 0) & (found[:, 0] <= 0.7)
    assert genomes.dtype == np.float32
    assert feasible[24:].mean() > 2 * feasible[:12].mean()
    excess = found[24:, 0] * found[24:, 1] - 0.25
    assert np.median(np.abs(excess)) < 0.1


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"predictor": "oracle"}, "unknown predictor 'oracle'; known: ensemble, gp, trees"),
        ({"acquisition": "pi"}, "unknown acquisition 'pi'; known: ehvi, linas, thompson, ucb"),
        ({"memory": 3}, "memory must be at least 6, the population, got 3"),
        ({"pool": 200}, "pool must be from 6, the population, to 144, what the inner"),
        ({"initial": 0}, "initial must be at least 1, got 0"),
        ({"samples": 0}, "samples must be at least 1, got 0"),
        ({"constraints": -1}, "constraints must be at least 0, got -1"),
        ({"optimism": -1.0}, "optimism must be at least 0.0, got -1.0"),
        ({"limits": (1.0,)}, "limits must be a finite number or None"),
    ],
)
def test_settings_that_make_no_search_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        replace(SMALL, **settings)


def test_fitness_of_other_columns_is_refused(table):
    algorithm = replace(SMALL, constraints=1)

    def told(key):
        genomes = table.sample(key, 6)
        asked = Asked(genomes, jnp.zeros((6, 2), jnp.int32))
        return algorithm.tell(table, algorithm.init(key, table), asked, conflict(genomes))

    with pytest.raises(UserError, match=r"fitness must have shape \(6, 3\), got \(6, 2\)"):
        jax.eval_shape(told, jax.random.key(0))
