"""REINFORCE and PPO: both learn the best of a small table, from what they are told alone."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.algorithms.algorithm import Asked
from jaxnas.algorithms.compiled import search_many
from jaxnas.algorithms.ppo import PPO, surrogate
from jaxnas.algorithms.reinforce import Reinforce
from jaxnas.algorithms.reward import Reward
from jaxnas.errors import UserError
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space

# The best network has b = 3, which matters only where a = 1.
SPACE = Space(
    "small",
    (
        Gene("a", (0, 1)),
        Gene("b", (0, 1, 2, 3), needs=("a", (1,))),
        Gene("c", (0, 1, 2)),
        Gene("d", (0, 1, 2)),
    ),
)
BEST = np.array([1, 3, 2, 1])
learners = pytest.mark.parametrize("algorithm", [Reinforce(20, 1), PPO(20, 1)], ids=["r", "ppo"])


def distance(genomes, sign=1):
    return sign * 1000 * (genomes != BEST).sum(axis=1, keepdims=True).astype(jnp.float32)


def fitness(genomes, case):
    """With faults a third is told as wrappers tell infeasible candidates, another has failed."""
    sign, faults = case
    found = distance(genomes, sign)
    total = genomes.sum(axis=1, keepdims=True)
    faulty = jnp.where(genomes[:, 2:3] == 1, 1e30 * (1 + jnp.abs(found)), found)
    faulty = jnp.where((total % 3 == 0) & (total > 0), jnp.nan, faulty)
    return jnp.where(faults, faulty, found)


@learners
def test_learns_the_best_of_a_table(algorithm):
    """The sign is the planted bug: who maximises must be seen to."""
    shares = []
    for sign, faults in ((1, False), (1, True), (-1, False)):
        keys = jax.random.split(jax.random.key(0), 4)
        case = jnp.float32(sign), jnp.bool(faults)
        found = search_many(algorithm, SPACE, keys, fitness, 60, case)
        shares.append(np.asarray((found.genomes[:, -100:] == BEST).all(axis=-1)).mean())
    assert min(shares[:2]) > 0.4 and shares[2] < 0.05, shares


@partial(jax.jit, static_argnums=0)
def told(algorithm, genomes, fitness):
    state = algorithm.init(jax.random.key(0), SPACE)
    asked = Asked(genomes, jnp.full((len(genomes), 2), -1, jnp.int32))
    return algorithm.tell(SPACE, state, asked, fitness)


def some(n=20):
    genomes = np.random.default_rng(0).integers(0, SPACE.sizes, (n, 4)).astype(np.int32)
    return genomes, np.asarray(distance(genomes))


@learners
def test_failed_candidates_teach_nothing(algorithm):
    algorithm = replace(algorithm, entropy=0.0)
    genomes, fitness = some()
    fitness[3] = np.nan
    state = told(algorithm, genomes, fitness)
    genomes[3] = 1 - np.minimum(genomes[3], 1)
    other = told(algorithm, genomes, fitness)
    jax.tree.map(np.testing.assert_array_equal, state.params, other.params)
    fitness[4] += 1000
    changed = told(algorithm, genomes, fitness)
    assert (changed.params["bias"] != state.params["bias"]).any()


@learners
def test_figures_are_of_the_last_generation(algorithm):
    algorithm = replace(algorithm, entropy=0.0)  # the program of the test before
    genomes, fitness = some()
    figures = algorithm.figures(told(algorithm, genomes, fitness))
    assert list(figures) == ["reward", "entropy"]
    assert figures["reward"] == -fitness.mean()
    np.testing.assert_allclose(figures["entropy"], 1, rtol=1e-6)


def test_one_epoch_of_ppo_is_a_step_of_reinforce():
    """Where ratios are 1 their gradient is that of the log-probability."""
    genomes, fitness = some()
    ppo = PPO(20, 1, epochs=1, learning_rate=0.01, entropy=0.1)
    one, other = (
        told(each, genomes, fitness)
        for each in (ppo, Reinforce(20, 1, learning_rate=0.01, entropy=0.1))
    )
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_ratio_counts_up_to_its_clip_where_that_gains_less():
    ratios = jnp.array([1.5, 0.5, 1.5, 0.5])
    found = surrogate(ratios, jnp.array([1.0, 1.0, -1.0, -1.0]), 0.25)
    assert found.tolist() == [1.25, 0.5, -1.5, -0.75]


@learners
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be above 0, got 0"),
        ({"entropy": -1.0}, "entropy must be at least 0, got -1"),
        ({"baseline": 1.0}, "baseline must be from 0 to below 1, got 1"),
        ({"reward": Reward((1.0,))}, "of which there are 0, got 1: leave it away"),
    ],
)
def test_settings_are_checked(algorithm, settings, message):
    with pytest.raises(UserError, match=message):
        replace(algorithm, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"clip": 1.0}, "between 0 and 1, got 1"),
    ],
)
def test_settings_of_ppo_are_checked(settings, message):
    with pytest.raises(UserError, match=message):
        PPO(**settings)
