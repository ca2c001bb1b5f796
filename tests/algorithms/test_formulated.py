"""Every algorithm of one objective minimises every formulation of a small table."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.algorithms.compiled import search_many
from jaxnas.algorithms.formulated import Formulated, worth
from jaxnas.algorithms.formulations import EpsilonConstraint, WeightedSum
from jaxnas.algorithms.loop import search
from jaxnas.algorithms.nsga2 import NSGA2
from jaxnas.config import ALGORITHMS, FORMULATIONS, SearchConfig, make_algorithm, make_formulation
from jaxnas.errors import UserError
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space

SPACE = Space("board", tuple(Gene(f"g{i}", (0, 1, 2, 3)) for i in range(5)))
FORMULATION = {
    "weighted_sum": "weights=1,2",
    "chebyshev": "weights=1,2:ideal=50,5",
    "weighted_product": "weights=1,0.5",
    "mnasnet": "target=14:worst_error=100",
    "epsilon_constraint": "most=14",
    "lexicographic": "tolerances=5,0.25",
}
OWN = {"evolution": "members=20:sample=5", "evosax": "name=CMA_ES", "islands": "count=2"}
ONE = [name for name in ALGORITHMS if name != "moead"]  # which has two objectives and more
OF_ONE = NSGA2(20, objectives=1)


def look_up(genomes, table):
    return table[(genomes * 4 ** jnp.arange(5, dtype=jnp.int32)).sum(axis=1)]


@pytest.fixture(scope="module")
def table():
    """Fitness of all 1,024 genomes: an error that falls as the cost rises, on the whole."""
    genomes = np.arange(4**5)[:, None] // 4 ** np.arange(5) % 4
    draw = np.random.default_rng(0)
    cost = 3 + genomes @ draw.uniform(1, 3, 5)
    error = 100 - np.sqrt(genomes) @ draw.uniform(2, 6, 5) - (genomes[:, 1:] > 1).sum(axis=1)
    return jnp.asarray(np.stack([error, cost], axis=1), jnp.float32)


def searched(table, algorithm, seed, generations, column=None):
    """What a search evaluates; of a column alone where one is given."""

    def evaluate(genomes):
        fitness = look_up(genomes, table)
        return np.asarray(fitness if column is None else column(fitness)[:, None])

    return search(algorithm, SPACE, jax.random.key(seed), evaluate, generations)


@pytest.mark.parametrize("name", FORMULATIONS)
def test_a_search_finds_the_best_of_the_table(table, name):
    formulation = make_formulation(f"{name}:{FORMULATION[name]}")
    value = np.asarray(worth(formulation, table))
    best = np.flatnonzero(value == value.min())
    assert len(best) < 5  # which is one cell or a few of the same steps
    archive = searched(table, OF_ONE, 1, 25, lambda fitness: worth(formulation, fitness))
    rows = archive.genomes @ 4 ** np.arange(5)
    assert np.isin(best, rows).any()


def test_what_an_algorithm_does_with_a_formulation_it_does_with_its_column(table):
    formulation = WeightedSum((1, 2))
    alone = searched(table, OF_ONE, 2, 6, formulation)
    archive = searched(table, Formulated(OF_ONE, formulation), 2, 6)
    np.testing.assert_array_equal(archive.genomes, alone.genomes)
    np.testing.assert_array_equal(formulation(jnp.asarray(archive.fitness)), alone.fitness[:, 0])


@pytest.mark.parametrize("name", ONE)
def test_every_algorithm_takes_a_formulation_limits_and_constraints(name):
    own = f"{name}:{OWN[name]}" if name in OWN else name
    algorithm = make_algorithm(
        SearchConfig(
            own,
            20,
            formulation="weighted_sum:weights=1,2",
            limits=("error=0.5",),
            constraints=("mmacs=3",),
        )
    )

    def generation(key):
        init_key, ask_key = jax.random.split(key)
        state = algorithm.init(init_key, SPACE)
        asked = algorithm.ask(ask_key, SPACE, state)
        return state, algorithm.tell(SPACE, state, asked, jnp.zeros((20, 3)))

    before, after = jax.eval_shape(generation, jax.random.key(0))
    assert before == after


def test_the_loop_and_one_program_are_the_same_and_the_archive_keeps_all_objectives(table):
    algorithm = Formulated(NSGA2(20, objectives=1), EpsilonConstraint((14,)))
    together = search_many(algorithm, SPACE, jax.random.key(3)[None], look_up, 4, table)
    alone = search(
        algorithm, SPACE, jax.random.key(3), lambda genomes: np.asarray(look_up(genomes, table)), 4
    )
    np.testing.assert_array_equal(together.genomes[0], alone.genomes)
    np.testing.assert_array_equal(alone.fitness, look_up(alone.genomes, table))


def test_figures_are_the_algorithms_own():
    class Silent(NSGA2):
        def figures(self, state):
            return {"members": state.evaluated}

    formulation = WeightedSum((1, 2))
    for algorithm, names in ((NSGA2(4, objectives=1), []), (Silent(4, objectives=1), ["members"])):
        for limits in ((), (None, 3.0)):
            wrapped = Formulated(algorithm, formulation, limits=limits)
            state = wrapped.init(jax.random.key(0), SPACE)
            assert list(wrapped.figures(state)) == names


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match="NSGA2 has 2 objectives: set its objectives to 1"):
        Formulated(NSGA2(4), WeightedSum((1, 2)))
    algorithm = Formulated(NSGA2(4, objectives=1), WeightedSum((1, 2)))
    with pytest.raises(UserError, match="fitness must have 2 columns, got 3; set objectives"):
        algorithm.told(jnp.zeros((4, 3)))
    with pytest.raises(UserError, match="weights of weighted_sum must be 2, one for each"):
        make_algorithm(SearchConfig(formulation="weighted_sum:weights=1,2,3"))
    with pytest.raises(UserError, match=r"objectives of MOEA/D must be at least 2, got 1"):
        make_algorithm(SearchConfig("moead", formulation="weighted_sum:weights=1,2"))
