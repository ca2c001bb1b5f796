from functools import partial

import jax
import numpy as np
import pytest

from jaxnas.algorithms.reward import CLIP, Reward
from jaxnas.errors import UserError

NAN = np.nan
JUDGED = jax.jit(partial(Reward.judged, decay=0.5), static_argnums=(0, 3))


def judged(reward, fitness, limits=(), memory=None):
    fitness = np.array(fitness, np.float32)
    memory = reward.nothing_known(fitness.shape[1]) if memory is None else memory
    return jax.device_get(JUDGED(reward, memory, fitness, limits))


def test_one_objective_is_rewarded_by_its_negative():
    assert judged(Reward(), [[3.0], [1.0]]).rewards.tolist() == [-3, -1]


@pytest.mark.parametrize(
    ("hard", "expected"),
    [(False, [0.9 * 2**0.07, 0.8, 0.8 * 2**-0.07]), (True, [0.9, 0.8, 0.4])],
)
def test_several_are_traded_as_mnasnet_does(hard, expected):
    """Half of the target, the target, twice of it."""
    shares = np.array([[0.1, 10], [0.2, 20], [0.2, 40]])
    found = judged(Reward((20.0,), hard=hard), shares)
    np.testing.assert_allclose(found.rewards, expected, rtol=1e-6)
    percent = judged(Reward((20.0,), hard=hard, worst_error=100.0), shares * [100, 1])
    np.testing.assert_allclose(percent.rewards, expected, rtol=1e-6)


def test_each_cost_has_a_factor_and_a_target():
    found = judged(Reward((20.0, 3.0), -0.5), [[0.5, 80, 3], [0.5, 20, 12], [0.5, 80, 12]])
    np.testing.assert_allclose(found.rewards, [0.25, 0.25, 0.125], rtol=1e-6)


def test_targets_are_the_medians_of_the_first_batch_that_has_any():
    fitness = [[0.5, 1], [0.5, 4], [NAN, 90], [0.5, 16], [0.5, 1e30]]
    failed = judged(Reward(), [[NAN, NAN]] * 5)
    assert np.isnan(failed.memory.targets).all() and not failed.advantages.any()
    first = judged(Reward(), fitness, memory=failed.memory)
    assert first.memory.targets.tolist() == [10]  # of 1, 4, 16 and 90
    later = judged(Reward(), [[0.5, 100]] * 5, memory=first.memory)
    assert later.memory.targets.tolist() == [10]


def test_an_error_beyond_the_worst_is_not_traded():
    """Two negative accuracies: the cheaper one must not be the worse for it."""
    found = judged(Reward((1.0,)), [[1.5, 0.1], [1.5, 100.0]])
    assert found.rewards.tolist() == [-0.5, -0.5]


def test_advantages_are_above_earlier_rewards_and_have_no_unit():
    fitness = np.array([[4.0], [2.0], [3.0], [7.0]])
    first = judged(Reward(), fitness)
    np.testing.assert_allclose(first.advantages, (4 - fitness[:, 0]) / fitness.std(), rtol=1e-6)
    assert first.memory.baseline == -4
    second = judged(Reward(), fitness - 2, memory=first.memory)
    np.testing.assert_allclose(second.advantages, (6 - fitness[:, 0]) / fitness.std(), rtol=1e-6)
    assert second.memory.baseline == -3
    thousandfold = judged(Reward(), 1000 * fitness)
    np.testing.assert_allclose(thousandfold.advantages, first.advantages, rtol=1e-5)


def test_failed_candidates_have_the_least_reward_and_teach_nothing():
    fitness = [[4.0], [NAN], [2.0], [3.0]]
    found = judged(Reward(), fitness)
    assert found.rewards.tolist() == [-4, -4, -2, -3]
    without = judged(Reward(), [fitness[0], *fitness[2:]])
    assert found.advantages[1] == 0 and found.memory.baseline == -3
    np.testing.assert_array_equal(found.advantages[[0, 2, 3]], without.advantages)


@pytest.mark.parametrize("excess", [1.0, 1e-3, 1e30])
def test_candidates_beyond_a_limit_come_after_all_within_by_their_excess(excess):
    fitness = np.array([[0.5, 10], [0.1, 20 + excess], [0.9, 20], [0.2, 20 + 3 * excess], [NAN, 0]])
    rewards = judged(Reward((20.0,)), fitness, (None, 20.0)).rewards
    assert np.argsort(-rewards[:4]).tolist() == [0, 2, 1, 3]
    assert np.ptp(rewards) < 2


def test_a_batch_of_infeasible_candidates_teaches_their_order_and_leaves_the_baseline():
    first = judged(Reward(), [[90.0], [94.0]])
    found = judged(Reward(), [[3e30], [1e30]], memory=first.memory)
    assert found.advantages[0] < found.advantages[1] and np.isfinite(found.rewards).all()
    assert found.advantages.sum() == 0  # they compare with each other alone
    assert found.memory.baseline == first.memory.baseline
    unknown = judged(Reward(), [[3e30], [1e30]])
    assert np.isnan(unknown.memory.baseline) and unknown.advantages[1] > 0


def test_advantages_are_clipped_and_equal_rewards_have_none():
    many = judged(Reward(), [[0.0]] * 99 + [[1.0]])
    assert many.advantages.min() == -CLIP
    assert np.abs(judged(Reward(), [[0.1]] * 30).advantages).max() < 0.05


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": (0.0,)}, "target must be above 0 for each cost, got"),
        ({"worst_error": 0.0}, "worst_error must be above 0, got 0"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(UserError, match=message):
        Reward(**settings)


def test_a_target_is_needed_for_each_cost():
    with pytest.raises(UserError, match="of which there are 2, got 1: set 2"):
        Reward((1.0,)).check(3)
