"""Active search: which candidates are undecided, by definition, and what measuring them gains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.algorithms import pareto
from jaxnas.errors import UserError
from jaxnas.predictors.ensemble import Ensemble
from jaxnas.predictors.lookup import Lookup
from jaxnas.profiling.active_profile import uniform_sample
from jaxnas.profiling.active_search import active_search, possible_front, undecided
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space

SPACE = Space("toy", tuple(Gene(f"g{i}", (1, 2, 3)) for i in range(6)))
EVERY = np.array(list(np.ndindex(*[3] * 6)), np.int32)  # 729
# Large networks are better, roughly.
ERROR = np.random.default_rng(0).permutation(729) / 729 - EVERY.sum(axis=1) / 12
PLACE = 3 ** np.arange(6)[::-1]


def error(genomes):
    return ERROR[genomes @ PLACE].astype(np.float32)


class Device:
    """Additive but for neighbours that are alike, which tables do not know.

    Remembers what it was asked.
    """

    def __init__(self, failing=()):
        self.asked = []
        self.failing = set(failing)

    def exact(self, genomes):
        alike = (genomes[:, 1:] == genomes[:, :-1]).sum(axis=1)
        return ((1 + genomes @ np.array([0.2, 0.1, 0.4, 0.3, 0.5, 0.1])) * 0.9**alike).astype(
            np.float32
        )

    def __call__(self, genomes):
        self.asked += [tuple(genome) for genome in genomes.tolist()]
        failed = [tuple(genome) in self.failing for genome in genomes.tolist()]
        return np.where(failed, np.float32(np.nan), self.exact(genomes))


def start(n):
    return uniform_sample(jax.random.key(9), SPACE, n, EVERY[:0])


def found(device, budget, first=30, batch=8, seed=0):
    return active_search(
        jax.random.key(seed),
        SPACE,
        Ensemble(Lookup(), deals=1),
        start(first),
        lambda key, model: EVERY,
        error,
        device,
        budget,
        batch,
    )


def true_front():
    return np.asarray(
        pareto.front(
            jnp.stack([jnp.asarray(error(EVERY)), jnp.asarray(Device().exact(EVERY))], axis=1)
        )
    )


def recall(answer):
    return np.isin(np.flatnonzero(true_front()), answer.genomes[answer.front()] @ PLACE).mean()


def test_possible_and_undecided_by_definition():
    draw = np.random.default_rng(0)
    seen = set()
    for _ in range(300):
        n = int(draw.integers(1, 9))
        error = draw.integers(0, 5, n).astype(float)
        low = draw.integers(0, 6, n).astype(float)
        error[draw.random(n) < 0.1] = np.nan
        high = low + draw.integers(0, 3, n)
        valid = ~np.isnan(error)
        possible = [
            valid[c]
            and not any(valid[b] and error[b] <= error[c] and high[b] < low[c] for b in range(n))
            for c in range(n)
        ]
        expected = [
            possible[c]
            and any(
                b != c and possible[b] and low[b] <= high[c] and low[c] <= high[b] for b in range(n)
            )
            for c in range(n)
        ]
        assert possible_front(error, low, high).tolist() == possible
        assert undecided(error, low, high).tolist() == expected
        seen |= {(bool(p), bool(d)) for p, d in zip(possible, expected, strict=True)}
    assert seen == {(False, False), (True, False), (True, True)}


def test_asking_the_undecided_finds_more_of_the_front_than_asking_at_random():
    chosen = Device()
    random = Device()
    asking = found(chosen, 62, batch=16)
    sampling = found(random, 62, first=62)
    assert len(chosen.asked) <= 62 == len(random.asked)
    assert recall(asking) > 0.9 > recall(sampling) + 0.1


def test_nothing_is_measured_twice_and_the_budget_is_kept():
    device = Device()
    answer = found(device, 57)
    assert len(device.asked) == len(set(device.asked)) == 57 == answer.measured.sum()
    assert device.asked[:30] == [tuple(genome) for genome in np.asarray(start(30)).tolist()]
    assert answer.rounds == 1 + 4 and answer.undecided > 0
    np.testing.assert_array_equal(
        answer.measured_ms[answer.measured], Device().exact(answer.genomes[answer.measured])
    )
    assert np.isnan(answer.measured_ms[~answer.measured]).all()


def test_it_ends_when_nothing_is_undecided():
    device = Device()
    answer = found(device, 729, batch=32)
    assert answer.undecided == 0 and answer.measured.sum() < 729
    mean, low, high = (np.asarray(column) for column in answer.predicted)
    exact = Device().exact(answer.genomes)
    assert (low <= mean).all() and (mean <= high).all()
    assert recall(answer) > 0.9
    np.testing.assert_array_equal(answer.latency_ms()[answer.measured], exact[answer.measured])


def test_equal_keys_give_equal_answers():
    one = found(Device(), 60)
    other = found(Device(), 60)
    np.testing.assert_array_equal(one.genomes, other.genomes)
    np.testing.assert_array_equal(one.predicted.high_ms, other.predicted.high_ms)
    assert not np.array_equal(
        one.genomes[: one.measured.sum()], found(Device(), 60, seed=1).genomes[: one.measured.sum()]
    )


def test_networks_that_fail_on_the_device_are_asked_once_and_not_answered():
    fine = found(Device(), 60)
    failing = [tuple(genome) for genome in fine.genomes[fine.measured_front()].tolist()]
    device = Device(failing)
    answer = found(device, 60)
    assert len(device.asked) == len(set(device.asked))
    hit = [tuple(genome) in device.failing for genome in answer.genomes.tolist()] & answer.measured
    assert hit.sum() > 3
    assert not answer.front()[hit].any() and not answer.measured_front()[hit].any()


def test_three_fronts():
    answer = found(Device(), 60)
    fitness = np.stack([error(answer.genomes), answer.latency_ms()], axis=1)

    def dominated(c, rows):
        return any(
            (fitness[b] <= fitness[c]).all() and (fitness[b] < fitness[c]).any() for b in rows
        )

    everyone = np.arange(len(fitness))
    measured = np.flatnonzero(answer.measured)
    assert np.flatnonzero(answer.front()).tolist() == [
        c for c in everyone if not dominated(c, everyone)
    ]
    assert np.flatnonzero(answer.measured_front()).tolist() == [
        c for c in measured if not dominated(c, measured)
    ]
    assert answer.predicted_front().any() and not np.array_equal(
        answer.predicted_front(), answer.front()
    )


def test_a_budget_below_the_start():
    with pytest.raises(
        UserError, match=r"from 2 to 20 different networks, its budget.* got 30 and 8"
    ):
        found(Device(), 20)


def test_a_device_on_which_everything_fails():
    with pytest.raises(UserError, match="only 0 of 30 networks could be measured"):
        found(Device([tuple(genome) for genome in EVERY.tolist()]), 60)
