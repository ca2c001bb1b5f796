from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxnas.algorithms import pareto
from jaxnas.errors import UserError
from jaxnas.predictors.encoders import Flat
from jaxnas.predictors.metrics import kendall
from jaxnas.predictors.network import Network
from jaxnas.predictors.pareto_rank import ParetoRank
from jaxnas.spaces.encodings import one_hot
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space

SPACE = Space("toy", tuple(Gene(f"g{i}", (8, 16, 24)) for i in range(6)))
NETWORK = Network(Flat(one_hot), hidden=(32,), steps=300, batch=32, learning_rate=0.01)
RANK = ParetoRank(NETWORK, steps=300, batch=64, learning_rate=0.01)


@pytest.fixture(scope="module")
def data():
    """Two objectives that conflict in some genes and agree in others; 400 and 200 fresh ones."""
    every = np.array(list(np.ndindex(*[3] * 6)), np.int32)
    genomes = np.random.default_rng(0).permutation(every)[:600]
    one = 1 + genomes @ np.array([3.0, 2.0, 0.0, 2.0, 1.0, 1.0])
    other = 1 + (2 - genomes) @ np.array([2.0, 3.0, 0.0, 0.0, 0.0, 0.0]) + genomes[:, 5] ** 2
    return genomes, np.stack([one, other + genomes[:, 3]], axis=1)


@pytest.fixture(scope="module")
def model(data):
    genomes, fitness = (part[:400] for part in data)
    used = np.arange(400) % 5 != np.arange(2)[:, None]
    return RANK.fit(jax.random.key(0), SPACE, genomes, fitness, used)


def test_fresh_networks_come_in_the_order_of_their_rank(model, data):
    genomes, fitness = (part[400:] for part in data)
    rank = np.asarray(pareto.rank(fitness), np.float64)
    score = np.asarray(jax.jit(lambda model, genomes: model(genomes))(model, genomes))
    assert kendall(rank, score) > 0.7
    found = np.asarray(model.objectives(genomes)).mean(axis=0)
    assert all(kendall(fitness[:, i], found[:, i]) > 0.85 for i in range(2))


def test_one_objective_alone_does_not_order_ranks(model, data):
    genomes, fitness = (part[400:] for part in data)
    rank = np.asarray(pareto.rank(fitness), np.float64)
    best = max(kendall(rank, fitness[:, i]) for i in range(2))
    assert kendall(rank, np.asarray(model(genomes))) > best + 0.1


def test_a_model_learns_nothing_of_what_it_does_not_use(data):
    """And all at once what each alone would."""
    genomes, fitness = (part[:60] for part in data)
    few = replace(RANK, network=replace(NETWORK, steps=20), steps=20)
    used = np.array([np.arange(60) < 50, np.arange(60) < 60])
    changed = np.where(np.arange(60)[:, None] < 50, fitness, 2 * fitness)
    before, after = (
        np.asarray(few.fit(jax.random.key(0), SPACE, genomes, one, used).predict(genomes))
        for one in (fitness, changed)
    )
    np.testing.assert_allclose(before[0], after[0], rtol=1e-4, atol=1e-5)
    assert np.abs(before[1] - after[1]).max() > 1e-2


def test_what_no_rank_is_learnt_from(data):
    genomes, fitness = (part[:50] for part in data)
    failed = np.where(np.arange(50)[:, None] == 3, np.nan, fitness)
    front = np.stack([np.arange(50.0), 50 - np.arange(50.0)], axis=1) + 1
    for wrong, message in (
        (failed, r"must be finite and above 0, got nan \(2 such\)"),
        (front, "all training targets of 50 networks are alike"),
        (np.ones((50, 2)), "all training targets of 50 networks are alike"),
        (fitness[:, :0], r"rows of objectives, a column each, got an array of shape \(50, 0\)"),
    ):
        with pytest.raises(UserError, match=message):
            RANK.fit(jax.random.key(0), SPACE, genomes, wrong)
    with pytest.raises(UserError, match="learns from 2 networks or more, got 1"):
        RANK.fit(jax.random.key(0), SPACE, genomes[:1], fitness[:1])
    with pytest.raises(UserError, match="a rank is learnt by one of list_mle, list_mle_between, h"):
        ParetoRank(NETWORK, loss="rmse")


def test_genomes_of_another_space(model):
    with pytest.raises(UserError, match="toy sees genomes of 6 genes"):
        model(np.zeros((2, 7), np.int32))
    for asked in (model, model.objectives):
        with pytest.raises(UserError, match="toy sees choices below"):
            asked(np.full((2, 6), 3, np.int32))
