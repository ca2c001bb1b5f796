"""ENAS: the controller learns in its turn, on images of its own, from accuracy and a cost."""

from dataclasses import replace
from itertools import pairwise

import jax
import numpy as np
import pytest

from jaxnas.config import make_method
from jaxnas.data.augment import Augmentation
from jaxnas.errors import UserError
from jaxnas.objectives.expected import expected_macs
from jaxnas.supernets.build import build
from jaxnas.training.enas import Enas
from jaxnas.training.enas_settings import EnasConfig
from jaxnas.training.loop import train
from jaxnas.training.method import TrainConfig

CHEAP = "reinforce:exponent=-1:learning_rate=0.05:entropy=0"
SETTINGS = TrainConfig(
    "enas",
    epochs=2,
    batch_size=16,
    warmup_epochs=0.0,
    random_subnets=1,
    enas=EnasConfig(CHEAP, samples=6, every=2, weights_first=0.2, cost="mmacs"),
)


@pytest.fixture(scope="module")
def edges(edges_space):
    return build(edges_space(8, 1, 10, width=4))


@pytest.fixture(scope="module")
def states(edges, digits):
    """The controller after each of 40 steps."""
    method = make_method(SETTINGS)
    assert isinstance(method, Enas)
    method = replace(method, cost=expected_macs)
    run = train(edges, digits, method, SETTINGS, Augmentation(0, False), jax.random.key(0))
    return method, [jax.device_get(state.extra) for _, state, _ in run]


def test_the_controller_steps_when_it_is_due(states):
    """After a fifth of 40 steps, in every second one; of networks all wrong it learns nothing."""
    extras = states[1]
    assert [bool(np.isfinite(extra.reward)) for extra in extras] == [False] * 8 + [True] * 32
    biases = [extra.params["bias"] for extra in extras]
    changed = [bool((a != b).any()) for a, b in pairwise(biases)]
    assert not any(changed[:7]) and not any(changed[8::2]) and sum(changed[7::2]) >= 10


def test_it_learns_which_networks_are_cheap(edges, states):
    method, extras = states
    params = jax.device_put(extras[-1].params)
    genomes = edges.space.sample(jax.random.key(1), 200)
    drawn = method.controller.policy.sample(jax.random.key(1), edges.space, params, 200)
    before, after = (np.mean(edges.space.costs(some).macs) for some in (genomes, drawn))
    assert after < 0.75 * before
    (learnt,) = method.learnt(edges.space, extras[-1])
    assert learnt.entropies().mean() < 0.9 and np.isfinite(learnt.reward)


def test_what_is_learnt_are_probabilities_beside_the_likeliest_network(per_block):
    """Of a choice, given the likeliest ones of earlier genes; genes that do not matter are 0."""
    method = make_method(SETTINGS)
    assert isinstance(method, Enas)
    extra = method.start(per_block)
    random = np.random.default_rng(0)
    kernel, bias = (random.normal(size=extra.params[name].shape) for name in ("kernel", "bias"))
    params = extra.params | {"kernel": np.float32(kernel), "bias": np.float32(bias)}
    (learnt,) = method.learnt(per_block, extra._replace(params=params))
    found = learnt.probabilities
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    policy = method.controller.policy
    genome = policy.likeliest(per_block, params)
    np.testing.assert_array_equal(found.argmax(axis=1), genome)
    own = np.exp(policy.scores(per_block, params, genome[None]).log_probs[0])
    np.testing.assert_allclose(found[np.arange(len(genome)), genome], own, rtol=1e-5)


def test_other_algorithms_are_no_controllers():
    with pytest.raises(UserError, match="unknown controller 'nsga2'; known: ppo, reinforce"):
        make_method(replace(SETTINGS, enas=EnasConfig("nsga2")))
