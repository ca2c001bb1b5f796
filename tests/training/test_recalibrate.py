"""Recalibrated statistics are those of the joint batch."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.networks import convolution
from jaxnas.supernets.build import build
from jaxnas.supernets.supernet import take
from jaxnas.training import recalibrate
from jaxnas.training.recalibrate import recalibrated, statistics


@pytest.fixture(scope="module")
def case(small_mobilenet, randomised):
    net = build(small_mobilenet((8,), 1, 4))
    contrast = jnp.linspace(0.2, 3, 24)[:, None, None, None]
    return net, randomised(net), contrast * jax.random.normal(jax.random.key(0), (24, 8, 8, 1))


def test_statistics_are_those_of_the_joint_batch(case):
    net, params, images = case
    stats = jax.jit(partial(statistics, net))(params, jnp.asarray(net.space.largest), images)
    stem = np.asarray(convolution.dense(images, params["first_conv"]["kernel"], 2), np.float64)
    np.testing.assert_allclose(stats["first_conv"]["mean"], stem.mean((0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(stats["first_conv"]["var"], stem.var((0, 1, 2)), rtol=1e-4)


def test_statistics_pooled_from_small_batches_are_far_off(case):
    net, params, images = case
    genome = jnp.asarray(net.space.largest)
    joint = jax.jit(partial(statistics, net))(params, genome, images)
    pieces = jax.jit(jax.vmap(partial(statistics, net), (None, None, 0)))(
        params, genome, images.reshape(3, 8, 8, 8, 1)
    )
    pooled = jnp.mean(pieces["last_conv"]["expand"]["var"], 0)
    expected = joint["last_conv"]["expand"]["var"]
    assert jnp.median(jnp.abs(pooled / expected - 1)) > 0.1


def test_a_recalibrated_subnet_has_the_supernets_statistics(case):
    net, params, images = case
    genome = np.asarray(net.space.sample(jax.random.key(1), 1))[0]
    stats = jax.jit(partial(statistics, net))(params, jnp.asarray(genome), images)
    subnet = net.extract(params, genome, jax.tree.map(jnp.zeros_like, stats))
    found = recalibrated(subnet, images)
    assert found.ops == subnet.ops
    jax.tree.map(np.testing.assert_array_equal, found.weights, subnet.weights)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4),
        found.stats,
        take(stats, subnet.ops),
    )


def test_a_hundred_genomes_are_one_program(case):
    net, params, images = case
    traces = []

    @jax.jit
    def calibrate(genome):
        traces.append(None)
        return statistics(net, params, genome, images)["last_conv"]["expand"]["mean"]

    genomes = np.unique(np.asarray(net.space.sample(jax.random.key(1), 400)), axis=0)[:100]
    means = {calibrate(jnp.asarray(genome)).tobytes() for genome in genomes}
    assert len(genomes) == 100 and len(means) > 50
    assert len(traces) == 1


def test_many_images_are_taken_in_batches(case, monkeypatch):
    """More than TOGETHER.

    The mean over equal batches, for the supernet and for a subnet of its own.
    """
    net, params, images = case
    monkeypatch.setattr(recalibrate, "TOGETHER", 9)  # 24 images: three batches of eight
    genome = np.asarray(net.space.largest)
    alone = jax.jit(partial(statistics, net))
    batches = [alone(params, jnp.asarray(genome), images[i : i + 8]) for i in (0, 8, 16)]
    expected = jax.tree.map(lambda *leaves: np.mean(leaves, axis=0), *batches)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6),
        jax.jit(partial(statistics, net))(params, jnp.asarray(genome), images),
        expected,
    )
    subnet = net.extract(params, genome, jax.tree.map(jnp.zeros_like, expected))
    found = recalibrated(subnet, images)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4),
        found.stats,
        take(expected, subnet.ops),
    )
