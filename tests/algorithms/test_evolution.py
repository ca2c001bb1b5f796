import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.algorithms.evolution import RegularizedEvolution
from jaxnas.algorithms.loop import _ask, _init, _tell, search
from jaxnas.errors import UserError


def grow(algorithm, space, fitness, generations):
    state = _init(algorithm, jax.random.key(0), space)
    for generation in range(generations):
        asked = _ask(algorithm, jax.random.key(generation + 1), space, state)
        state = _tell(algorithm, space, state, asked, fitness(generation, asked))
    return state


def test_the_oldest_die_however_good_they_are(space):
    algorithm = RegularizedEvolution(4, members=10, sample=3, objectives=1)
    for generations in range(1, 9):
        state = grow(
            algorithm,
            space,
            lambda generation, asked: jnp.full((4, 1), generation, jnp.float32),
            generations,
        )
        rows = np.asarray(state.rows)
        living = np.arange(4 * generations)[-10:]
        assert sorted(rows[rows >= 0].tolist()) == living.tolist()
        np.testing.assert_array_equal(np.asarray(state.fitness)[rows >= 0, 0], rows[rows >= 0] // 4)


def test_random_until_the_population_lives_then_mutants_of_living_members(space, evaluate):
    algorithm = RegularizedEvolution(4, members=10, sample=3)
    archive = search(algorithm, space, jax.random.key(0), evaluate, 12)
    assert (archive.parents[:12] == -1).all()
    children = np.arange(12, 48)
    parents = archive.parents[children, 0]
    assert (archive.parents[children, 1] == -1).all()
    before = children // 4 * 4
    assert ((parents >= before - 10) & (parents < before)).all()
    changed = (archive.genomes[children] != archive.genomes[parents]).sum(1)
    assert changed.min() >= 1 and changed.mean() < 3
    assert len(np.unique(archive.genomes, axis=0)) == 48


@pytest.mark.parametrize("objectives", [1, 2])
def test_the_best_of_a_sample_is_the_parent(space, objectives):
    n = 40
    fitness = jnp.stack([jnp.arange(n)[::-1].astype(jnp.float32)] * objectives, axis=1)
    algorithm = RegularizedEvolution(n, members=n, sample=3, objectives=objectives)
    state = grow(algorithm, space, lambda generation, asked: fitness, 1)
    assert state.place.tolist() == list(range(n))[::-1]
    parents = np.concatenate(
        [_ask(algorithm, jax.random.key(seed), space, state).parents[:, 0] for seed in range(100)]
    )
    ranks = n - 1 - parents
    # The least of three.
    expected = (np.arange(1, n + 1)[::-1] ** 3 - np.arange(n)[::-1] ** 3) / n**3
    np.testing.assert_allclose(np.bincount(ranks, minlength=n) / len(ranks), expected, atol=0.015)


def test_crowding_decides_within_a_rank_and_failed_come_last(space):
    nan = jnp.nan
    fitness = jnp.array([[1.0, 8.5], [0, 9], [nan, 0], [9, 0], [9, 9], [4, 4]])
    algorithm = RegularizedEvolution(6, members=6, sample=2)
    state = grow(algorithm, space, lambda generation, asked: fitness, 1)
    assert np.argsort(state.place).tolist() == [1, 3, 5, 0, 4, 2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"population": 1}, "population must be at least 2, got 1"),
        ({"objectives": 0}, "objectives must be at least 1, got 0"),
        (
            {"population": 101, "members": 100},
            "members must be at least the 101 children of a generation, got 100",
        ),
        ({"sample": 0}, "sample must be at least 1, got 0"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=re.escape(message)):
        RegularizedEvolution(**settings)


def test_fitness_of_another_shape_is_refused(space):
    with pytest.raises(UserError, match=re.escape("fitness must have shape (4, 2), got (4, 3)")):
        grow(RegularizedEvolution(4), space, lambda generation, asked: jnp.zeros((4, 3)), 1)
