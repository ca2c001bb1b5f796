"""Given genomes are candidates of the first generation, of which the algorithm learns."""

import numpy as np
import pytest

from jaxnas.algorithms.evosax import Evosax
from jaxnas.algorithms.loop import search
from jaxnas.algorithms.nsga2 import NSGA2
from jaxnas.algorithms.ppo import PPO
from jaxnas.algorithms.random_search import RandomSearch
from jaxnas.algorithms.reinforce import Reinforce
from jaxnas.algorithms.seeded import Seeded, begins_as_told
from jaxnas.errors import UserError
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space

SPACE = Space("table", tuple(Gene(f"gene{i}", tuple(range(9)), "operation") for i in range(8)))
GIVEN = (tuple(8 * [8]), tuple(8 * [0]))


def fitness(genomes):
    """The first of the given ones is the best of all there are."""
    return np.stack([(8 - genomes).sum(1), (8 - genomes).max(1)], axis=1).astype(np.float32)


def found(algorithm, generations=3, recorded=None):
    import jax

    return search(algorithm, SPACE, jax.random.key(0), fitness, generations, recorded)


def test_they_stand_first_and_have_descendants():
    plain = found(NSGA2(8))
    archive = found(Seeded(NSGA2(8), GIVEN))
    np.testing.assert_array_equal(archive.genomes[:2], GIVEN)
    np.testing.assert_array_equal(archive.genomes[2:8], plain.genomes[2:8])
    assert (archive.parents[:8] == -1).all() and (archive.parents[8:] == 0).any()
    assert archive.fitness[:, 0].argmin() == 0


def test_a_search_goes_on_where_it_stopped():
    whole = found(Seeded(NSGA2(8), GIVEN))
    resumed = found(Seeded(NSGA2(8), GIVEN), 3, found(Seeded(NSGA2(8), GIVEN), 2))
    for one, other in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(one, other)


def test_drawn_candidates_are_the_same_for_every_algorithm_with_this_key():
    drawn = [found(Seeded(one, GIVEN, 6), 2) for one in (NSGA2(8), RandomSearch(8), NSGA2(12))]
    for one in drawn:
        np.testing.assert_array_equal(one.genomes[:2], GIVEN)
        np.testing.assert_array_equal(one.genomes[2:8], drawn[0].genomes[2:8])
    assert len(np.unique(drawn[0].genomes[:8], axis=0)) == 8
    assert (drawn[0].genomes[8:] != drawn[1].genomes[8:]).any()


def test_an_algorithm_that_goes_by_what_it_asked_for_says_so():
    assert begins_as_told(NSGA2(8))
    assert not any(begins_as_told(one) for one in (Evosax(), Reinforce(), PPO()))
    assert not begins_as_told(Seeded(Evosax(population=8)))


def test_more_than_a_generation_holds_are_refused():
    with pytest.raises(UserError, match=r"search\.population must be at least the 3 genomes"):
        Seeded(NSGA2(2), (*GIVEN, GIVEN[0]))
