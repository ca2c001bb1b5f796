"""One subnet, four spellings.

Masked under a traced genome, sliced out, exported to ONNX, and switched. In every space.
"""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.config import SPACES
from jaxnas.export.onnx import emit
from jaxnas.export.proof import onnx_logits
from jaxnas.networks import subnet
from jaxnas.networks.activations import ACTIVATIONS
from jaxnas.networks.operators import OPERATORS
from jaxnas.networks.subnet import Subnet, forward
from jaxnas.spaces.mobilenet import mobilenet_space
from jaxnas.spaces.stage import MobileNet, Stage
from jaxnas.supernets import switched
from jaxnas.supernets.build import build
from jaxnas.supernets.supernet import take
from jaxnas.training.recalibrate import statistics

TOLERANCE = 1e-4  # of the largest logit
SMALL = ["tiny", "residual"]
# Take minutes.
MORE = [
    "cifar",
    "ofa_mobilenet_v3_cifar",
    "attentive_nas_cifar",
    "raptor_cifar",
    "attentive_nas",
    "ofa_mobilenet_v3",
]

# All operators, activations and shortcuts, and blocks with genes of their own, small enough to
# compile in seconds.
EVERY_OPERATOR = MobileNet(
    (12,),
    (8, 16),
    1,
    (
        Stage((8, 16), (1, 2), (1, 3), (1,), 1, False, "relu6", "conv"),
        Stage((16, 24), (1, 2), (3, 5), (1, 2), 2, True, "relu", "fused_mbconv"),
        Stage((16, 24), (1,), (3, 5), (2,), 1, True),
    ),
    (16, 24),
    3,
    4,
    activation="relu",
    shortcut="identity",
)
PER_BLOCK = MobileNet(
    (12,),
    (8,),
    1,
    (
        Stage((8,), (1,), (3,), (1,), 1),
        Stage((16,), (1, 2), (3, 5, 7), (2, 3), 2, True, "hard_swish"),
    ),
    (16,),
    3,
    4,
    shortcut="identity",
    per_block=True,
    kernel_transform=True,
)
# MobileNetV2's head, whose width is that of the pooled channels; stages that change nothing but
# their width.
OTHER_HEAD = MobileNet(
    (12,),
    (8, 16),
    1,
    (
        Stage((8, 16), (1,), (3,), (1,), 1, activation="relu6"),
        Stage((16, 24), (1, 2), (3,), (6,), 2, activation="relu6"),
    ),
    (16, 24, 32),
    3,
    4,
    activation="relu6",
    shortcut="identity",
    head="v2",
)


@pytest.fixture(autouse=True)
def operators_compile_once(monkeypatch):
    """Equal operators of different networks are one small program.

    There are a tenth as many as of primitives.
    """
    conv = OPERATORS["conv"]
    compiled = jax.jit(conv.compute, static_argnums=0)

    def alone(op, arrays, x):
        return compiled(replace(op, path="", inputs=()), arrays, x)

    monkeypatch.setitem(OPERATORS, "conv", replace(conv, compute=alone))
    monkeypatch.setattr(
        subnet, "norm_act_of_batch", jax.jit(subnet.norm_act_of_batch, static_argnums=3)
    )
    monkeypatch.setattr(subnet, "batch_norm", jax.jit(subnet.batch_norm))
    for name, activation in ACTIVATIONS.items():
        monkeypatch.setitem(ACTIVATIONS, name, jax.jit(activation))


def prepare(space, randomised, images=12):
    """A supernet with random weights, images to calibrate on and as many others.

    The masked spelling takes any genome of a resolution.
    """
    net = build(space)
    noise_key, contrast_key, brightness_key = jax.random.split(jax.random.key(0), 3)
    n = 2 * images
    shape = (space.resolutions[-1], space.resolutions[-1], space.structure.channels)
    contrast = jnp.exp(jax.random.normal(contrast_key, (n, 1, 1, 1)))
    drawn = contrast * jax.random.normal(noise_key, (n, *shape)) + 2 * jax.random.normal(
        brightness_key, (n, 1, 1, shape[-1])
    )
    calibration = drawn[images:]
    given = drawn[:images]
    params = randomised(net)
    # Logits that differ enough between images.
    params["classifier"]["kernel"] = 2 * params["classifier"]["kernel"]

    @jax.jit
    def masked(params, genome, calibration, images):
        stats = statistics(net, params, genome, calibration)
        return net.apply(params, images, genome, stats)[0], stats

    return SimpleNamespace(
        space=space, net=net, params=params, calibration=calibration, images=given, masked=masked
    )


def cut(case, images, genome):
    """The images at the genome's resolution."""
    size = case.space.resolutions[int(genome[case.space.static])]
    return images[:, :size, :size]


def spellings(case, genome):
    """Logits by masks, by slices and by ONNX.

    With statistics recalibrated by the first two themselves.

    The slices run operator by operator: a program for each network would take 10 to 40 seconds to
    compile.
    """
    calibration = cut(case, case.calibration, genome)
    images = cut(case, case.images, genome)
    masked, stats = case.masked(case.params, genome, calibration, images)
    ops = case.net.ops(genome)
    params = jax.device_get(case.params)
    weights = take(params, ops)
    _, own = forward(ops, weights, calibration)
    exported = emit(case.net.extract(params, genome, jax.device_get(stats)), *images.shape[1:])
    return masked, forward(ops, weights, images, own)[0], onnx_logits(exported, images)


def in_float64(case, genome):
    """Logits of the slices, statistics recalibrated too, without float32's rounding."""
    with jax.enable_x64(True):
        double = partial(jax.tree.map, lambda array: jnp.asarray(np.asarray(array, np.float64)))
        calibration, images = (
            double(cut(case, some, genome)) for some in (case.calibration, case.images)
        )
        ops = case.net.ops(genome)
        weights = double(take(jax.device_get(case.params), ops))
        return np.asarray(forward(ops, weights, images, forward(ops, weights, calibration)[1])[0])


def difference(found, expected):
    assert found.shape == expected.shape
    return float(jnp.max(jnp.abs(found - expected)) / jnp.max(jnp.abs(expected)))


def agree(case, genome, masked, sliced, exported):
    """Returns the largest difference, which must be small.

    Or, where rounding alone makes it larger (a channel that hardly varies is divided by next to
    nothing), all three must be near what float64 gives: nearer than any wrong branch or block
    below.
    """
    largest = max(difference(masked, sliced), difference(masked, exported))
    if largest > TOLERANCE:
        exact = in_float64(case, genome)
        assert max(difference(one, exact) for one in (masked, sliced, exported)) <= 5 * TOLERANCE
    return largest


def check(case, some):
    logits = []
    for genome in some:
        masked, sliced, exported = spellings(case, genome)
        agree(case, genome, masked, sliced, exported)
        assert jnp.std(masked - masked.mean(0)) >= 1
        logits.append(masked)
    for i, one in enumerate(logits):  # else every comparison above would pass
        assert all(difference(one, other) > 0.05 for other in logits[:i])


def draw(space, count, key=1):
    """Different networks: the smallest, the largest, and random ones."""
    genomes = np.asarray(space.sample(jax.random.key(key), count - 2))
    return np.concatenate([[space.smallest, space.largest], genomes])


@pytest.mark.parametrize("name", SMALL)
def test_four_genomes_of_a_space(name, randomised):
    case = prepare(SPACES[name](32, 3, 10), randomised)
    some = draw(case.space, 4)
    some[:, case.space.static] = 0  # every resolution is a program of its own
    check(case, some)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SMALL, *MORE])
def test_two_hundred_genomes_of_a_space(name, randomised):
    case = prepare(SPACES[name](32, 3, 10), randomised)
    largest = []
    for i, genome in enumerate(draw(case.space, 200, key=2), 1):
        masked, sliced, exported = spellings(case, genome)
        largest.append(agree(case, genome, masked, sliced, exported))
        np.testing.assert_array_equal(exported.argmax(-1), masked.argmax(-1))
        if i % 20 == 0:
            print(f"{name}: {i} of 200", flush=True)
    print(f"{name}: largest differences {np.sort(largest)[::-1][:10]} of the largest logit")


@pytest.fixture(
    scope="module",
    params=[EVERY_OPERATOR, PER_BLOCK, OTHER_HEAD],
    ids=["every operator", "per block", "other head"],
)
def small(request, randomised):
    return prepare(mobilenet_space("small", request.param), randomised)


def test_every_operator_and_genes_per_block(small):
    check(small, draw(small.space, 6))


def test_switched_equals_masked_in_one_program(small):
    calibrate, logits = small.net.switched
    traces = []

    @jax.jit
    def switched(params, genome, calibration, images):
        traces.append(None)
        return logits(calibrate(params, genome, calibration), genome, images)

    for genome in draw(small.space, 10):
        found = switched(small.params, jnp.asarray(genome), small.calibration, small.images)
        assert (
            difference(
                found, small.masked(small.params, genome, small.calibration, small.images)[0]
            )
            <= TOLERANCE
        )
    assert len(traces) == 1


def gradient(case, logits):
    """Genome to the gradient of a loss that no class is spared."""
    of = jax.jit(
        jax.grad(lambda params, genome: jnp.sum(jnp.sin(logits(params, genome, case.images))))
    )
    return lambda genome: of(case.params, jnp.asarray(genome))


def apart(found, expected):
    """The largest difference of gradients, in units of the largest one."""
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
    return max(
        jax.tree.leaves(
            jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()) / largest, found, expected)
        )
    )


def test_trained_by_switches_as_by_masks(small):
    switched = gradient(small, small.net.switched_training)
    masked = gradient(
        small, lambda params, genome, images: small.net.apply(params, images, genome)[0]
    )
    for genome in draw(small.space, 6):
        assert apart(switched(genome), masked(genome)) < TOLERANCE
    assert apart(switched(small.space.smallest), masked(small.space.largest)) > 100 * TOLERANCE


def test_a_wrong_branch_is_noticed(small, monkeypatch):
    """Planted: the last form, whatever the genome."""
    turn = switched._turn

    def wrong(forms, genome):
        return turn(forms, genome)._replace(form=jnp.int32(len(forms.forms) - 1))

    monkeypatch.setattr(switched, "_turn", wrong)
    calibrate, logits = small.net.switched
    genome = jnp.asarray(small.space.smallest)
    found = jax.jit(
        lambda params: logits(calibrate(params, genome, small.calibration), genome, small.images)
    )(small.params)
    assert (
        difference(found, small.masked(small.params, genome, small.calibration, small.images)[0])
        > 10 * TOLERANCE
    )


def test_a_block_too_few_is_noticed(small, monkeypatch):
    turn = switched._turn

    def absent(forms, genome):
        found = turn(forms, genome)
        there = forms.table.max() < len(forms.forms)
        return found if there else found._replace(form=jnp.int32(len(forms.forms)))

    monkeypatch.setattr(switched, "_turn", absent)
    calibrate, logits = small.net.switched
    genome = jnp.asarray(small.space.largest)
    found = jax.jit(
        lambda params: logits(calibrate(params, genome, small.calibration), genome, small.images)
    )(small.params)
    assert (
        difference(found, small.masked(small.params, genome, small.calibration, small.images)[0])
        > 10 * TOLERANCE
    )


def test_an_untransformed_kernel_is_noticed(randomised):
    """The centre of the largest kernel is not the smaller kernel where matrices stand between."""
    case = prepare(mobilenet_space("per block", PER_BLOCK), randomised)
    genome = case.space.smallest
    ops = case.net.ops(genome)
    weights = take(case.params, ops)
    path = "mb2/block0/depthwise"
    centre = case.params["mb2"]["block0"]["depthwise"]["kernel"][
        2:5, 2:5, :, : weights[path]["kernel"].shape[-1]
    ]
    masked, stats = case.masked(case.params, genome, case.calibration, case.images)
    plain = Subnet(ops, weights | {path: weights[path] | {"kernel": centre}}, take(stats, ops))
    assert difference(plain(case.images), masked) > 10 * TOLERANCE
