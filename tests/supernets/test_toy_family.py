"""A family of a user's own, told by its parts alone, goes through all that jaxnas does."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.data.augment import Augmentation
from jaxnas.data.dataset import make_dataset
from jaxnas.export.int8 import quantise
from jaxnas.export.onnx import emit
from jaxnas.export.proof import onnx_logits
from jaxnas.hardware.memory_chip import RAPTOR
from jaxnas.networks.subnet import forward
from jaxnas.numerics.int8 import Int8
from jaxnas.studies.inspection import account
from jaxnas.supernets.build import build
from jaxnas.supernets.heads import path_of_head
from jaxnas.supernets.supernet import take
from jaxnas.training.channels import Group, channel_groups, sort_channels
from jaxnas.training.dropout import drop_rates
from jaxnas.training.evaluate import Examples, accuracies
from jaxnas.training.finetune import FinetuneConfig, finetune
from jaxnas.training.loop import train
from jaxnas.training.method import TrainConfig
from jaxnas.training.sandwich import Sandwich, Uniform
from jaxnas.training.shrinking import PHASES, Shrinking, lowest
from jaxnas.training.views import on_device

PIXELS = 6
PLAIN = Augmentation()
METHOD = Sandwich(Uniform(1))


@pytest.fixture(scope="module")
def net(toy_family):
    return build(toy_family.toy())


@pytest.fixture(scope="module")
def data():
    """Four classes, told apart by which colour is bright, if any."""
    rng = np.random.default_rng(0)
    splits = {}
    for name, n in (("train", 192), ("search", 64), ("test", 64)):
        labels = np.arange(n, dtype=np.int32) % 4
        images = rng.integers(0, 100, (n, PIXELS, PIXELS, 3), np.uint8)
        for i, label in enumerate(labels):
            images[i, ..., label % 3] += np.uint8(100 * (label < 3))
        splits[name] = (images, labels)
    return make_dataset("toy", tuple("abcd"), **splits, calibration_images=64, seed=0)


def normalised(data, split):
    return jnp.asarray((split.images / 255 - data.mean) / data.deviation, jnp.float32)


@pytest.fixture(scope="module")
def trained(net, data):
    """Weights after a training with drop-connect, and its losses."""
    settings = TrainConfig(
        epochs=4, batch_size=16, random_subnets=1, learning_rate=0.05, drop_connect=0.0
    )
    losses = []
    state = None
    for _, state, found in train(net, data, METHOD, settings, PLAIN, jax.random.key(0)):  # noqa: B007
        losses.append(float(cast(Any, found.largest)))
    assert state is not None
    return state.params, losses


def test_it_trains_and_its_subnets_are_evaluated_in_one_program(net, data, trained):
    params, losses = trained
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:3])
    genomes = net.space.sample(jax.random.key(1), 12)
    examples = Examples(
        normalised(data, data.search),
        jnp.asarray(data.search.labels),
        normalised(data, data.train)[:64],
    )
    live = jnp.ones(12, bool)
    forms: list[dict] = [{"switched": False}, {"switched": True}, {"numerics": Int8()}]

    def found(form):
        program = jax.jit(lambda p, g: accuracies(net, p, g, live, examples, **form))
        return np.asarray(program(params, genomes))

    by_masks, by_switches, as_int8 = map(found, forms)
    np.testing.assert_allclose(by_masks, by_switches, atol=1 / 64)
    assert np.abs(as_int8 - by_masks).max() < 0.2
    assert len(set(by_masks.tolist())) > 1


def test_its_int8_networks_are_those_of_onnx_runtime(net, data, trained):
    params, _ = trained
    images = normalised(data, data.search)
    calibration = normalised(data, data.train)[:64]
    calibrate, logits = net.simulated(Int8())

    @jax.jit
    def simulated(genome):
        found = logits(calibrate(params, genome, calibration), genome, images)
        return found, net.apply(params, calibration, genome)[1]

    for genome in np.asarray(net.space.sample(jax.random.key(2), 2)):
        found, stats = simulated(genome)
        model = emit(net.extract(*jax.device_get((params, genome, stats))), PIXELS, PIXELS, 3)
        twin = onnx_logits(quantise(model, calibration), images)
        agreeing = (twin.argmax(-1) == np.asarray(found).argmax(-1)).mean()
        assert agreeing > 0.9
        assert np.corrcoef(twin.ravel(), np.asarray(found).ravel())[0, 1] > 0.99


def test_a_network_is_inspected_part_by_part(net):
    largest = np.array([1, 0, 0, 0, 1, 1], np.int32)
    blocks, _ = account(RAPTOR, net.space, largest)
    assert [block.name for block in blocks] == [part.name for part in net.space.parts]
    assert sum(block.macs for block in blocks) * 1e6 == pytest.approx(
        sum(op.macs for op in net.ops(largest))
    )
    skipped = replace_edges(largest, 2)
    names = [block.name for block in account(RAPTOR, net.space, skipped)[0]]
    assert names == ["entry", "sum", "echo", "verdict"]


def replace_edges(genome, operation):
    changed = genome.copy()
    changed[1:4] = operation
    return changed


def test_a_network_is_fine_tuned(net, data, trained):
    params, _ = trained
    genome = np.asarray(net.space.largest)
    subnet = net.extract(jax.device_get(params), genome, {})
    settings = FinetuneConfig(epochs=2, batch_size=16)
    tuned = finetune(subnet, on_device(data), PIXELS, settings, PLAIN, jax.random.key(0))
    losses = [float(loss) for _, _, loss in tuned]
    assert losses[-1] < losses[0]


def test_its_channels_are_sorted_and_its_branch_is_dropped(net, data, trained):
    params, _ = trained
    space = net.space
    assert channel_groups(space) == (Group(("echo/widen",), ("echo/narrow",), ("echo/narrow",)),)
    ops = net.ops(space.largest)
    images = normalised(data, data.search)
    before, after = (
        np.asarray(forward(ops, take(p, ops), images)[0])
        for p in (params, sort_channels(params, space))
    )
    np.testing.assert_allclose(after, before, atol=1e-4)
    found = {ops[i].kind: rate for i, rate in drop_rates(space, 0.1, 0.5).items()}
    assert found == {"add": pytest.approx(0.4), "linear": 0.1}  # the last of five blocks


def test_it_shrinks_phase_after_phase(net, data):
    """All of its operations are drawn as soon as subnets are."""
    space = net.space
    lows = [lowest(space, phase).tolist() for phase in PHASES]
    assert lows[1] == lows[3] == [1, 0, 0, 0, 0, 1] and lows[5] == [0] * 6
    settings = TrainConfig(epochs=1, batch_size=16, learning_rate=0.05, drop_connect=0.5)
    training = train(net, data, Shrinking(), settings, PLAIN, jax.random.key(0))
    losses = [float(found.random) for *_, found in training]
    assert len(losses) == 12 and np.isfinite(losses).all()


def test_its_head_lies_where_its_last_operator_says(net, trained):
    assert (
        set(trained[0][path_of_head(net.space)]) == {"kernel", "bias"} == set(trained[0]["verdict"])
    )
