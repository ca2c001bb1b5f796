"""Accuracies of many subnets in one program, against extracted networks evaluated one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.supernets.mobilenet import build
from jaxnas.supernets.subnet import Subnet, forward
from jaxnas.supernets.supernet import take
from jaxnas.training.evaluate import MICRO_BATCH, Examples, accuracies, accuracy
from jaxnas.workload import Op

COUNT = 2 * MICRO_BATCH + 22  # the last micro-batch is not full
SLICED = jax.jit(forward, static_argnums=0)


@pytest.fixture(scope="module")
def case(small_mobilenet, randomised):
    """Labels are what the largest network says, so that accuracies differ between subnets."""
    net = build(small_mobilenet((8,), 1, 4))
    params = randomised(net)
    images, calibration = jax.random.normal(jax.random.key(0), (COUNT + 24, 8, 8, 1)), slice(COUNT, None)
    ops = net.ops(net.space.largest)
    labels = jnp.argmax(SLICED(ops, take(params, ops), images[:COUNT])[0], -1).astype(jnp.int32)
    return net, params, Examples(images[:COUNT], labels, images[calibration])


def correct_alone(net, params, genome, examples):
    """Number of images that the extracted network gets right, without micro-batches."""
    ops = net.ops(genome)
    weights = take(params, ops)
    stats = SLICED(ops, weights, examples.calibration)[1]
    logits = SLICED(ops, weights, examples.images, stats)[0]
    return int((np.argmax(logits, -1) == np.asarray(examples.labels)).sum())


def test_accuracies_are_those_of_the_extracted_networks_and_one_program(case):
    net, params, examples = case
    traces = []

    @jax.jit
    def measure(params, genomes, live, examples):
        traces.append(None)
        return accuracies(net, params, genomes, live, examples)

    genomes = jnp.concatenate([jnp.stack([net.space.largest, net.space.smallest]), net.space.sample(jax.random.key(1), 3)])
    found = measure(params, genomes, jnp.ones(5, bool), examples)
    expected = [correct_alone(net, params, genome, examples) for genome in np.asarray(genomes)]
    assert np.ptp(expected) > 10  # subnets differ
    np.testing.assert_allclose(found * COUNT, expected, atol=1.01)  # one image may lie on the fence
    live = jnp.array([True, False, True, False, True])
    again = measure(params, genomes[::-1], live, examples)
    np.testing.assert_array_equal(again, jnp.where(live, found[::-1], jnp.nan))
    assert len(traces) == 1


@pytest.mark.parametrize("count", [1, 10, MICRO_BATCH, MICRO_BATCH + 1, COUNT])
def test_every_image_counts_once(count):
    """A network that answers the position of the brightest channel."""
    identity = Subnet((Op("linear", "a", (-1,), 1, 1, 4, 4),), {"a": {"kernel": jnp.eye(4)}}, {})
    images = jax.nn.one_hot(jnp.arange(count) % 4, 4).reshape(count, 1, 1, 4)
    labels = jnp.where(jnp.arange(count) % 3 == 0, jnp.arange(count) % 4, 3 - jnp.arange(count) % 4).astype(jnp.int32)
    expected = np.mean(np.argmax(images.reshape(count, 4), -1) == np.asarray(labels))
    np.testing.assert_allclose(accuracy(identity, images, labels), expected, rtol=1e-6)


def test_accuracy_of_a_plain_network(case):
    net, params, examples = case
    genome = np.asarray(net.space.sample(jax.random.key(2), 1))[0]
    ops = net.ops(genome)
    weights = take(params, ops)
    subnet = Subnet(ops, weights, SLICED(ops, weights, examples.calibration)[1])
    found = float(accuracy(subnet, examples.images, examples.labels)) * COUNT
    assert found == pytest.approx(correct_alone(net, params, genome, examples), abs=1.01)
