import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.algorithms import local_search
from jaxnas.algorithms.local_search import LocalSearch, moves
from jaxnas.algorithms.loop import _ask, _init, _tell, search
from jaxnas.errors import UserError
from jaxnas.spaces.box import Box
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space

moved = jax.jit(local_search.moved)
GRID = Space("grid", tuple(Gene(f"g{i}", (0, 1, 2, 3)) for i in range(4)))


def hills(genomes):
    """One objective with a hill to climb: the least is 0, at (3, 3, 3, 3).

    Another valley, of 1, lies at (0, 0, 0, 0).
    """
    genomes = np.asarray(genomes)
    return np.minimum(12 - genomes.sum(1), 1 + 2 * genomes.sum(1)).astype(np.float32)[:, None]


def test_neighbours_are_all_genomes_that_differ_in_one_gene(space):
    genome = np.asarray(space.sample(jax.random.key(0), 1))[0]
    found = {
        tuple(np.asarray(moved(genome[None], move, space.sizes))[0].tolist())
        for move in moves(space.sizes)
    }
    expected = set()
    for gene, size in enumerate(space.sizes):
        for choice in set(range(size)) - {genome[gene]}:
            expected.add(tuple(np.where(np.arange(len(genome)) == gene, choice, genome).tolist()))
    assert found == expected and len(found) == len(moves(space.sizes)) == (space.sizes - 1).sum()


def test_children_are_untried_neighbours_of_the_front(space, evaluate):
    archive = search(LocalSearch(9), space, jax.random.key(0), evaluate, 12)
    assert len(np.unique(archive.genomes, axis=0)) == len(archive.genomes)
    for row in range(9, len(archive.genomes)):
        parent, other = archive.parents[row]
        assert parent >= 0 and other == -1
        known = archive.fitness[archive.generation < archive.generation[row]]
        beaten = (known <= archive.fitness[parent]).all(1) & (known < archive.fitness[parent]).any(
            1
        )
        assert not beaten.any()
    changed = (archive.genomes[9:] != archive.genomes[archive.parents[9:, 0]]).sum(1)
    assert changed.min() == 1 and (changed == 1).mean() > 0.9


def test_a_front_shares_the_tries(space):
    algorithm = LocalSearch(8)
    state = _init(algorithm, jax.random.key(0), space)
    asked = _ask(algorithm, jax.random.key(1), space, state)
    fitness = jnp.array([[0.0, 3], [1, 2], [2, 1], [3, 0], [4, 4], [5, 5], [6, 6], [jnp.nan, 0]])
    state = _tell(algorithm, space, state, asked, fitness)
    parents = np.asarray(_ask(algorithm, jax.random.key(2), space, state).parents)
    assert np.bincount(parents[:, 0]).tolist() == [2, 2, 2, 2]


def test_it_climbs_to_a_local_optimum_and_begins_again():
    generations = 60
    tops = []
    for seed in range(5):
        archive = search(
            LocalSearch(2, objectives=1), GRID, jax.random.key(seed), hills, generations
        )
        fresh = (archive.parents[:, 0] == -1).reshape(generations, 2).all(1)
        starts = [*np.flatnonzero(fresh), generations]
        assert len(starts) > 2
        for start, end in itertools.pairwise(starts[:-1]):  # climbs that came to an end
            climb = slice(2 * start, 2 * end)
            best = archive.genomes[climb][archive.fitness[climb, 0].argmin()]
            neighbours = np.asarray(
                moved(np.repeat(best[None], 12, 0), moves(GRID.sizes), GRID.sizes)
            )
            evaluated = {tuple(genome) for genome in archive.genomes[: 2 * end].tolist()}
            assert {tuple(genome) for genome in neighbours.tolist()} <= evaluated
            tops.append(float(archive.fitness[climb].min()))
    assert min(tops) == 0


def test_if_all_failed_it_begins_again(space):
    algorithm = LocalSearch(5)
    state = _init(algorithm, jax.random.key(0), space)
    for generation in range(3):
        asked = _ask(algorithm, jax.random.key(generation), space, state)
        assert (asked.parents == -1).all()
        state = _tell(algorithm, space, state, asked, jnp.full((5, 2), jnp.nan))


def test_a_space_that_is_used_up_still_gives_candidates(small_space):
    archive = search(
        LocalSearch(7, objectives=1),
        small_space,
        jax.random.key(0),
        lambda g: g.sum(1)[:, None].astype(np.float32),
        6,
    )
    assert len(np.unique(archive.genomes, axis=0)) == small_space.size()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"population": 1}, "population must be at least 2, got 1"),
        ({"objectives": 0}, "objectives must be at least 1, got 0"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=re.escape(message)):
        LocalSearch(**settings)


def test_a_box_and_fitness_of_another_shape_are_refused(space):
    with pytest.raises(UserError, match="local search needs a space of choices, got the box plane"):
        _init(LocalSearch(4), jax.random.key(0), Box("plane", (0.0, 0.0), (1.0, 1.0)))
    with pytest.raises(
        UserError, match="local search needs two networks or more, got the space one"
    ):
        _init(LocalSearch(4), jax.random.key(0), Space("one", (Gene("g", (3,)),)))
    state = _init(LocalSearch(4), jax.random.key(0), space)
    asked = _ask(LocalSearch(4), jax.random.key(1), space, state)
    with pytest.raises(UserError, match=re.escape("fitness must have shape (4, 2), got (4, 3)")):
        _tell(LocalSearch(4), space, state, asked, jnp.zeros((4, 3)))
