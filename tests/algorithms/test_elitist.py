"""Elitist evolution.

Where children come from, what survives, and that it finds the best under a limit.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.algorithms.compiled import search_many
from jaxnas.algorithms.elitist import Elitist
from jaxnas.algorithms.loop import _ask, _init, _tell
from jaxnas.algorithms.variation import Discrete
from jaxnas.errors import UserError
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space

SPACE = Space("steps", tuple(Gene(f"g{i}", (0, 1, 2, 3)) for i in range(12)))


def most_under(limit):
    """The sum of the genes is wanted, at most `limit` of it; beyond it the excess ranks."""

    def fitness(genomes, _):
        total = genomes.sum(axis=1).astype(jnp.float32)
        return jnp.where(total <= limit, -total, total)[:, None]

    return fitness


def told(algorithm, seed=0):
    """The state after one generation, whose members are sorted."""
    state = _init(algorithm, jax.random.key(seed), SPACE)
    asked = _ask(algorithm, jax.random.key(1), SPACE, state)
    return _tell(algorithm, SPACE, state, asked, most_under(20)(asked.genomes, None))


def test_half_are_mutated_and_half_are_crossed_from_the_best_quarter():
    algorithm = Elitist(20, Discrete(crossover=1.0), avoid_duplicates=False)
    state = told(algorithm)
    asked = _ask(algorithm, jax.random.key(2), SPACE, state)
    best = set(np.asarray(state.rows[:5]).tolist())
    parents = np.asarray(asked.parents)
    genomes = np.asarray(asked.genomes)
    members = dict(zip(np.asarray(state.rows).tolist(), np.asarray(state.genomes), strict=True))
    assert set(parents[:, 0].tolist()) <= best and set(parents[10:, 1].tolist()) <= best
    assert (parents[:10, 1] == -1).all()
    assert all((genomes[i] != members[parents[i, 0]]).any() for i in range(10))
    for i in range(10, 20):
        one = members[parents[i, 0]]
        other = members[parents[i, 1]]
        assert ((genomes[i] == one) | (genomes[i] == other)).all()


def test_the_best_stay():
    algorithm = Elitist(10)
    state = told(algorithm)
    asked = _ask(algorithm, jax.random.key(2), SPACE, state)
    found = most_under(20)(asked.genomes, None)
    after = _tell(algorithm, SPACE, state, asked, found)
    everybody = np.sort(np.concatenate([np.asarray(state.fitness), np.asarray(found)]).ravel())
    np.testing.assert_array_equal(np.asarray(after.fitness).ravel(), everybody[:10])


def test_it_finds_the_most_under_a_limit():
    archives = search_many(
        Elitist(20), SPACE, jax.random.split(jax.random.key(0), 5), most_under(20), 20
    )
    assert (np.asarray(archives.fitness).min(axis=(1, 2)) == -20).all()


def test_a_share_of_parents():
    with pytest.raises(UserError, match="parents must be a share"):
        Elitist(parents=0.0)
