import jax
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.predictors import heads
from jaxnas.predictors.encoders import Flat
from jaxnas.predictors.metrics import kendall
from jaxnas.predictors.network import Network
from jaxnas.predictors.single import Single
from jaxnas.predictors.transfer import Transfer, learn
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space

SPACE = Space("toy", tuple(Gene(f"g{i}", (8, 16, 24)) for i in range(4)))
NETWORK = Network(Flat(), hidden=(16,), steps=300, batch=32, learning_rate=0.02)


@pytest.fixture(scope="module")
def data():
    genomes = np.asarray(SPACE.sample(jax.random.key(0), 200))
    first, second = (1.0 + genomes @ np.array(row) for row in ([4, 2, 1, 0], [0, 1, 2, 4]))
    return genomes, {"first": first, "second": second}


@pytest.fixture(scope="module")
def model(data):
    return heads.fit(NETWORK, jax.random.key(0), SPACE, *data)


def test_a_head_for_each_figure(model, data):
    genomes, figures = data
    for name, other in zip(figures, reversed(figures), strict=True):
        head = model.head(name)
        found = np.asarray(jax.jit(lambda head, genomes: head(genomes))(head, genomes))
        np.testing.assert_allclose(found, figures[name], rtol=0.5)
        assert kendall(figures[name], found) > 0.9 > kendall(figures[other], found)


def test_a_new_device_from_six_measurements(model, data):
    """A mix of the two."""
    genomes, figures = data
    mixed = np.sqrt(figures["first"] * figures["second"])
    basis = learn(jax.random.key(0), SPACE, [model.head(name) for name in figures])
    new = Single(Transfer(basis)).fit(jax.random.key(0), SPACE, genomes[:6], mixed[:6])
    assert kendall(mixed[6:], np.asarray(new(genomes[6:]))) > 0.8


def test_a_head_that_nobody_knows(model, data):
    with pytest.raises(UserError, match="no head 'third'; this network has first, second"):
        model.head("third")
    with pytest.raises(UserError, match="needs a figure or more to learn, got none"):
        heads.fit(NETWORK, jax.random.key(0), SPACE, data[0], {})
    short = {"first": data[1]["first"], "second": data[1]["second"][:5]}
    with pytest.raises(UserError, match="expected targets of each of 200 networks, got 5"):
        heads.fit(NETWORK, jax.random.key(0), SPACE, data[0], short)
