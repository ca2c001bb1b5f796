"""What every method of learning owes, alone and as an ensemble."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.predictors.encoders import Flat
from jaxnas.predictors.ensemble import Ensemble
from jaxnas.predictors.lookup import Lookup
from jaxnas.predictors.metrics import coverage, pearson
from jaxnas.predictors.mlp import MLP
from jaxnas.predictors.network import Network
from jaxnas.predictors.predictor import (
    Members,
    Method,
    Model,
    Predictor,
    check_count,
    check_latencies,
)
from jaxnas.predictors.transfer import Transfer, learn
from jaxnas.predictors.trees import Trees
from jaxnas.profiling.active_profile import uniform_sample
from jaxnas.spaces.encodings import gene_values

METHODS = {
    "mlp": MLP(steps=600),
    "lookup": Lookup(),
    "trees": Trees(trees=200, depth=2, learning_rate=0.1),
    "transfer": None,
    "network": Network(
        Flat(), hidden=(16,), steps=300, batch=64, learning_rate=0.01, weight_decay=2.0
    ),
}


@pytest.fixture(scope="module", params=METHODS)
def method(request, space, latency_ms):
    if request.param != "transfer":
        return METHODS[request.param]
    table = jnp.asarray(
        latency_ms(np.eye(31, dtype=np.int32)) / latency_ms(np.zeros((1, 31), np.int32)) - 1,
        jnp.float32,
    )
    known = jax.tree_util.Partial(lambda table, genomes: jnp.exp(genomes @ table), table)
    return Transfer(
        learn(jax.random.key(0), space, [known], gene_values), own=(1.0,), noise=(0.01,)
    )


@pytest.fixture(scope="module")
def data(space, latency_ms):
    """Train 150, 2 % noise, and 500 fresh ones with the same noise."""
    keys = jax.random.split(jax.random.key(0), 2)
    train = np.asarray(uniform_sample(keys[0], space, 150, np.zeros((0, 31), np.int32)))
    fresh = np.asarray(uniform_sample(keys[1], space, 500, exclude=train))
    both = latency_ms(np.concatenate([train, fresh]), 0.02)
    return train, both[:150], fresh, both[150:]


@pytest.fixture(scope="module")
def model(method, space, data):
    return Ensemble(method, deals=1).fit(jax.random.key(1), space, *data[:2])


def test_everything_is_what_it_says(method, model):
    assert isinstance(method, Method) and isinstance(model.members, Members)
    assert isinstance(Ensemble(method), Predictor) and isinstance(model, Model)


def test_fresh_networks_are_predicted_and_lie_in_their_intervals(model, data):
    _, _, fresh, fresh_ms = data
    mean, low, high = (np.asarray(column) for column in model.predict(fresh))
    assert pearson(fresh_ms, mean) > 0.9 > abs(pearson(fresh_ms, np.roll(mean, 1)))
    assert (low > 0).all() and (low <= mean).all() and (mean <= high).all()
    assert 0.84 < coverage(fresh_ms, low, high) < 0.97
    np.testing.assert_allclose(model(fresh), mean, rtol=1e-5)


def test_equal_keys_give_equal_predictions(method, model, space, data):
    again = Ensemble(method, deals=1).fit(jax.random.key(1), space, *data[:2])
    for one, other in zip(model.predict(data[2]), again.predict(data[2]), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_member_learns_nothing_of_what_it_does_not_use(method, space, data):
    genomes, latency, fresh, _ = data
    used = np.ones((2, 150), bool)
    used[0, 7] = False
    changed = latency.copy()
    changed[7] *= 3
    before, after = (
        np.asarray(method.fit(jax.random.key(2), space, genomes, ms, used).predict(fresh))
        for ms in (latency, changed)
    )
    np.testing.assert_allclose(before[0], after[0], rtol=1e-5)
    assert np.abs(after[1] / before[1] - 1).max() > 1e-3


def test_latency_has_no_unit_of_its_own(method, model, space, data):
    genomes, latency, fresh, _ = data
    thousandfold = Ensemble(method, deals=1).fit(jax.random.key(1), space, genomes, 1000 * latency)
    for one, other in zip(model.predict(fresh), thousandfold.predict(fresh), strict=True):
        np.testing.assert_allclose(1000 * one, other, rtol=0.05)


def test_members_are_read_as_they_were_saved(method, model, space, data):
    count = len(model.unseen[0])
    again = method.from_arrays(space, model.members.arrays(), count)
    np.testing.assert_array_equal(again.predict(data[2]), model.members.predict(data[2]))
    with pytest.raises(ValueError, match=rf"has shape \({count}, .* not \({count + 1}, "):
        method.from_arrays(space, model.members.arrays(), count + 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0])
def test_latencies_that_are_none(method, space, data, bad):
    latency = data[1].copy()
    latency[3] = bad
    with pytest.raises(
        UserError,
        match=r"must be finite and above 0( ms)?, got .* \(1 such\): leave failed measurements out",
    ):
        method.fit(jax.random.key(0), space, data[0], latency, np.ones((1, 150), bool))


def test_another_number_of_targets_than_of_networks():
    with pytest.raises(UserError, match="expected targets of each of 4 networks, got 3"):
        check_count(np.zeros((4, 2), np.int32), np.ones(3))


def test_no_latencies():
    with pytest.raises(UserError, match="needs training measurements, got none"):
        check_latencies("training", np.zeros(0))
