import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.predictors.ensemble import Calibrated, Ensemble, interval_factor
from jaxnas.predictors.features import one_hot
from jaxnas.predictors.lookup import Lookup
from jaxnas.predictors.metrics import coverage
from jaxnas.predictors.mlp import MLP
from jaxnas.profiling import uniform_sample

NONE = np.zeros((0, 31), np.int32)


def drawn(space, latency_ms, seed, n, noise=0.05):
    genomes = np.asarray(uniform_sample(jax.random.key(seed), space, n, NONE))
    exact = latency_ms(genomes)
    return genomes, (exact * np.exp(np.random.default_rng(seed).normal(0, noise, n))).astype(np.float32)


def covered(space, latency_ms, nominal, splits=20):
    shares = []
    for seed in range(splits):
        genomes, ms = drawn(space, latency_ms, seed, 500)
        model = Ensemble(Lookup(), folds=5, coverage=nominal).fit(jax.random.key(seed), space, genomes[:100], ms[:100])
        prediction = model.predict(genomes[100:])
        shares.append(coverage(ms[100:], np.asarray(prediction.low_ms), np.asarray(prediction.high_ms)))
    return np.mean(shares)


@pytest.mark.parametrize("nominal", [0.6, 0.9])
def test_intervals_cover_what_they_promise(space, latency_ms, nominal):
    """Mean over 20 random splits; a little more where members differ."""
    assert nominal - 0.02 < covered(space, latency_ms, nominal) < nominal + 0.04 * (1 - nominal) / 0.4 + 0.01


def test_intervals_are_the_paper_s(space, latency_ms):
    """Barber et al. 2021, section 3, by loops: quantiles of what every network's own member says, give or take its residual."""
    genomes, ms = drawn(space, latency_ms, 0, 37)
    model = Ensemble(Lookup(), folds=5, coverage=0.8).fit(jax.random.key(0), space, genomes, ms)
    new = drawn(space, latency_ms, 1, 9)[0]
    fold, at_new = np.asarray(model.fold)[:37], np.log(np.asarray(model.members.predict(new), np.float64))
    at_known = np.log(np.asarray(model.members.predict(genomes), np.float64))
    rank = int(np.ceil(0.8 * 38))
    for j, (_, low, high) in enumerate(zip(*model.predict(new), strict=True)):
        below = sorted((at_new[fold[i], j] - abs(np.log(ms[i]) - at_known[fold[i], i]) for i in range(37)), reverse=True)
        above = sorted(at_new[fold[i], j] + abs(np.log(ms[i]) - at_known[fold[i], i]) for i in range(37))
        assert np.log(float(low)) == pytest.approx(below[rank - 1], abs=1e-5)
        assert np.log(float(high)) == pytest.approx(above[rank - 1], abs=1e-5)


def test_no_network_is_judged_by_a_member_that_saw_it(space, latency_ms):
    genomes, ms = drawn(space, latency_ms, 0, 43)
    seen = []

    class Recorded(Lookup):
        def fit(self, key, space, genomes, latency_ms, used):
            seen.append(used)
            return Lookup().fit(key, space, genomes, latency_ms, used)

    model = Ensemble(Recorded(), folds=4).fit(jax.random.key(0), space, genomes, ms)
    (used,) = seen
    fold = np.asarray(model.fold)[:43]
    assert not used[fold, np.arange(43)].any() and (used.sum(axis=0) == 3).all()
    assert sorted(np.bincount(fold)) == [10, 11, 11, 11]
    expected = np.asarray(model.members.predict(genomes))[fold, np.arange(43)] / ms
    np.testing.assert_allclose(model.errors(), np.abs(expected - 1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("n", "finite"), [(8, False), (9, True)])
def test_few_networks_promise_nothing(space, latency_ms, n, finite):
    model = Ensemble(Lookup(), folds=20).fit(jax.random.key(0), space, *drawn(space, latency_ms, 0, n))
    prediction = model.predict(drawn(space, latency_ms, 1, 5)[0])
    assert np.isfinite(prediction.mean_ms).all()
    assert np.isfinite(prediction.high_ms).all() == finite and (np.asarray(prediction.low_ms) > 0).all() == finite


def test_a_growing_set_shares_its_program(space, latency_ms):
    traces = []

    @jax.jit
    def mean(model: Calibrated, genomes):
        traces.append(1)
        return model(genomes)

    genomes, ms = drawn(space, latency_ms, 0, 60)
    for n in (40, 50, 60):
        model = Ensemble(MLP(one_hot, steps=50)).fit(jax.random.key(0), space, genomes[:n], ms[:n])
        np.testing.assert_allclose(mean(model, jnp.asarray(genomes)), model.predict(genomes).mean_ms, rtol=1e-4)
    assert len(traces) == 1


def test_members_disagree_where_they_know_least(space, latency_ms):
    genomes, ms = drawn(space, latency_ms, 0, 120, noise=0.0)
    model = Ensemble(MLP(steps=400)).fit(jax.random.key(0), space, genomes, ms)
    corners = np.stack([space.smallest, space.largest])
    assert np.asarray(model.disagreement(corners)).min() > 2 * np.median(model.disagreement(genomes))


def test_split_conformal_covers_what_it_promises():
    draw = np.random.default_rng(0)
    shares = []
    for _ in range(300):
        measured = np.exp(draw.normal(0, 0.3, 240))
        predicted = measured * np.exp(draw.normal(0, 0.1, 240))
        factor = interval_factor(measured[:40], predicted[:40])
        shares.append(coverage(measured[40:], predicted[40:] / factor, predicted[40:] * factor))
    assert np.mean(shares) == pytest.approx(37 / 41, abs=0.01)  # the finite-sample quantile, exactly
    assert interval_factor(np.ones(8), np.full(8, 1.1)) == np.inf


@pytest.mark.parametrize("settings", [{"folds": 1}, {"coverage": 1.0}, {"coverage": 0.0}])
def test_settings_that_make_no_sense(settings):
    with pytest.raises(UserError, match="2 folds or more and a coverage between 0 and 1"):
        Ensemble(**settings)


def test_one_network(space, latency_ms):
    with pytest.raises(UserError, match="2 measured networks or more, got 1"):
        Ensemble(Lookup()).fit(jax.random.key(0), space, *drawn(space, latency_ms, 0, 1))
