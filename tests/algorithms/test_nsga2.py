import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.algorithms import nsga2
from jaxnas.algorithms.algorithm import Asked
from jaxnas.algorithms.loop import _ask, _init, _tell
from jaxnas.algorithms.nsga2 import NSGA2
from jaxnas.algorithms.variation import Discrete, mated
from jaxnas.errors import UserError
from jaxnas.spaces.space import Space

tournaments = jax.jit(nsga2._tournaments, static_argnums=2)


def started(algorithm, space, fitness):
    """The state after the initial population was told `fitness`, and what was asked."""
    state = _init(algorithm, jax.random.key(1), space)
    asked = Asked(state.genomes, jnp.full((algorithm.population, 2), -1))
    return _tell(algorithm, space, state, asked, fitness), asked


def ask(algorithm, space, state, seed=0):
    return _ask(algorithm, jax.random.key(seed), space, state)


def ramp(n):
    return jnp.stack([jnp.arange(n), -jnp.arange(n)], axis=1).astype(jnp.float32)


def test_the_first_generation_is_the_initial_population(space):
    algorithm = NSGA2(9)
    state = _init(algorithm, jax.random.key(0), space)
    asked = ask(algorithm, space, state)
    np.testing.assert_array_equal(asked.genomes, state.genomes)
    assert (asked.parents == -1).all()


def test_copies_have_one_parent_and_crossed_children_two(space):
    n = 200
    state, _ = started(NSGA2(n), space, ramp(n))
    genomes = np.asarray(state.genomes)
    rows = np.asarray(state.rows)
    by_row = genomes[np.argsort(rows)]
    pairs = jnp.arange(n, dtype=jnp.int32).reshape(2, -1)
    for crossover in (0.0, 0.3, 1.0):
        cross = jax.jit(mated, static_argnums=(1, 2))
        children, parents = map(
            np.asarray,
            cross(jax.random.key(0), space, Discrete(crossover), state.genomes, state.rows, pairs),
        )
        alone = parents[:, 1] == -1
        assert abs((1 - alone.mean()) - crossover) < 0.1
        np.testing.assert_array_equal(children[alone], by_row[parents[alone, 0]])
        first = by_row[parents[~alone, 0]]
        second = by_row[parents[~alone, 1]]
        crossed = children[~alone]
        assert ((crossed == first) | (crossed == second)).all()
        pair = children.reshape(2, n // 2, -1)  # nothing is lost within a pair
        np.testing.assert_array_equal(pair.sum(0), genomes.reshape(2, n // 2, -1).sum(0))


def test_children_duplicate_nobody_if_the_space_has_room(space):
    algorithm = NSGA2(28, Discrete(0.0, 0.0))  # all children are copies at first
    state, _ = started(algorithm, space, ramp(28))
    for seed in range(5):
        asked = ask(algorithm, space, state, seed)
        everyone = np.concatenate([state.genomes, asked.genomes])
        assert len(np.unique(everyone, axis=0)) == 56


def test_what_means_the_same_network_is_a_duplicate(space):
    half_silent = Space(
        "half silent",
        (*space.genes[:14], *(replace(gene, needs=("g3", (4,))) for gene in space.genes[14:])),
    )
    algorithm = NSGA2(28, Discrete(0.0, 0.0))
    networks = {}
    for one in (space, half_silent):
        state, _ = started(algorithm, one, ramp(28))
        everyone = np.concatenate([state.genomes, ask(algorithm, one, state).genomes])
        networks[one.name] = len(np.unique(everyone[:, :14], axis=0))
    assert networks["half silent"] >= 52  # each round half of them change in what is silent
    assert networks["toy"] < 46


def test_a_space_smaller_than_the_population_only_repeats(small_space):
    algorithm = NSGA2(11)
    state, _ = started(algorithm, small_space, ramp(11))
    asked = ask(algorithm, small_space, state)
    assert asked.genomes.shape == (11, 2)
    assert ((asked.genomes >= 0) & (asked.genomes < small_space.sizes)).all()


def test_tell_keeps_the_best_ranks_and_then_the_most_crowded_distances(space):
    algorithm = NSGA2(4)
    state, first = started(algorithm, space, jnp.array([[0.0, 9], [9, 0], [9, 9], [8, 8]]))
    assert state.rows.tolist() == [0, 1, 3, 2]
    asked = ask(algorithm, space, state)
    state = _tell(algorithm, space, state, asked, jnp.array([[1.0, 8.5], [4, 4], [10, 10], [9, 9]]))
    # The ends, then the middle, then the neighbour of an end.
    assert state.rows.tolist() == [0, 1, 5, 4]
    assert state.rank.tolist() == [0, 0, 0, 0]
    np.testing.assert_array_equal(
        state.genomes, np.concatenate([first.genomes, asked.genomes])[[0, 1, 5, 4]]
    )
    assert (int(state.evaluated), int(state.generation)) == (8, 2)


def test_failed_candidates_never_take_the_place_of_others(space):
    algorithm = NSGA2(4)
    nan = jnp.nan
    state, _ = started(algorithm, space, jnp.array([[nan, 0.0], [nan, nan], [5, 5], [0, nan]]))
    assert state.rows[0] == 2
    assert set(state.rows.tolist()) == {0, 1, 2, 3}  # evaluated ones, not their selves before
    for seed in range(20):
        assert set(np.unique(ask(algorithm, space, state, seed).parents)) <= {-1, 2}
    asked = ask(algorithm, space, state)
    state = _tell(algorithm, space, state, asked, jnp.array([[9.0, 9], [8, 8], [nan, 1], [7, 7]]))
    assert state.rows.tolist() == [2, 7, 5, 4]


def test_if_all_failed_any_member_may_be_a_parent(space):
    algorithm = NSGA2(4)
    state, _ = started(algorithm, space, jnp.full((4, 2), jnp.nan))
    parents = np.concatenate([ask(algorithm, space, state, seed).parents for seed in range(10)])
    assert set(np.unique(parents)) == {-1, 0, 1, 2, 3}


def test_parents_win_their_tournaments(space):
    algorithm = NSGA2(100)
    state, _ = started(algorithm, space, jnp.stack([jnp.arange(100.0), jnp.arange(100.0)], 1))
    winners = np.stack([tournaments(jax.random.key(seed), state, ()) for seed in range(200)])
    # The mean of the lesser of two.
    np.testing.assert_allclose(np.mean(np.asarray(state.rank)[winners]), 33, atol=0.7)
    wins = np.stack([np.bincount(one.ravel(), minlength=100) for one in winners])
    assert wins.max() == 2 and (wins[:, 0] == 2).all()  # each competes twice
    assert (wins[:, -1] == 0).all()  # never against itself
    assert (winners[:, 0] != winners[:, 1]).all()
    state, _ = started(algorithm, space, ramp(100) ** 3)
    winners = np.stack([tournaments(jax.random.key(seed), state, ()) for seed in range(200)])
    assert set(np.asarray(state.rank).tolist()) == {0}
    np.testing.assert_allclose(np.mean(winners), 33, atol=0.7)  # members come in order of crowding


def test_members_that_do_not_dominate_each_other_are_told_apart_by_room_whatever_their_ranks(space):
    state, _ = started(NSGA2(4), space, jnp.array([[0.0, 9], [9, 0], [1, 8], [9, 9]]))
    first = 0
    last = 3
    state = state._replace(rank=jnp.arange(4, dtype=jnp.int32), crowding=jnp.array([0.0, 1, 2, 3]))
    fitness = jnp.array([[0.0, 9], [1, 8], [2, 7], [3, 6]])
    for seed in range(10):
        assert (
            np.asarray(tournaments(jax.random.key(seed), state._replace(fitness=fitness), ()))
            != first
        ).all()
        limited = np.asarray(
            tournaments(jax.random.key(seed), state._replace(fitness=fitness), (0.5, None))
        )
        assert (limited != last).all() and first in limited


def test_limits_come_before_objectives(space):
    algorithm = NSGA2(4, limits=(None, 5.0))
    state, _ = started(algorithm, space, jnp.array([[0.0, 9], [1, 7], [9, 5], [8, 4]]))
    assert state.rows.tolist() == [3, 2, 1, 0]
    # (8, 4) dominates (9, 5); beyond the limit the smaller excess leads.
    assert state.rank.tolist() == [0, 1, 2, 3]


def test_without_avoidance_children_may_repeat(space):
    algorithm = NSGA2(28, Discrete(0.0, 0.0), avoid_duplicates=False)
    state, _ = started(algorithm, space, ramp(28))
    members = {tuple(genome) for genome in np.asarray(state.genomes).tolist()}
    assert {
        tuple(genome) for genome in np.asarray(ask(algorithm, space, state).genomes).tolist()
    } <= members


def test_other_numbers_of_objectives(space):
    for objectives in (1, 3):
        state, _ = started(
            NSGA2(4, objectives=objectives), space, jnp.arange(4.0 * objectives).reshape(4, -1)
        )
        assert state.rows.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"population": 0}, "population must be at least 2, got 0"),
        (
            {"limits": (1.0,)},
            (
                "limits must be a finite number or None for each of 2 objectives, or none at all, "
                "got (1.0,)"
            ),
        ),
        ({"objectives": 0}, "objectives must be at least 1, got 0"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=re.escape(message)):
        NSGA2(**settings)


def test_fitness_of_another_shape_is_refused(space):
    with pytest.raises(UserError, match=re.escape("fitness must have shape (4, 2), got (4, 3)")):
        started(NSGA2(4), space, jnp.zeros((4, 3)))
