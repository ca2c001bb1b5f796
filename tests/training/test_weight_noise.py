"""Noise on weights in training: its statistics, what it reaches, and what it must leave alone."""

from dataclasses import replace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.config import make_method
from jaxnas.data.augment import Augmentation
from jaxnas.errors import UserError
from jaxnas.networks.subnet import Subnet
from jaxnas.supernets.build import build
from jaxnas.supernets.supernet import take
from jaxnas.training import loop
from jaxnas.training.finetune import FinetuneConfig, _step, init_state
from jaxnas.training.method import TrainConfig
from jaxnas.training.population import HybridConfig, _train_head, _train_whole
from jaxnas.training.views import on_device
from jaxnas.training.weight_noise import WeightNoise, clipped, noisy

NORMAL = WeightNoise(deviation=(0.06,))
PCM = WeightNoise(deviation=(0.0105392, 0.0786, -0.046925))
PLAIN = Augmentation(crop=0, flip=False)
ROWS = jnp.arange(32, dtype=jnp.int32)
SLOW = 1e-6  # a learning rate, at which a step changes next to nothing


@pytest.fixture(scope="module")
def weights():
    """A convolution of 400,000 weights, the second half of its channels ten times as large."""
    kernel = np.random.default_rng(0).normal(size=(5, 5, 80, 200)).astype(np.float32)
    kernel[..., 100:] *= 10
    return {"conv": {"kernel": jnp.asarray(kernel), "scale": jnp.ones(200), "bias": jnp.ones(200)}}


def difference(settings, weights):
    """What the noise adds to the kernel, and the rest as it is."""
    found = noisy(jax.random.key(1), weights, settings)["conv"]
    for name in ("scale", "bias"):
        np.testing.assert_array_equal(found[name], weights["conv"][name])
    return np.asarray(found["kernel"] - weights["conv"]["kernel"], np.float64)


def test_normal_noise_has_the_deviation_of_the_layers_largest_weight(weights):
    added = difference(NORMAL, weights)
    most = np.abs(np.asarray(weights["conv"]["kernel"])).max()
    assert added.std() / most == pytest.approx(0.06, rel=0.01)
    assert abs(added.mean()) < 0.001 * most
    halves = added[..., :100].std(), added[..., 100:].std()
    assert halves[0] == pytest.approx(halves[1], rel=0.01)
    assert np.abs((added**4).mean() / (added**2).mean() ** 2 - 3) < 0.05


def test_of_columns_each_has_its_own_largest_weight(weights):
    added = difference(replace(NORMAL, columns=True), weights)
    most = np.abs(np.asarray(weights["conv"]["kernel"])).max(axis=(0, 1, 2))
    np.testing.assert_allclose(added.std(axis=(0, 1, 2)) / most, 0.06, rtol=0.1)
    assert (added / most).std() == pytest.approx(0.06, rel=0.01)


def test_the_polynomial_is_that_of_the_weights_own_size(weights):
    """At 0, a tenth, a quarter, a half and all of the largest: 0.26348 to 1.05538 of 25."""
    shares = np.array([0.0, 0.1, 0.25, 0.5, 1.0], np.float32)
    kernel = {
        "conv": {**weights["conv"], "kernel": jnp.asarray(np.tile(-3 * shares, (100_000, 1)))}
    }
    expected = np.array([0.26348, 0.44825, 0.68141, 0.95271, 1.05538]) / 25
    found = difference(PCM, kernel).std(axis=0) / 3
    np.testing.assert_allclose(found, expected, rtol=0.01)


def test_dropped_weights_are_zero_and_no_others(weights):
    seen = np.asarray(noisy(jax.random.key(2), weights, WeightNoise(drop=0.1))["conv"]["kernel"])
    gone = seen == 0
    assert gone.mean() == pytest.approx(0.1, rel=0.02)
    kept = np.asarray(weights["conv"]["kernel"])[~gone]
    np.testing.assert_allclose(seen[~gone], kept, rtol=1e-6)


@pytest.mark.parametrize("settings", [NORMAL, replace(PCM, drop=0.2)])
def test_gradients_are_those_at_the_noisy_weights_and_reach_the_clean_ones(weights, settings):
    """Of dropped weights, too, which count again in the next step."""
    probe = jnp.asarray(np.random.default_rng(1).normal(size=200), jnp.float32)

    def loss(weights):
        seen = noisy(jax.random.key(3), weights, settings)["conv"]["kernel"]
        return jnp.sum(probe * seen**3) / 3

    found = jax.grad(loss)(weights)["conv"]["kernel"]
    seen = noisy(jax.random.key(3), weights, settings)["conv"]["kernel"]
    np.testing.assert_allclose(found, probe * seen**2, rtol=1e-4, atol=1e-6)


def test_every_layer_and_step_has_noise_of_its_own(weights):
    two = {"a": weights["conv"], "b": weights["conv"]}
    one, other = (noisy(jax.random.key(seed), two, NORMAL) for seed in (0, 1))
    clean = weights["conv"]["kernel"]
    drawn = [np.ravel(found["kernel"] - clean) for found in (one["a"], one["b"], other["a"])]
    correlations = np.corrcoef(drawn)
    assert np.abs(correlations - np.eye(3)).max() < 0.01


def test_without_settings_nothing_happens(weights):
    assert noisy(jax.random.key(0), weights, WeightNoise()) is weights
    assert clipped(weights, WeightNoise()) is weights
    assert clipped(weights, NORMAL) is weights
    zero = WeightNoise(deviation=(0.0,))
    assert not zero.noisy and noisy(jax.random.key(0), weights, zero) is weights


def test_weights_are_clipped_at_their_deviations_or_at_a_bound(weights):
    kernel = np.asarray(weights["conv"]["kernel"])
    for settings, most in (
        (WeightNoise(clip_deviations=2.0), 2 * kernel.std()),
        (WeightNoise(clip=0.5), 0.5),
        (WeightNoise(clip=1e3, clip_deviations=2.0), 2 * kernel.std()),
    ):
        found = clipped(weights, settings)["conv"]
        np.testing.assert_allclose(found["kernel"], np.clip(kernel, -most, most), rtol=1e-5)
        np.testing.assert_array_equal(found["scale"], weights["conv"]["scale"])


@pytest.mark.parametrize("deviation", [(6.0,), (-0.06,), (0.0, 2.0), (0.1, -0.5)])
def test_deviations_that_are_none_are_refused(deviation):
    with pytest.raises(UserError, match=r"noise.deviation must be from 0 to 1 for weights of any"):
        WeightNoise(deviation)


@pytest.fixture(scope="module")
def small(edges_space, randomised):
    net = build(edges_space(8, 1, 10, choices=(2, 3)))
    return net, randomised(net)


def moved(after, before):
    """The largest change of a kernel, as a share of its largest weight."""
    changes = jax.tree.map_with_path(
        lambda path, a, b: (
            float(jnp.abs(a - b).max() / jnp.abs(b).max()) if path[-1].key == "kernel" else 0.0
        ),
        after,
        before,
    )
    return max(jax.tree.leaves(changes))


def test_fine_tuning_changes_the_clean_weights(small, digits):
    """By a gradient alone: at a small rate hardly at all, though the loss is the noisy one's."""
    net, params = small
    ops = net.ops(net.space.largest)
    subnet = Subnet(ops, take(params, ops), {})
    images = on_device(digits)
    losses = {}
    for noise in (WeightNoise(), NORMAL, WeightNoise(clip_deviations=1.0)):
        settings = FinetuneConfig(learning_rate=SLOW, weight_decay=0.0, noise=noise)
        state = init_state(subnet, settings, len(images.labels))
        after, loss = cast(Any, _step)(
            state, jax.random.key(5), images, ROWS, ops, settings, PLAIN, 8, len(images.labels)
        )
        losses[noise] = float(loss)
        change = moved(after.weights, subnet.weights)
        assert change < 1e-4 if not noise.clips else change > 0.1
    plain, with_noise, _ = losses.values()
    assert abs(with_noise - plain) > 1e-3


def test_a_supernets_training_changes_the_clean_weights(small, digits):
    net, params = small
    images = on_device(digits)
    losses = []
    for noise in (WeightNoise(), replace(NORMAL, clip=1e3), WeightNoise(clip_deviations=1.0)):
        settings = TrainConfig(
            "spos", random_subnets=1, learning_rate=SLOW, weight_decay=0.0, noise=noise
        )
        method = make_method(settings)
        state = loop.init_state(net, method, settings, 10, jax.random.key(0))
        state = state._replace(params=jax.tree.map(jnp.copy, params))
        step = loop.make_step(net, method, settings, PLAIN, 10)
        after, found = step(state, jax.random.key(6), images, ROWS, resolution=8)
        losses.append(float(found.random))
        change = moved(after.params, params)
        assert change < 1e-4 if not noise.clip_deviations else change > 0.1
    plain, with_noise, clipped_after = losses
    assert abs(with_noise - plain) > 1e-3
    assert clipped_after == plain  # the step that clips has seen the weights as they were


def test_a_populations_training_changes_the_clean_weights(small, digits):
    net, params = small
    images = on_device(digits)
    order = ROWS[None]
    results = []
    for noise in (WeightNoise(), NORMAL):
        settings = HybridConfig(epochs=1, learning_rate=1.0, weight_decay=0.0, noise=noise)
        slow = replace(settings, learning_rate=SLOW)
        genome = jnp.asarray(net.space.largest)
        fast, little = (
            _train_whole(net, params, genome, images, order, one, PLAIN, 8, jax.random.key(7))
            for one in (settings, slow)
        )
        assert moved(little, params) < 1e-4
        head = params["classifier"]
        features = jnp.asarray(np.random.default_rng(0).normal(size=(320, 6)), jnp.float32)
        tuned, hardly = (
            _train_head(head, features, images, order, one, jax.random.key(8))
            for one in (settings, slow)
        )
        assert moved(hardly, head) < 1e-4
        results.append((fast, tuned))
    for plain, with_noise in zip(*results, strict=True):
        assert moved(with_noise, plain) > 1e-3  # another gradient
