"""Accuracies of many subnets in one program, against extracted networks evaluated one by one."""

import os
import socket
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.networks.op import Op
from jaxnas.networks.subnet import Subnet, forward
from jaxnas.spaces.mobilenet import MobileNet, Stage, mobilenet_space
from jaxnas.supernets.build import build
from jaxnas.supernets.supernet import take
from jaxnas.training import evaluate
from jaxnas.training.device_memory import MICRO_BATCH
from jaxnas.training.evaluate import Examples, accuracies, accuracy, of_each

COUNT = 2 * MICRO_BATCH + 22  # the last micro-batch is not full
SLICED = jax.jit(forward, static_argnums=0)


@pytest.fixture(scope="module")
def case(randomised):
    """Labels are what the largest network says, so that accuracies differ between subnets.

    120 genomes of few forms, which compile fast.
    """
    stage = Stage((8, 16, 24), (1, 2), (3, 5), (2,), 2)
    structure = MobileNet((8,), (8, 16), 2, (stage,), (16, 24, 32, 40, 48), 1, 4)
    net = build(mobilenet_space("small", structure))
    params = randomised(net)
    images = jax.random.normal(jax.random.key(0), (COUNT + 24, 8, 8, 1))
    calibration = slice(COUNT, None)
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

    genomes = jnp.concatenate(
        [jnp.stack([net.space.largest, net.space.smallest]), net.space.sample(jax.random.key(1), 3)]
    )
    found = measure(params, genomes, jnp.ones(5, bool), examples)
    expected = [correct_alone(net, params, genome, examples) for genome in np.asarray(genomes)]
    assert np.ptp(expected) > 10  # subnets differ
    np.testing.assert_allclose(found * COUNT, expected, atol=1.01)  # one image may lie on the fence
    live = jnp.array([True, False, True, False, True])
    again = measure(params, genomes[::-1], live, examples)
    np.testing.assert_array_equal(again, jnp.where(live, found[::-1], jnp.nan))
    assert len(traces) == 1


def test_genomes_side_by_side_and_switched_give_the_same(case):
    net, params, examples = case
    genomes = jnp.concatenate(
        [jnp.stack([net.space.largest, net.space.smallest]), net.space.sample(jax.random.key(3), 3)]
    )
    live = jnp.array([True, True, False, True, True])

    def measure(**options):
        return jax.jit(
            lambda params, examples: accuracies(net, params, genomes, live, examples, **options)
        )(params, examples)

    expected = measure(together=1, switched=False)
    assert np.ptp(expected[live]) * COUNT > 10
    for options in ({"together": 2, "switched": False}, {"switched": True}):
        found = measure(**options)
        assert (jnp.isnan(found) == ~live).all()
        np.testing.assert_allclose(found[live] * COUNT, expected[live] * COUNT, atol=1.01)


def test_side_by_side_only_crowds_with_a_live_genome_are_computed():
    computed = []

    def one(params, genome, data):
        jax.debug.callback(lambda genome: computed.append(int(genome[0])), genome)
        return genome[0].astype(jnp.float32)

    genomes = jnp.arange(7)[:, None]
    live = jnp.array([False, True, False, True, False, False, True])
    found = jax.jit(lambda: of_each(one, {}, genomes, live, (), 2, None))()
    jax.effects_barrier()
    np.testing.assert_array_equal(found, [np.nan, 1, np.nan, 3, np.nan, np.nan, 6])
    assert len(computed) == 4 and {1, 3, 6} <= set(computed)


@pytest.mark.parametrize("switched", [False, True])
def test_a_hundred_genomes_are_one_program(case, switched):
    net, params, examples = case
    examples = Examples(examples.images[:16], examples.labels[:16], examples.calibration)
    traces = []

    @jax.jit
    def measure(params, genomes, live, examples):
        traces.append(None)
        return accuracies(net, params, genomes, live, examples, switched=switched)

    different = np.unique(np.asarray(net.space.sample(jax.random.key(5), 400)), axis=0)[:100]
    assert len(different) == 100
    found = [
        measure(params, jnp.asarray(genomes), jnp.ones(25, bool), examples)
        for genomes in np.split(different, 4)
    ]
    assert len(np.unique(found)) > 3
    assert len(traces) == 1


def test_large_spaces_are_switched_on_a_cpu(monkeypatch, case):
    net, params, examples = case
    monkeypatch.setattr(evaluate, "SWITCH_FROM", 0)
    taken = []
    monkeypatch.setattr(
        evaluate, "_switched_accuracy", lambda *arguments: taken.append(None) or jnp.float32(0)
    )
    accuracies(net, params, net.space.sample(jax.random.key(4), 2), jnp.ones(2, bool), examples)
    assert taken


# A population of five on eight devices, or on two processes of one device each: what it prints are
# hits, which must be equal.
SPREAD = """
import sys
import jax, jax.numpy as jnp, numpy as np
if len(sys.argv) > 1:
    jax.distributed.initialize(f"127.0.0.1:{sys.argv[1]}", 2, int(sys.argv[2]))
from jaxnas.spaces.mobilenet import mobilenet_space
from jaxnas.spaces.mobilenet_structure import MobileNet, Stage
from jaxnas.supernets.build import build
from jaxnas.training.evaluate import Examples, accuracies
from jaxnas.training.parallel import all_devices
stages = (Stage((8, 16), (1, 2), (3, 5), (2,), 2, True),)
net = build(mobilenet_space("small", MobileNet((8,), (8,), 2, stages, (16, 24), 1, 4)))
draw = np.random.default_rng(0).normal
def leaf(shape):
    deviation = (2 / max(np.prod(shape.shape[:-1]), 1)) ** 0.5
    return draw(size=shape.shape).astype(np.float32) * deviation
params = jax.tree.map(leaf, jax.eval_shape(net.init, jax.random.key(0)))
images = (draw(size=(96, 8, 8, 1)) + 4 * draw(size=(96, 1, 1, 1))).astype(np.float32)
images, calibration, labels = images[:64], images[64:], np.arange(64, dtype=np.int32) % 4
kernel = params["classifier"]["kernel"]
params["classifier"] = {"kernel": 9 * kernel, "bias": np.zeros(4, np.float32)}
genomes = np.random.default_rng(1).integers(0, net.space.sizes, (5, len(net.space.genes)))
genomes = genomes.astype(np.int32)
live, examples = np.array([True, True, False, True, True]), Examples(images, labels, calibration)
mesh = all_devices()
traces = []
def measure(mesh):
    def program(params, genomes, live, examples):
        traces.append(None)
        return accuracies(net, params, genomes, live, examples, mesh=mesh)
    return jax.jit(program)
found = measure(mesh)(params, genomes, live, examples)
print(jax.device_count(), (np.asarray(found) * 64).tolist())
if len(sys.argv) == 1:
    print(1, (np.asarray(measure(None)(params, genomes, live, examples)) * 64).tolist())
"""


def hits(line):
    """The number of devices and the hits of a printed line; NaN equals NaN."""
    devices, found = line.split(" ", 1)
    return int(devices), found


def test_a_population_over_eight_devices_and_over_two_processes():
    environment = {
        **os.environ,
        "XLA_FLAGS": os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=8",
    }
    done = subprocess.run(
        [sys.executable, "-c", SPREAD], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (eight, spread), (one, alone) = map(hits, done.stdout.splitlines())
    assert (eight, one) == (8, 1)
    assert spread == alone
    assert "nan" in alone and len(set(alone.strip("[]").split(", "))) > 2  # subnets differ

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    start = partial(subprocess.Popen, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    processes = [start([sys.executable, "-c", SPREAD, port, str(rank)]) for rank in range(2)]
    printed = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], printed
    (two, first), (_, second) = (hits(out.splitlines()[-1]) for out, _ in printed)
    assert two == 2
    assert first == second == alone


@pytest.mark.parametrize("count", [1, 10, MICRO_BATCH, MICRO_BATCH + 1, COUNT])
def test_every_image_counts_once(count):
    """A network that answers the position of the brightest channel."""
    identity = Subnet((Op("linear", "a", (-1,), 1, 1, 4, 4),), {"a": {"kernel": jnp.eye(4)}}, {})
    images = jax.nn.one_hot(jnp.arange(count) % 4, 4).reshape(count, 1, 1, 4)
    labels = jnp.where(
        jnp.arange(count) % 3 == 0, jnp.arange(count) % 4, 3 - jnp.arange(count) % 4
    ).astype(jnp.int32)
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
