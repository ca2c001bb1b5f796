import re

import jax
import jax.numpy as jnp
import moocore
import numpy as np
import pytest
from pymoo.algorithms.moo import nsga3 as pymoo_nsga3
from pymoo.core.problem import Problem
from pymoo.optimize import minimize
from pymoo.util.ref_dirs import get_reference_directions

from jaxnas.algorithms import nsga3, pareto
from jaxnas.algorithms.algorithm import Asked
from jaxnas.algorithms.loop import _ask, _init, _tell
from jaxnas.algorithms.nsga3 import NSGA3, Scale
from jaxnas.algorithms.variation import Real
from jaxnas.errors import UserError
from jaxnas.spaces.box import Box

rank = jax.jit(pareto.rank)
rescaled = jax.jit(nsga3.rescaled)
associated = jax.jit(nsga3.associated)
chosen = jax.jit(nsga3.chosen, static_argnums=(5, 6))


def nothing(m):
    return Scale(jnp.full(m, jnp.inf), jnp.full(m, -jnp.inf), jnp.full((m, m), jnp.inf))


def generations(kind, objectives):
    """Fitness of some generations: nearer the front each time, in unlike units."""
    draw = np.random.default_rng(objectives)
    units = 10.0 ** draw.integers(-3, 4, objectives)
    for step in range(6):
        fitness = draw.normal(size=(30, objectives)) ** 2 + 0.1
        fitness = (
            (1 + draw.random((30, 1)) / (step + 1))
            * fitness
            / np.linalg.norm(fitness, axis=1, keepdims=True)
        )
        if kind == "steps":
            fitness = np.round(fitness, 1)
        if kind == "constant":
            fitness[:, 0] = 1
        if kind == "point":
            fitness[:] = 1 + step / 10
        if kind == "front of one":
            fitness[0] = 0.01 / (step + 1)
        yield (units * fitness).astype(np.float32)


@pytest.mark.parametrize("objectives", [2, 3, 5])
@pytest.mark.parametrize("kind", ["smooth", "steps", "constant", "point", "front of one"])
def test_the_scale_is_pymoos(kind, objectives):
    """In units of the front's extent.

    Each generation goes on from our extreme points, because of ties either will do.
    """
    scale = nothing(objectives)
    origin = np.zeros(objectives)
    away = np.where(np.eye(objectives), 1, 1e6)
    everything = np.zeros((0, objectives), np.float32)
    for fitness in generations(kind, objectives):
        front = np.asarray(rank(fitness)) == 0
        kept = np.asarray(scale.extremes)
        everything = np.concatenate([everything, fitness])
        ideal = everything.min(0)
        worst = everything.max(0)
        extent = np.where(fitness[front].max(0) > ideal, fitness[front].max(0) - ideal, 1)
        scale, nadir = rescaled(scale, fitness, front)
        np.testing.assert_array_equal(scale.ideal, ideal)
        np.testing.assert_array_equal(scale.worst, worst)
        every, old, found, highest = (
            (values - ideal) / extent
            for values in (fitness, kept, np.asarray(scale.extremes), worst)
        )
        peers = pymoo_nsga3.get_extreme_points_c(
            every[front], origin, old if np.isfinite(old).all() else None
        )
        reached, expected = (
            (np.where(points < 1e-3, 0, points) * away).max(1) for points in (found, peers)
        )
        np.testing.assert_allclose(reached, expected, rtol=1e-5)
        assert all(
            (row == np.concatenate([kept, fitness])).all(1).any()
            for row in np.asarray(scale.extremes)
        )
        limit = pymoo_nsga3.get_nadir_point(
            found.astype(float), origin, highest, every[front].max(0), every.max(0)
        )
        np.testing.assert_allclose((nadir - ideal) / extent, limit, rtol=1e-3, atol=1e-5)


def test_failed_and_infinite_rows_do_not_move_the_scale():
    nan = np.nan
    inf = np.inf
    fitness = jnp.array([[0.0, 2], [1, 1], [2, 0], [nan, -5], [inf, -7], [-inf, 9], [nan, nan]])
    scale, nadir = rescaled(nothing(2), fitness, rank(fitness) == 0)
    assert scale.ideal.tolist() == [0, 0] and scale.worst.tolist() == [2, 2]
    np.testing.assert_allclose(nadir, [2, 2], rtol=1e-6)


@pytest.mark.parametrize("objectives", [2, 3, 5])
def test_association_is_pymoos(objectives):
    draw = np.random.default_rng(0)
    directions = NSGA3(60, objectives=objectives).directions
    fitness = draw.random((200, objectives)).astype(np.float32)
    ideal = np.full(objectives, -0.1, np.float32)
    nadir = np.linspace(1, 2, objectives, dtype=np.float32)
    niche, distance = associated(fitness, ideal, nadir, directions)
    ends = ideal.astype(float), nadir.astype(float)
    expected, expected_distance, _ = pymoo_nsga3.associate_to_niches(
        fitness.astype(float), directions.astype(float), *ends
    )
    assert (np.asarray(niche) == expected).mean() > 0.99  # where two are equally near, either
    np.testing.assert_allclose(np.sqrt(distance), expected_distance, rtol=1e-3, atol=1e-6)


def chosen_one_by_one(key, rank, niche, distance, niches, count):
    """Algorithm 4 as it is printed, with the same lots."""
    member_key, niche_key = jax.random.split(key)
    turn = jax.random.uniform(member_key, (len(rank),))
    lot = jax.random.uniform(niche_key, (niches,))
    split = np.sort(rank)[count - 1]
    kept = list(np.flatnonzero(rank < split))
    left = list(np.flatnonzero(rank == split))
    members = np.bincount(niche[kept], minlength=niches)
    while len(kept) < count:
        j = min({niche[i] for i in left}, key=lambda j: (members[j], lot[j]))
        candidates = [i for i in left if niche[i] == j]
        best = min(candidates, key=lambda i: (distance[i] if members[j] == 0 else 0, turn[i]))
        kept.append(best)
        left.remove(best)
        members[j] += 1
    return set(map(int, kept))


def test_places_go_to_whom_the_paper_gives_them():
    draw = np.random.default_rng(0)
    n = 30
    niches = 9
    wrong = 0
    for case in range(20):
        ranks = draw.integers(0, 1 + case % 4, n).astype(np.int32)
        niche = draw.integers(0, 2 + case % 8, n).astype(np.int32)
        distance = draw.integers(0, 6, n).astype(np.float32)
        expected = chosen_one_by_one(jax.random.key(case), ranks, niche, distance, niches, 15)
        for sign in (1, -1):  # planted: the farthest rather than the nearest
            kept = chosen(
                jax.random.key(case), ranks, niche, sign * distance, np.zeros(n, bool), niches, 15
            )
            wrong += sign == -1 and set(np.asarray(kept).tolist()) != expected
            assert sign == -1 or set(np.asarray(kept).tolist()) == expected
    assert wrong


def started(algorithm, space, fitness):
    state = _init(algorithm, jax.random.key(1), space)
    asked = Asked(state.genomes, jnp.full((algorithm.population, 2), -1))
    return _tell(algorithm, space, state, asked, fitness)


def test_failed_candidates_never_take_the_place_of_others(space):
    algorithm = NSGA3(4)
    nan = jnp.nan
    state = started(algorithm, space, jnp.array([[nan, 0.0], [nan, nan], [5, 5], [0, nan]]))
    assert state.rows[0] == 2
    assert set(state.rows.tolist()) == {0, 1, 2, 3}  # evaluated ones, not their selves before
    for seed in range(20):
        assert set(np.unique(_ask(algorithm, jax.random.key(seed), space, state).parents)) <= {
            -1,
            2,
        }
    asked = _ask(algorithm, jax.random.key(0), space, state)
    state = _tell(algorithm, space, state, asked, jnp.array([[9.0, 9], [8, 8], [nan, 1], [7, 7]]))
    assert state.rows.tolist() == [2, 7, 5, 4]


def test_everyone_is_a_parent_equally_often():
    for n in (20, 21):
        fitness = jnp.stack([jnp.arange(n), -jnp.arange(n)], 1).astype(jnp.float32)
        pairs = jax.jit(nsga3._pairs, static_argnums=2)(jax.random.key(0), fitness, ())
        counts = np.bincount(np.asarray(pairs).ravel(), minlength=n)
        assert counts.min() == 1 and counts.sum() == n + n % 2


def test_members_spread_over_the_directions(space):
    algorithm = NSGA3(10, divisions=9)
    crowded = np.concatenate([np.linspace(0, 1, 5), np.linspace(0.9, 0.95, 5)])
    state = started(algorithm, space, jnp.asarray(np.stack([crowded, 1 - crowded], 1), jnp.float32))
    asked = _ask(algorithm, jax.random.key(0), space, state)
    even = np.arange(10) / 9 + 0.004
    state = _tell(
        algorithm, space, state, asked, jnp.asarray(np.stack([even, 1 - even], 1), jnp.float32)
    )
    assert np.diff(np.sort(state.fitness[:, 0])).max() < 0.12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"population": 1}, "population must be at least 2, got 1"),
        ({"objectives": 0}, "objectives must be at least 1, got 0"),
        ({"divisions": 0}, "divisions must be at least 1, got 0"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=re.escape(message)):
        NSGA3(**settings)


def test_fitness_of_another_shape_is_refused(space):
    with pytest.raises(UserError, match=re.escape("fitness must have shape (4, 2), got (4, 3)")):
        started(NSGA3(4), space, jnp.zeros((4, 3)))


def dtlz2(x, data=None):
    away = ((x[:, 2:] - 0.5) ** 2).sum(axis=1)
    a = x[:, 0] * np.pi / 2
    b = x[:, 1] * np.pi / 2
    return (1 + away)[:, None] * jnp.stack(
        [jnp.cos(a) * jnp.cos(b), jnp.cos(a) * jnp.sin(b), jnp.sin(a)], axis=1
    )


class Dtlz2(Problem):
    def __init__(self):
        super().__init__(n_var=12, n_obj=3, xl=0, xu=1)

    def _evaluate(self, x, out, *args, **kwargs):
        out["F"] = np.asarray(dtlz2(x))


@pytest.mark.slow
def test_as_good_as_pymoos_on_dtlz2():
    box = Box("dtlz2", (0.0,) * 12, (1.0,) * 12)
    seeds = 5
    generations = 150
    algorithm = NSGA3(92, Real(1.0, 1.0, 30.0, 20.0), objectives=3, divisions=12)
    peer = pymoo_nsga3.NSGA3(
        get_reference_directions("das-dennis", 3, n_partitions=12), pop_size=92
    )
    peers = [minimize(Dtlz2(), peer, ("n_gen", generations), seed=seed).F for seed in range(seeds)]
    ours = [
        members(algorithm, box, key, generations)
        for key in jax.random.split(jax.random.key(0), seeds)
    ]
    volumes, expected = (
        [moocore.hypervolume(np.asarray(f, float), ref=[1.1] * 3) for f in group]
        for group in (ours, peers)
    )
    assert np.median(volumes) > 0.98 * np.median(expected)


def members(algorithm, box, key, generations):
    """Fitness of the last population."""
    init_key, ask_key = jax.random.split(key)
    state = _init(algorithm, init_key, box)
    for generation in range(generations):
        asked = _ask(algorithm, jax.random.fold_in(ask_key, generation), box, state)
        state = _tell(algorithm, box, state, asked, dtlz2(asked.genomes))
    return np.asarray(state.fitness)
