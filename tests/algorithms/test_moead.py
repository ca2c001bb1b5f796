import re

import jax
import jax.numpy as jnp
import moocore
import numpy as np
import pytest

from jaxnas.algorithms import scalarization
from jaxnas.algorithms.algorithm import Asked
from jaxnas.algorithms.loop import _ask, _init, _tell
from jaxnas.algorithms.moead import MOEAD
from jaxnas.algorithms.variation import Discrete, Real
from jaxnas.errors import UserError
from jaxnas.spaces.box import Box

nan = jnp.nan
extremes = jax.jit(scalarization.extremes)
scalars = jax.jit(scalarization.scalars, static_argnums=0)


def started(algorithm, space, fitness):
    state = _init(algorithm, jax.random.key(1), space)
    asked = Asked(state.genomes, jnp.full((algorithm.population, 2), -1))
    return _tell(algorithm, space, state, asked, fitness)


def line(n):
    return jnp.stack([jnp.arange(n), n - jnp.arange(n)], axis=1).astype(jnp.float32)


def one_after_another(algorithm, state, genomes, fitness, rows, local):
    """The update of the paper (step 2.4).

    A child takes every place in its pool that it is no worse for, then the next child.
    """
    seen = extremes(state.extremes, np.concatenate([fitness, state.fitness]))
    members = [
        list(part)
        for part in (np.asarray(state.genomes), np.asarray(state.fitness), np.asarray(state.rows))
    ]
    for child in range(len(genomes)):
        pool = algorithm.neighbourhood[child] if local[child] else range(algorithm.population)
        for i in range(algorithm.population):
            if i not in pool and not np.isnan(members[1][i]).any():
                continue
            both = jnp.asarray(np.stack([fitness[child], members[1][i]]))
            new, old = np.asarray(scalars(algorithm.scalar, both, seen, algorithm.weights[i]))
            if new <= old and np.isfinite(new):
                members[0][i] = genomes[child]
                members[1][i] = fitness[child]
                members[2][i] = rows[child]
    return [np.stack(part) for part in members]


@pytest.mark.parametrize("scalar", ["tchebycheff", "augmented_tchebycheff", "weighted_sum"])
def test_the_batch_is_told_as_one_after_another(space, scalar):
    algorithm = MOEAD(9, scalar=scalar, neighbours=3, locality=0.5)
    draw = np.random.default_rng(0)
    state = started(algorithm, space, jnp.array(draw.random((9, 2)), jnp.float32).at[2, 0].set(nan))
    mixed = 0
    for generation in range(6):
        asked = _ask(algorithm, jax.random.key(generation), space, state)
        fresh = (draw.random((9, 2)) / (generation + 1)).astype(np.float32)
        # Ties, with members too.
        fitness = np.concatenate([fresh[:3], np.asarray(state.fitness)])[draw.integers(0, 12, 9)]
        fitness[generation, 1] = np.nan
        local = np.asarray(jax.jit(algorithm._local)(state))
        mixed += 0 < local.sum() < 9
        rows = int(state.evaluated) + np.arange(9)
        expected = one_after_another(
            algorithm, state, np.asarray(asked.genomes), fitness, rows, local
        )
        # Planted.
        everywhere = one_after_another(
            algorithm, state, np.asarray(asked.genomes), fitness, rows, np.zeros(9, bool)
        )
        state = _tell(algorithm, space, state, asked, fitness)
        for one, other in zip((state.genomes, state.fitness, state.rows), expected, strict=True):
            np.testing.assert_array_equal(one, other)
        mixed += 10 * (everywhere[2] != np.asarray(state.rows)).any()
    assert mixed > 10


def test_each_subproblem_holds_its_own_candidate_first_and_a_failed_one_the_best_of_all(space):
    algorithm = MOEAD(5)
    state = started(algorithm, space, line(5).at[4].set(nan))
    # The last has the weights (1, 0): the least first objective.
    assert state.rows.tolist() == [0, 1, 2, 3, 0]
    state = started(algorithm, space, jnp.full((5, 2), nan))
    assert state.rows.tolist() == [0, 1, 2, 3, 4]


def test_parents_are_two_different_ones_of_the_pool(space):
    for locality in (0.0, 1.0):
        algorithm = MOEAD(40, Discrete(1.0), neighbours=5, locality=locality)
        state = started(algorithm, space, line(40))
        found = np.zeros((40, 40), int)
        for seed in range(60):
            parents = np.asarray(_ask(algorithm, jax.random.key(seed), space, state).parents)
            assert (parents[:, 0] != parents[:, 1]).all()
            np.add.at(found, (np.arange(40)[:, None], parents), 1)
        near = np.zeros((40, 40), bool)
        near[np.arange(40)[:, None], algorithm.neighbourhood] = True
        assert near[np.arange(40), np.arange(40)].all() and (near.sum(1) == 5).all()
        assert found[near].min() > 5 if locality else found[~near].sum() > 0.8 * found.sum()
        assert not found[~near].any() or not locality


def test_the_front_is_found_in_any_units(space):
    def fitness(genomes):
        genomes = np.asarray(genomes, np.float64)
        first = genomes[:, :16].sum(1)
        second = (space.sizes - 1 - genomes)[:, :16].sum(1)
        rest = genomes[:, 16:].sum(1)
        return np.stack([1e-3 * (first + rest), 1e4 * (second + rest)], 1).astype(np.float32)

    algorithm = MOEAD(20)
    state = _init(algorithm, jax.random.key(0), space)
    for generation in range(60):
        asked = _ask(algorithm, jax.random.key(generation + 1), space, state)
        state = _tell(algorithm, space, state, asked, fitness(asked.genomes))
    first = np.asarray(state.fitness)[:, 0] * 1e3
    assert (np.asarray(state.genomes)[:, 16:].sum(1) <= 3).mean() > 0.5
    assert len(np.unique(first)) > 8


def dtlz2(x):
    """Deb et al. (2005), three objectives: the front is an eighth of the unit sphere."""
    away = 1 + ((x[:, 2:] - 0.5) ** 2).sum(axis=1)
    (first, second) = (x[:, :2] * np.pi / 2).T
    around = away
    parts = np.cos(first) * np.cos(second), np.cos(first) * np.sin(second), np.sin(first)
    return np.stack([part * around for part in parts], axis=1).astype(np.float32)


def test_three_objectives_are_spread_over_the_whole_front():
    algorithm = MOEAD(28, Real(), objectives=3)
    box = Box("dtlz2", (0.0,) * 6, (1.0,) * 6)
    state = _init(algorithm, jax.random.key(0), box)
    for generation in range(60):
        asked = _ask(algorithm, jax.random.key(generation + 1), box, state)
        state = _tell(algorithm, box, state, asked, dtlz2(np.asarray(asked.genomes)))
    np.testing.assert_allclose(state.extremes, [[0, 0, 0], [1, 1, 1]], atol=0.1)
    # 0.81 is the whole front's.
    assert moocore.hypervolume(np.asarray(state.fitness, float), ref=[1.1] * 3) > 0.6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"population": 1}, "population must be at least 2, got 1"),
        ({"objectives": 1}, "objectives of MOEA/D must be at least 2, got 1"),
        ({"neighbours": 1}, "neighbours must be at least 2, got 1"),
        ({"locality": 1.5}, "locality must be a probability from 0 to 1, got 1.5"),
        (
            {"scalar": "sum"},
            "unknown scalar 'sum'; known: augmented_tchebycheff, tchebycheff, weighted_sum",
        ),
        (
            {"objectives": 3, "population": 30},
            "evenly spread weights of 3 objectives, got 30; the nearest are 28 below and 36 above",
        ),
        (
            {"objectives": 3, "population": 2},
            "evenly spread weights of 3 objectives, got 2; the nearest are none below and 3 above",
        ),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=re.escape(message)):
        MOEAD(**settings)


def test_fitness_of_another_shape_is_refused(space):
    with pytest.raises(UserError, match=re.escape("fitness must have shape (4, 2), got (4, 3)")):
        started(MOEAD(4), space, jnp.zeros((4, 3)))
