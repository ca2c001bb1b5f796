from dataclasses import replace

import jax
import jax.numpy as jnp
import moocore
import numpy as np
import pytest

from jaxnas.algorithms import memory, pareto
from jaxnas.algorithms.aims import Aims
from jaxnas.algorithms.algorithm import Asked
from jaxnas.algorithms.compiled import search_many
from jaxnas.algorithms.pareto_rank import ParetoRankSearch, chosen_in_turn
from jaxnas.algorithms.rank_networks import RankNetworks
from jaxnas.errors import UserError
from jaxnas.predictors.metrics import kendall
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space

SMALL = ParetoRankSearch(
    population=6, initial=12, memory=40, members=3, inner_population=24, inner_generations=6
)
TABLE = Space("table", tuple(Gene(f"g{i}", (1, 2, 3, 4, 5), "width") for i in range(4)))


def conflict(genomes, data=None):
    """625 networks whose objectives conflict, and interact a little."""
    genomes = jnp.asarray(genomes)
    cost = (genomes * jnp.array([1.0, 2.0, 3.0, 1.0])).sum(axis=1)
    error = ((4 - genomes) ** 2).sum(axis=1) + (genomes[:, 0] * genomes[:, 1] == 6)
    return jnp.stack([cost, error.astype(jnp.float32)], axis=1)


def covered(fitness):
    return moocore.hypervolume(np.asarray(fitness, float), ref=[30.0, 70.0])


WHOLE = covered(conflict(np.array(list(np.ndindex(5, 5, 5, 5)))))


def observed(aims, genomes, fitness):
    """A memory of no more than these."""
    known = memory.empty(jax.random.key(0), TABLE, len(genomes), 2, len(genomes), 1)
    return memory.updated(known, TABLE, aims, genomes, fitness)


def test_a_front_is_found_in_half_of_the_evaluations_that_chance_takes():
    keys = jax.random.split(jax.random.key(0), 2)
    found = search_many(SMALL, TABLE, keys, conflict, 7)
    draws = jax.random.split(jax.random.key(9), 8)
    chance = [covered(conflict(TABLE.sample(key, 84))) for key in draws]
    for genomes, fitness in zip(found.genomes, found.fitness, strict=True):
        assert covered(fitness) > max(np.mean(chance), 0.93 * WHOLE)
        assert len(np.unique(genomes, axis=0)) == 42
    predicted = found.figures["predicted"]
    assert predicted.shape == (2, 7, 6, 2)
    assert np.isnan(predicted[:, :2]).all()
    off = np.abs(predicted[:, -1] - found.fitness[:, -6:])[..., 0].mean()
    assert off < 3  # of a cost from 0 to 28


def test_scores_come_in_the_order_of_constrained_ranks():
    """Of networks that nothing was learnt from, and that fail now and then."""
    aims = Aims(2, (20.0, None))
    networks = RankNetworks(aims, 3, 200, 200, by_rank=True)
    genomes = np.random.default_rng(0).permutation(np.array(list(np.ndindex(5, 5, 5, 5))))
    genomes = jnp.asarray(genomes, jnp.int32)
    failed = jnp.where(jnp.arange(200)[:, None] % 10 == 0, jnp.nan, conflict(genomes[:200]))

    @jax.jit
    def scores(fresh_key, fit_key):
        known = observed(aims, genomes[:200], failed)
        weights = networks.fresh(fresh_key, TABLE, known)
        weights = networks.refitted(fit_key, TABLE, weights, known, jnp.bool(True))
        truth = conflict(genomes[200:])
        rank = pareto.rank(truth, aims.violation(truth))
        return networks.outputs(TABLE, weights, genomes[200:]).mean(axis=0), truth, rank

    keys = jax.random.split(jax.random.key(1))
    found, truth, rank = (np.asarray(one, np.float64) for one in scores(*keys))
    best = max(kendall(rank, truth[:, i]) for i in range(2))
    assert kendall(rank, found[:, -1]) > max(0.55, best + 0.1)


def test_judges_choose_in_turn_and_nobody_what_is_taken():
    places = jnp.array([[3.0, 1.0, 2.0, 0.0, 4.0], [0.0, 4.0, 1.0, 2.0, 3.0]])
    new = jnp.array([True, True, True, False, True])
    assert chosen_in_turn(places, new, 3).tolist() == [1, 0, 2]
    assert chosen_in_turn(places[:1], new, 3).tolist() == [1, 2, 0]


def test_who_judges():
    """Two networks by their scores, the front of their mean after each; or that alone."""
    aims = Aims(2, ())
    genomes = jnp.array(list(np.ndindex(1, 1, 2, 4)), jnp.int32)
    objectives = jnp.array([[[0.0, 2.0], [1.0, 1.0], [2.0, 0.0], [1.0, 0.5], [0.0, 0.0]]] * 2)
    scores = jnp.array([[5.0, 4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
    outputs = jnp.concatenate([objectives, scores[..., None]], axis=-1)
    new = jnp.array([True, True, True, True, False])

    @jax.jit
    def places(outputs, new):
        known = observed(aims, genomes, conflict(genomes))
        networks = (RankNetworks(aims, 2, 1, 1, by_rank) for by_rank in (True, False))
        return [one.places(known, outputs, new) for one in networks]

    by_rank, alone = places(outputs, new)
    np.testing.assert_array_equal(by_rank[::2], scores)
    np.testing.assert_array_equal(by_rank[1::2], jnp.tile(alone, (2, 1)))
    assert alone[0].tolist() == [0, 3, 1, 2, 4]  # the ends, what lies between, the dominated


@pytest.mark.parametrize(
    "inner, learns", [("nsga2", "objectives"), ("evolution", "rank"), ("random", "rank")]
)
def test_every_inner_search_takes_constraints(inner, learns):
    algorithm = replace(SMALL, inner=inner, learns=learns, constraints=1)

    def asked(key):
        init_key, ask_key = jax.random.split(key)
        return algorithm.ask(ask_key, TABLE, algorithm.init(init_key, TABLE))

    found = jax.eval_shape(asked, jax.random.key(0))
    assert found.genomes.shape == (6, 4) and found.genomes.dtype == jnp.int32


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"inner": "moead"}, "unknown inner search 'moead'; known: evolution, nsga2, random"),
        ({"learns": "latency"}, "unknown target 'latency'; known: objectives, rank"),
        ({"memory": 3}, "memory must be at least 6, got 3"),
        ({"members": 0}, "members must be at least 1, got 0"),
        ({"refit_steps": 0}, "refit_steps must be at least 1, got 0"),
        (
            {"inner_population": 4, "inner_generations": 1},
            "the inner search visits 4 candidates, less than a population of 6",
        ),
    ],
)
def test_settings_that_make_no_search_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        replace(SMALL, **settings)


def test_fitness_of_other_columns_is_refused():
    algorithm = replace(SMALL, constraints=1)

    def told(key):
        genomes = TABLE.sample(key, 6)
        asked = Asked(genomes, jnp.zeros((6, 2), jnp.int32))
        return algorithm.tell(TABLE, algorithm.init(key, TABLE), asked, conflict(genomes))

    with pytest.raises(UserError, match=r"fitness must have shape \(6, 3\), got \(6, 2\)"):
        jax.eval_shape(told, jax.random.key(0))
