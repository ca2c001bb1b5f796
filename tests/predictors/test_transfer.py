import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.predictors.ensemble import Ensemble
from jaxnas.predictors.metrics import coverage, spearman
from jaxnas.predictors.mlp import MLP
from jaxnas.predictors.transfer import Transfer, learn
from jaxnas.spaces.encodings import one_hot
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space

SPACE = Space("toy", tuple(Gene(f"g{i}", (1, 2, 3, 4)) for i in range(12)))
GENOMES = np.asarray(SPACE.sample(jax.random.key(0), 3000))
TEN = np.ones((1, 10), bool)


def price(prices, genomes):
    """Log-additive: a price for each choice of each gene."""
    return jnp.exp(one_hot(SPACE, genomes) @ prices)


@pytest.fixture(scope="module")
def prices():
    """Four devices that have much in common."""
    draw = np.random.default_rng(0)
    common = draw.normal(size=48)
    return [jnp.asarray(0.3 * (common + draw.normal(0, 0.7, 48)), jnp.float32) for _ in range(4)]


@pytest.fixture(scope="module")
def basis(prices):
    return learn(jax.random.key(0), SPACE, [jax.tree_util.Partial(price, own) for own in prices])


def ranked(method, ms, draw=0):
    rows = np.random.default_rng(draw).choice(3000, 10, replace=False)
    predicted = method.fit(jax.random.key(draw), SPACE, GENOMES[rows], ms[rows], TEN).predict(
        GENOMES
    )
    return spearman(ms, np.asarray(predicted)[0])


def test_a_mix_of_known_devices_is_found_from_ten(prices, basis):
    mix = 0.7 * prices[0] + 0.5 * prices[2] - 0.2 * prices[3]
    ms = np.asarray(price(mix, GENOMES))
    few = np.mean([ranked(Transfer(basis), ms, draw) for draw in range(5)])
    scratch = np.mean([ranked(MLP(one_hot, steps=2000), ms, draw) for draw in range(5)])
    assert few > 0.9 > scratch + 0.2


def test_what_a_device_has_of_its_own_is_learnt_from_more(prices, basis):
    own = 0.5 * prices[0] + jnp.asarray(np.random.default_rng(5).normal(0, 0.3, 48), jnp.float32)
    ms = np.asarray(price(own, GENOMES))
    used = np.ones((1, 300), bool)
    model = Transfer(basis, own=(1.0,), noise=(0.01,)).fit(
        jax.random.key(0), SPACE, GENOMES[:300], ms[:300], used
    )
    none = Transfer(basis, own=(0.0,), noise=(0.01,)).fit(
        jax.random.key(0), SPACE, GENOMES[:300], ms[:300], used
    )
    scores = [
        spearman(ms[300:], np.asarray(one.predict(GENOMES[300:]))[0]) for one in (model, none)
    ]
    assert scores[0] > 0.99 > scores[1] + 0.05


def test_ten_measurements_of_a_noisy_device_do_no_harm(prices, basis):
    """Noise of half the spread.

    What is fitted with little noise in mind ranks worse than the mean of the known devices.
    """
    mean = np.mean([np.log(price(own, GENOMES)) for own in prices], axis=0)
    ms = np.exp(mean + 0.7 * mean.std() * np.random.default_rng(1).normal(size=len(mean))).astype(
        np.float32
    )
    zero_shot = spearman(ms, mean)
    cautious, fixed = (
        np.mean([ranked(method, ms, draw) for draw in range(10)])
        for method in (Transfer(basis), Transfer(basis, each=(0.1,), own=(0.03,), noise=(0.01,)))
    )
    assert cautious > zero_shot - 0.01 and fixed < zero_shot - 0.05


def test_ten_measurements_give_intervals(prices, basis):
    shares = []
    ms = np.asarray(price(0.8 * prices[1] + 0.2 * prices[2], GENOMES))
    for draw in range(20):
        rows = np.random.default_rng(draw).choice(3000, 10, replace=False)
        prediction = (
            Ensemble(Transfer(basis), folds=10, deals=1)
            .fit(jax.random.key(draw), SPACE, GENOMES[rows], ms[rows])
            .predict(GENOMES)
        )
        shares.append(coverage(ms, np.asarray(prediction.low_ms), np.asarray(prediction.high_ms)))
    assert 0.85 < np.mean(shares) < 0.97


def test_a_model_is_an_argument_of_a_compiled_program(basis, prices):
    model = Transfer(basis).fit(
        jax.random.key(0), SPACE, GENOMES[:10], np.asarray(price(prices[0], GENOMES[:10])), TEN
    )
    traced = jax.jit(lambda model, genomes: model.predict(genomes))(model, GENOMES[:50])
    np.testing.assert_allclose(traced, model.predict(GENOMES[:50]), rtol=1e-5)


def test_networks_of_another_space(basis, prices):
    ms = np.asarray(price(prices[0], GENOMES[:10]))
    model = Transfer(basis).fit(jax.random.key(0), SPACE, GENOMES[:10], ms, TEN)
    with pytest.raises(UserError, match="fitted to toy sees choices below"):
        model.predict(GENOMES[:5] + 4)
    with pytest.raises(UserError, match="fitted to toy sees genomes of 12 genes"):
        Transfer(basis).fit(jax.random.key(0), SPACE, GENOMES[:10, :9], ms, TEN)


def test_the_basis_is_standard(basis):
    columns = np.asarray(basis(SPACE.sample(jax.random.key(9), 5000)))
    np.testing.assert_allclose(columns.mean(axis=0), 0, atol=0.1)
    np.testing.assert_allclose(columns.std(axis=0), 1, atol=0.1)


def test_no_known_device():
    with pytest.raises(UserError, match="transfer needs a known device or more, got none"):
        learn(jax.random.key(0), SPACE, [])
