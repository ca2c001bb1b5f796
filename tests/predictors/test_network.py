from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.predictors.encoders import Encoder, Flat, Joined, standardised
from jaxnas.predictors.graph_convolution import GraphConvolution
from jaxnas.predictors.lstm import LSTM
from jaxnas.predictors.metrics import kendall
from jaxnas.predictors.network import Network
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.hand_features import hand_features
from jaxnas.spaces.nasbench201 import cell_space
from jaxnas.spaces.nasbench201_network import NasBench201
from jaxnas.spaces.operator_graph import operator_graph
from jaxnas.spaces.space import Space

CELLS = cell_space("cells", NasBench201(1, 1, 4, 4))
JOINED = Joined((LSTM(8, 2), GraphConvolution(8, 2), Flat(hand_features)))
NETWORK = Network(JOINED, positive=False, hidden=(16,), steps=150, batch=32, learning_rate=0.02)
TOY = Space("toy", tuple(Gene(f"g{i}", (8, 16, 24)) for i in range(4)))
SMALL = Network(Flat(), hidden=(16,), steps=300, batch=32, learning_rate=0.02)


@pytest.fixture(scope="module")
def cells():
    """The number of live parts, which no other encoding but the graph has: 200 and 200 fresh."""
    genomes = np.asarray(CELLS.sample(jax.random.key(0), 400))
    graph = jax.jit(lambda genomes: operator_graph(CELLS, genomes))(genomes)
    live = graph.nodes[..., -1].sum(axis=1)
    return genomes, np.asarray(live, np.float32)


@pytest.fixture(scope="module")
def fitted(cells):
    genomes, live = (part[:200] for part in cells)
    used = np.ones((1, 200), bool)
    return NETWORK.fit(jax.random.key(1), CELLS, genomes, live, used)


@pytest.fixture(scope="module")
def toy():
    genomes = np.asarray(TOY.sample(jax.random.key(0), 200))
    first, second = (1.0 + genomes @ np.array(row) for row in ([4, 2, 1, 0], [0, 1, 2, 4]))
    return genomes, {"first": first, "second": second}


def test_encoders_are_what_they_say(cells):
    for encoder in (*JOINED.encoders, JOINED):
        assert isinstance(encoder, Encoder) and hash(encoder) == hash(encoder)
        leaves = jax.tree.leaves(jax.eval_shape(partial(encoder.features, CELLS), cells[0][:3]))
        assert all(leaf.shape[0] == 3 and leaf.dtype == jnp.float32 for leaf in leaves)


def test_an_encoding_is_standardised_over_the_space():
    see = jax.jit(partial(standardised, hand_features, CELLS))
    found = np.asarray(see(CELLS.sample(jax.random.key(5), 400)))
    varies = found.std(axis=0) > 0
    assert varies.sum() == 4  # depth, convolutions, MACs, weights
    assert np.abs(found.mean(axis=0)).max() < 0.15 and (found[:, ~varies] == 0).all()
    np.testing.assert_allclose(found.std(axis=0)[varies], 1, atol=0.15)


def test_encoders_together_see_what_is_alive(fitted, cells):
    genomes, live = (part[200:] for part in cells)
    predicted = np.asarray(fitted.predict(genomes))
    assert predicted.shape == (1, 200)
    assert kendall(live, predicted[0]) > 0.8


def test_it_is_read_as_it_was_saved(fitted, cells):
    again = NETWORK.from_arrays(CELLS, fitted.arrays(), 1)
    np.testing.assert_array_equal(again.predict(cells[0]), fitted.predict(cells[0]))
    with pytest.raises(ValueError, match=r"has shape \(1, .* not \(2, "):
        NETWORK.from_arrays(CELLS, fitted.arrays(), 2)


@pytest.mark.parametrize("loss", ["list_mle", "list_mle_between", "hinge"])
def test_by_a_ranking_loss_it_learns_the_order(toy, loss):
    genomes, figures = toy
    order = np.exp(figures["first"])  # of which nothing but the order can be learnt
    network = replace(SMALL, loss=loss, steps=100)
    used = np.arange(200)[None] < 120
    predicted = network.fit(jax.random.key(0), TOY, genomes, order, used).predict(genomes[120:])
    assert kendall(order[120:], np.asarray(predicted[0])) > 0.9


@pytest.mark.parametrize(
    ("targets", "used", "message"),
    [
        ([1.0, np.nan, 2.0], [1, 1, 1], r"must be finite and above 0, got nan \(1 such\)"),
        ([1.0, -3.0, 2.0], [1, 1, 1], r"must be finite and above 0, got -3.0 \(1 such\)"),
        ([1.0, 1.0, 2.0], [1, 1, 0], "all training targets of 2 networks are alike"),
        ([1.0, 3.0, 2.0], [0, 1, 0], "learns from 2 networks or more, got 1"),
        ([], [], "learns from 2 networks or more, got 0"),
    ],
)
def test_nothing_to_learn_from(targets, used, message):
    genomes = np.zeros((len(targets), 4), np.int32)
    used = np.array([used], bool)
    with pytest.raises(UserError, match=message):
        SMALL.fit(jax.random.key(0), TOY, genomes, np.array(targets), used)


def test_another_space_than_it_was_fitted_to(fitted):
    with pytest.raises(UserError, match="cells sees genomes of 6 genes, got an array of sha"):
        fitted.predict(np.zeros((2, 8), np.int32))
    with pytest.raises(UserError, match="cells sees choices below"):
        fitted.predict(np.full((2, 6), 7, np.int32))


def test_settings_that_nothing_answers_to():
    with pytest.raises(UserError, match="loss must be one of rmse, list_mle, list_mle_between, h"):
        replace(SMALL, loss="tau")
