"""Every hand-designed network: its published costs, fresh weights, and what takes subnets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.baselines.catalogue import BASELINES, init
from jaxnas.baselines.resnet import operators as resnet
from jaxnas.data.augment import Augmentation, normalise
from jaxnas.errors import UserError
from jaxnas.export.int8 import quantise
from jaxnas.export.lint import TARGETS, lint, require_accepted
from jaxnas.export.onnx import emit
from jaxnas.export.proof import onnx_logits, prove, require
from jaxnas.hardware.cost_model import Modelled
from jaxnas.hardware.dataflow_chip import HAILO_8L, workload
from jaxnas.hardware.device import ExportedModel
from jaxnas.hardware.onnxruntime import OnnxRuntime
from jaxnas.networks.builder import at_size
from jaxnas.networks.costs import AVGPOOL2, MAXPOOL2, cost_table, macs, params
from jaxnas.networks.subnet import Subnet, forward
from jaxnas.spaces.published import tiny
from jaxnas.supernets.build import build
from jaxnas.training.evaluate import accuracy
from jaxnas.training.finetune import FinetuneConfig, finetune
from jaxnas.training.recalibrate import recalibrated
from jaxnas.training.views import Images

# Millions of parameters (weights, biases, norms' scales and shifts) and of multiply-adds for
# CIFAR-10, as pytorch-cifar-models states them: convolutions and linear layers, the ResNets' 1x1
# shortcuts and RepVGG's branches as trained among them; norms, biases, activations, additions and
# poolings are not counted.
PUBLISHED = {
    "resnet20": (0.27, 40.81),
    "resnet32": (0.47, 69.12),
    "resnet44": (0.66, 97.44),
    "resnet56": (0.86, 125.75),
    "vgg11_bn": (9.76, 153.29),
    "vgg13_bn": (9.94, 228.79),
    "vgg16_bn": (15.25, 313.73),
    "vgg19_bn": (20.57, 398.66),
    "mobilenetv2_x0_5": (0.70, 27.97),
    "mobilenetv2_x0_75": (1.37, 59.31),
    "mobilenetv2_x1_0": (2.24, 87.98),
    "mobilenetv2_x1_4": (4.33, 170.07),
    "shufflenetv2_x0_5": (0.35, 10.90),
    "shufflenetv2_x1_0": (1.26, 45.00),
    "shufflenetv2_x1_5": (2.49, 94.26),
    "shufflenetv2_x2_0": (5.37, 187.81),
    "repvgg_a0": (7.84, 489.08),
    "repvgg_a1": (12.82, 851.33),
    "repvgg_a2": (26.82, 1850.10),
}
OPTION_A = "resnet20, option A"
# {name: gain}.
EXPORTED = {
    OPTION_A: 0.7,
    "resnet20": 0.7,
    "vgg11_bn": 1,
    "mobilenetv2_x0_5": 1,
    "shufflenetv2_x0_5": 1,
    "repvgg_a0": 0.6,
}


@pytest.fixture(scope="module")
def drawn(random_subnet):
    """A network of this name with random weights."""
    return lambda name: random_subnet(
        resnet(20, 10, projection=False) if name == OPTION_A else BASELINES[name](10),
        EXPORTED[name],
    )


def test_all_are_published():
    assert BASELINES.keys() == PUBLISHED.keys()


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_costs(name):
    ops = BASELINES[name](10)
    assert (
        round(sum(op.params for op in ops) / 1e6, 2),
        round(sum(op.macs for op in ops) / 1e6, 2),
    ) == PUBLISHED[name]
    assert ops[-1].c_out == 10
    more = BASELINES[name](100)
    assert sum(op.params for op in more) - sum(op.params for op in ops) == 90 * (ops[-1].c_in + 1)


def test_what_the_shortcut_costs():
    """Parameters of option A as its paper has them.

    The published multiply-adds are those of option B.
    """
    plain = resnet(20, 10, projection=False)
    assert sum(op.params for op in plain) == 269722
    assert sum(op.macs for op in resnet(20, 10)) - sum(op.macs for op in plain) == 2 * 256 * 16 * 32


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_cost_table_sums_to_the_operators(name):
    ops = BASELINES[name](10)
    layers = cost_table(ops, 32, 32)
    assert (int(macs(layers)), int(params(layers))) == (
        sum(op.macs for op in ops),
        sum(op.params for op in ops),
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_same_network_on_larger_images(name):
    """Twice the height and width are four times the multiply-adds.

    Of every layer but the classifier's, which follow the pool.
    """
    ops = BASELINES[name](10)
    assert at_size(ops, 32) == ops
    if name.startswith("vgg"):
        with pytest.raises(UserError, match="reads one pixel, got 2 x 2 from images of 64"):
            at_size(ops, 64)
        return
    larger = at_size(ops, 64)
    assert [op.macs for op in larger] == [
        op.macs * (1 if op.height == 1 and op.kind == "linear" else 4) for op in ops
    ]


@pytest.mark.parametrize("name", EXPORTED)
def test_sizes_are_those_that_onnx_infers(name, drawn):
    """52 pixels halve to 26, 13 and 7, or 6 where a pool drops the last row.

    48 do not lead to the same.
    """
    subnet = drawn(name)
    larger = Subnet(at_size(subnet.ops, 52), subnet.weights, subnet.stats)
    emit(larger, 52, 52, 3)
    with pytest.raises(UserError, match="3 x 48 x 48"):
        emit(larger, 48, 48, 3)


def test_the_cost_table_of_operators_is_the_space_s():
    space = tiny(32, 3, 10)
    for genome in (space.smallest, space.largest, space.sample(jax.random.key(0), 1)[0]):
        rows = np.stack(space.layers(np.asarray(genome)), axis=1)
        np.testing.assert_array_equal(
            np.stack(cost_table(build(space).ops(genome), 32, 32), axis=1), rows[rows[:, -1] > 0]
        )


def test_a_chip_pools_maxima_as_means():
    layers = cost_table(BASELINES["vgg11_bn"](10), 32, 32)
    means = layers._replace(kind=jnp.where(layers.kind == MAXPOOL2, AVGPOOL2, layers.kind))
    assert (layers.kind == MAXPOOL2).sum() == 5
    np.testing.assert_array_equal(workload(layers), workload(means))


@pytest.mark.parametrize("name", EXPORTED)
def test_onnx_agrees_with_jax(name, drawn, images):
    subnet = drawn(name)
    proof = prove(emit(subnet, 32, 32, 3), subnet, images)
    assert 1 < proof.largest_logit < 1000
    assert proof.largest_difference < 1e-4 * proof.largest_logit
    require(proof)


def test_devices_take_them(drawn):
    subnet = drawn("shufflenetv2_x0_5")
    no_genome = np.zeros(0, np.int32)
    model = ExportedModel(emit(subnet, 32, 32, 3), no_genome, layers=cost_table(subnet.ops, 32, 32))
    assert Modelled(HAILO_8L).measure(model).latency_ms > 0
    measured = OnnxRuntime(seconds=0.001).measure(model)
    assert measured.latency_ms > 0 or "TooNoisy" in measured.failure


@pytest.mark.parametrize("name", EXPORTED)
def test_no_target_refuses_them(name, drawn):
    subnet = drawn(name)
    for target, accepts in TARGETS.items():
        require_accepted(lint(emit(subnet, 32, 32, 3, opset=accepts.opset), target), target)


@pytest.mark.parametrize("name", [OPTION_A, "shufflenetv2_x0_5"])
def test_int8_twins_are_close(name, drawn, images):
    model = emit(drawn(name), 32, 32, 3)
    exact = onnx_logits(model, images)
    rounded = onnx_logits(quantise(model, images), images)
    assert 0 < np.abs(rounded - exact).max() < 0.15 * np.abs(exact).max()


@pytest.mark.parametrize("name", ["vgg11_bn", "mobilenetv2_x1_4", "repvgg_a0"])
def test_fresh_weights(name):
    ops = BASELINES[name](10)
    ops = (*ops[:7], *ops[-3:])
    subnet = init(jax.random.key(0), ops)
    assert sum(leaf.size for leaf in jax.tree.leaves(subnet.weights)) == sum(
        op.params for op in ops
    )
    assert {op.path for op in ops if op.norm} == subnet.stats.keys()
    for op in ops:
        if op.kind == "conv":
            fan_out = op.kernel**2 * op.c_out / op.groups
            assert np.std(subnet.weights[op.path]["kernel"]) == pytest.approx(
                np.sqrt(2 / fan_out), rel=0.15
            )
    assert np.std(subnet.weights["classifier"]["kernel"]) == pytest.approx(0.01, rel=0.1)


def test_it_is_fine_tuned_recalibrated_and_evaluated():
    """Squares of three colours in noise, which a ResNet-8 tells apart after two epochs."""
    r = np.random.default_rng(0)
    labels = np.arange(96) % 3
    pixels = (
        r.integers(0, 128, (96, 32, 32, 3)) + 100 * (np.arange(3) == labels[:, None])[:, None, None]
    )
    data = Images(
        jnp.asarray(pixels, jnp.uint8),
        jnp.asarray(labels, jnp.int32),
        jnp.full(3, 0.4),
        jnp.full(3, 0.2),
    )
    subnet = init(jax.random.key(0), resnet(8, 3, projection=False))
    settings = FinetuneConfig(epochs=2, batch_size=32, learning_rate=0.05)
    *_, (_, state, loss) = finetune(subnet, data, 32, settings, Augmentation(), jax.random.key(1))
    images = normalise(data.images, data.mean, data.deviation)
    tuned = recalibrated(Subnet(subnet.ops, state.weights, {}), images)
    assert loss < 1
    assert accuracy(tuned, images, data.labels) == 1
    assert tuned.stats.keys() == subnet.stats.keys()


def test_batch_statistics_of_a_norm_by_itself(random_subnet, images):
    ops = BASELINES["repvgg_a0"](10)[:8]  # two blocks; the second has an identity
    _, stats = jax.jit(forward, static_argnums=0)(
        ops, random_subnet(ops).weights, jnp.asarray(images)
    )
    read, _ = jax.jit(forward, static_argnums=0)(
        ops[:3], random_subnet(ops).weights, jnp.asarray(images)
    )
    assert ops[6].kind == "identity"
    np.testing.assert_allclose(stats[ops[6].path]["mean"], read.mean((0, 1, 2)), atol=1e-5)


@pytest.mark.parametrize("depth", [2, 21])
def test_other_depths_are_refused(depth):
    with pytest.raises(UserError, match=f"6 n \\+ 2 layers, got {depth}"):
        resnet(depth, 10)
