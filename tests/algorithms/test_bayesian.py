from dataclasses import replace

import jax
import jax.numpy as jnp
import moocore
import numpy as np
import pytest

from jaxnas.algorithms import acquisition
from jaxnas.algorithms.bayesian import Bayesian, latin_hypercube
from jaxnas.algorithms.compiled import search_many
from jaxnas.algorithms.loop import search
from jaxnas.algorithms.variation import Real
from jaxnas.errors import UserError
from jaxnas.spaces.box import Box
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space

SMALL = {
    "population": 6,
    "initial": 12,
    "memory": 40,
    "inner_population": 16,
    "inner_generations": 4,
    "pool": 24,
    "samples": 16,
}
LOW, REFERENCE = jnp.zeros(2), jnp.ones(2)
volumes = jax.jit(acquisition.volumes)
batch = jax.jit(acquisition.batch, static_argnames=("size", "together"))


@pytest.fixture(scope="module")
def table():
    """625 networks whose objectives conflict, and interact a little."""
    return Space("table", tuple(Gene(f"g{i}", (1, 2, 3, 4, 5), "width") for i in range(4)))


def conflict(genomes, data=None):
    genomes = jnp.asarray(genomes)
    cost = (genomes * jnp.array([1.0, 2.0, 3.0, 1.0])).sum(axis=1)
    error = ((4 - genomes) ** 2).sum(axis=1) + (genomes[:, 0] * genomes[:, 1] == 6)
    return jnp.stack([cost, error.astype(jnp.float32)], axis=1)


def constrained(genomes, data=None):
    """Its objectives, and that they may not add up to more than 40 nor to less than 22."""
    found = conflict(genomes)
    total = found.sum(axis=1, keepdims=True)
    return jnp.concatenate([found, total - 40, 22 - total], axis=1)


def covered(fitness):
    return moocore.hypervolume(np.asarray(fitness, float), ref=[30.0, 70.0])


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
        means[5] = -1.0  # not free
        assert best == np.argmax(means)
        assert gain == pytest.approx(max(means), rel=0.03)
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
    keys = jax.random.split(jax.random.key(0), 3)
    found = search_many(Bayesian(**SMALL), table, keys, conflict, 7)
    drawn = jax.vmap(lambda key: table.sample(key, 126))(keys)
    ours = [covered(one) for one in found.fitness]
    chance = [covered(conflict(one)) for one in drawn]
    assert np.mean(ours) > np.mean(chance)
    everything = covered(conflict(np.array(list(np.ndindex(5, 5, 5, 5)))))
    assert np.mean(ours) > 0.98 * everything
    for genomes in found.genomes:
        assert len(np.unique(genomes, axis=0)) == 42


@pytest.mark.parametrize(
    "predictor, acquisition, constraints",
    [("gp", "ucb", 2), ("ensemble", "thompson", 0), ("trees", "linas", 0)],
)
def test_each_predictor_and_acquisition_beats_chance(table, predictor, acquisition, constraints):
    algorithm = Bayesian(
        **SMALL, predictor=predictor, acquisition=acquisition, constraints=constraints
    )
    fitness = constrained if constraints else conflict
    archive = search(
        algorithm, table, jax.random.key(1), lambda genomes: np.array(fitness(genomes)), 5
    )
    assert len(np.unique(archive.genomes, axis=0)) == 30
    chance = fitness(table.sample(jax.random.key(2), 300))
    within = [(one[:, 2:] <= 0).all(axis=1) for one in (archive.fitness, chance)]
    last = archive.generation >= 2
    if constraints:
        assert within[0][last].mean() > 1.5 * within[1].mean() > 0
    ours, theirs = (
        covered(found[ok][:30, :2])
        for found, ok in zip((archive.fitness, chance), within, strict=True)
    )
    assert ours > theirs


def test_failed_candidates_are_left_out_and_not_asked_again(table):
    def flaky(genomes):
        found = np.array(conflict(genomes))
        found[genomes[:, 0] == 2] = np.nan
        return found

    archive = search(Bayesian(**SMALL), table, jax.random.key(0), flaky, 6)
    assert np.isnan(archive.fitness).any() and len(np.unique(archive.genomes, axis=0)) == 36
    good = archive.fitness[~np.isnan(archive.fitness).any(axis=1)]
    assert covered(good) > 0.85 * covered(conflict(np.array(list(np.ndindex(5, 5, 5, 5)))))


def test_figures_are_what_was_predicted_of_the_last_candidates(table):
    algorithm = Bayesian(**SMALL)
    state = algorithm.init(jax.random.key(0), table)
    ask = jax.jit(algorithm.ask, static_argnums=1)
    tell = jax.jit(algorithm.tell, static_argnums=0)
    off = []
    for step in range(6):
        asked = ask(jax.random.key(step + 1), table, state)
        fitness = conflict(asked.genomes)
        state = tell(table, state, asked, fitness)
        figures = algorithm.figures(state)
        assert figures["predicted"].shape == figures["predicted_sd"].shape == (6, 2)
        assert np.isnan(figures["predicted"]).all() == (step < 2)
        off.append(float(jnp.abs(figures["predicted"] - fitness)[:, 0].mean()))
    assert (figures["predicted_sd"] > 0).all() and figures["acquisition"] >= 0
    assert off[-1] < 3  # of a cost from 0 to 28


def test_a_box_is_searched_by_its_values():
    box = Box("box", (0.0, 0.0), (1.0, 1.0))
    algorithm = Bayesian(**SMALL, variation=Real())

    def fitness(x):
        x = np.asarray(x)
        return np.stack([x[:, 0], (1 - x[:, 0]) ** 2 + (x[:, 1] - 0.3) ** 2], axis=1)

    archive = search(algorithm, box, jax.random.key(0), fitness, 6)
    assert archive.genomes.dtype == np.float32
    assert (
        np.abs(archive.genomes[24:, 1] - 0.3).mean()
        < np.abs(archive.genomes[:12, 1] - 0.3).mean() / 2
    )


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"predictor": "oracle"}, "unknown predictor 'oracle'; known: ensemble, gp, trees"),
        ({"acquisition": "pi"}, "unknown acquisition 'pi'; known: ehvi, linas, thompson, ucb"),
        ({"memory": 3}, "memory must be at least 6, the population, got 3"),
        ({"pool": 200}, "pool must be from 6, the population, to 64, what the inner"),
        ({"initial": 0}, "initial must be at least 1, got 0"),
        ({"samples": 0}, "samples must be at least 1, got 0"),
        ({"constraints": -1}, "constraints must be at least 0, got -1"),
        ({"optimism": -1.0}, "optimism must be at least 0.0, got -1.0"),
        ({"limits": (1.0,)}, "limits must be a finite number or None"),
    ],
)
def test_settings_that_make_no_search_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        replace(Bayesian(**SMALL), **settings)


def test_fitness_of_other_columns_is_refused(table):
    algorithm = Bayesian(**SMALL, constraints=1)
    with pytest.raises(UserError, match=r"fitness must have shape \(6, 3\), got \(6, 2\)"):
        search(algorithm, table, jax.random.key(0), conflict, 1)
