import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.predictors.ensemble import Calibrated, Ensemble
from jaxnas.predictors.intervals import interval_factor
from jaxnas.predictors.lookup import Lookup
from jaxnas.predictors.metrics import coverage
from jaxnas.predictors.mlp import MLP
from jaxnas.profiling.active_profile import uniform_sample
from jaxnas.spaces.encodings import one_hot

NONE = np.zeros((0, 31), np.int32)


def drawn(space, latency_ms, seed, n, noise=0.05):
    genomes = np.asarray(uniform_sample(jax.random.key(seed), space, n, NONE))
    exact = latency_ms(genomes)
    return genomes, (exact * np.exp(np.random.default_rng(seed).normal(0, noise, n))).astype(
        np.float32
    )


def covered(space, latency_ms, nominal, splits=20):
    shares = []
    for seed in range(splits):
        genomes, ms = drawn(space, latency_ms, seed, 500)
        model = Ensemble(Lookup(), deals=2, coverage=nominal).fit(
            jax.random.key(seed), space, genomes[:100], ms[:100]
        )
        prediction = model.predict(genomes[100:])
        shares.append(
            coverage(ms[100:], np.asarray(prediction.low_ms), np.asarray(prediction.high_ms))
        )
    return np.mean(shares)


@pytest.mark.parametrize("nominal", [0.6, 0.9])
def test_intervals_cover_what_they_promise(space, latency_ms, nominal):
    """Mean over 20 random splits; a little more where members differ."""
    assert (
        nominal - 0.02
        < covered(space, latency_ms, nominal)
        < nominal + 0.04 * (1 - nominal) / 0.4 + 0.01
    )


@pytest.fixture
def recorded():
    """A method that shows what its members learn from."""

    class Recorded(Lookup):
        used = None

        def fit(self, key, space, genomes, latency_ms, used):
            object.__setattr__(self, "used", used)
            return Lookup().fit(key, space, genomes, latency_ms, used)

    return Recorded()


def test_intervals_are_the_papers(space, latency_ms, recorded):
    """By loops: quantiles of what the members that have not seen a network say.

    Give or take what they were off.
    """
    genomes, ms = drawn(space, latency_ms, 0, 37)
    model = Ensemble(recorded, deals=2, coverage=0.8).fit(jax.random.key(0), space, genomes, ms)
    new = drawn(space, latency_ms, 1, 9)[0]
    used = recorded.used
    at_new, at_known = (
        np.log(np.asarray(model.members.predict(some), np.float64)) for some in (new, genomes)
    )
    assert used.shape == (10, 37)
    said = np.zeros((37, 9))
    off = np.zeros(37)
    for i in range(37):
        strangers = [member for member in range(10) if not used[member, i]]
        assert len(strangers) == 2
        said[i] = at_new[strangers].mean(axis=0)
        off[i] = at_known[strangers, i].mean() - np.log(ms[i])
    rank = int(np.ceil(0.8 * 38))
    for j, (mean, low, high) in enumerate(zip(*model.predict(new), strict=True)):
        assert np.log(float(mean)) == pytest.approx(at_new[:, j].mean(), abs=1e-5)
        assert np.log(float(low)) == pytest.approx(
            np.sort(said[:, j] - np.abs(off))[::-1][rank - 1], abs=1e-5
        )
        assert np.log(float(high)) == pytest.approx(
            np.sort(said[:, j] + np.abs(off))[rank - 1], abs=1e-5
        )
    np.testing.assert_allclose(model.errors(), np.abs(np.exp(off) - 1), rtol=1e-3, atol=1e-5)


def test_networks_are_dealt_evenly_and_anew(space, latency_ms, recorded):
    Ensemble(recorded, folds=4, deals=3).fit(
        jax.random.key(0), space, *drawn(space, latency_ms, 0, 43)
    )
    left = ~recorded.used.reshape(3, 4, 43)
    assert (left.sum(axis=1) == 1).all()
    assert all(sorted(deal.sum(axis=1)) == [10, 11, 11, 11] for deal in left)
    assert not np.array_equal(left[0], left[1])


@pytest.mark.parametrize(("n", "finite"), [(8, False), (9, True)])
def test_few_networks_promise_nothing(space, latency_ms, n, finite):
    model = Ensemble(Lookup(), folds=20, deals=1).fit(
        jax.random.key(0), space, *drawn(space, latency_ms, 0, n)
    )
    prediction = model.predict(drawn(space, latency_ms, 1, 5)[0])
    assert np.isfinite(prediction.mean_ms).all()
    assert (
        np.isfinite(prediction.high_ms).all() == finite
        and (np.asarray(prediction.low_ms) > 0).all() == finite
    )


def test_a_growing_set_shares_its_program(space, latency_ms):
    traces = []

    @jax.jit
    def mean(model: Calibrated, genomes):
        traces.append(1)
        return model(genomes)

    genomes, ms = drawn(space, latency_ms, 0, 60)
    for n in (40, 50, 60):
        model = Ensemble(MLP(one_hot, steps=50), deals=1).fit(
            jax.random.key(0), space, genomes[:n], ms[:n]
        )
        np.testing.assert_allclose(
            mean(model, jnp.asarray(genomes)), model.predict(genomes).mean_ms, rtol=1e-4
        )
    assert len(traces) == 1


def test_members_disagree_where_they_know_least(space, latency_ms):
    genomes, ms = drawn(space, latency_ms, 0, 120, noise=0.0)
    model = Ensemble(MLP(), deals=2).fit(jax.random.key(0), space, genomes, ms)
    corners = np.stack([space.smallest, space.largest])
    assert np.asarray(model.disagreement(corners)).min() > 2 * np.median(
        model.disagreement(genomes)
    )


def test_split_conformal_covers_what_it_promises():
    draw = np.random.default_rng(0)
    shares = []
    for _ in range(300):
        measured = np.exp(draw.normal(0, 0.3, 240))
        predicted = measured * np.exp(draw.normal(0, 0.1, 240))
        factor = interval_factor(measured[:40], predicted[:40])
        shares.append(coverage(measured[40:], predicted[40:] / factor, predicted[40:] * factor))
    # The finite-sample quantile, exactly.
    assert np.mean(shares) == pytest.approx(37 / 41, abs=0.01)
    assert interval_factor(np.ones(8), np.full(8, 1.1)) == np.inf


@pytest.mark.parametrize(
    "settings", [{"folds": 1}, {"deals": 0}, {"coverage": 1.0}, {"coverage": 0.0}]
)
def test_settings_that_make_no_sense(settings):
    with pytest.raises(UserError, match="2 folds, 1 deal or more and a coverage between 0 and 1"):
        Ensemble(**settings)


def test_one_network(space, latency_ms):
    with pytest.raises(UserError, match="2 measured networks or more, got 1"):
        Ensemble(Lookup()).fit(jax.random.key(0), space, *drawn(space, latency_ms, 0, 1))
