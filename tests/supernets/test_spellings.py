"""One subnet, five spellings, in every space.

Masked under a traced genome, as a soft genome, by switches, sliced out, and exported to ONNX.
"""

from dataclasses import replace
from functools import partial
from itertools import islice
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
from jaxnas.spaces.mobilenet_structure import MobileNet, Stage
from jaxnas.spaces.space import Space
from jaxnas.supernets import switched
from jaxnas.supernets.build import build
from jaxnas.supernets.forms import forms_of
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
# A first block of so many forms that those which differ in width alone are one, behind a mask.
MASKED_WIDTHS = MobileNet(
    (12,),
    (8, 16),
    1,
    (Stage((16, 24, 32), (1, 2), (3, 5), (2,), 2, True, "relu"),),
    (16, 24),
    3,
    4,
    activation="relu",
)
OWN = {"per block": PER_BLOCK, "masked widths": MASKED_WIDTHS}


def smallest_instances() -> dict[str, Space]:
    """Of every space in SPACES; those of one structure stand under the first one's name."""
    spaces: dict[str, Space] = {}
    structures = []
    for name, make in SPACES.items():
        smaller = make(32, 3, 10).smaller
        assert smaller is not None, f"{name} has no smallest instance"
        space = smaller()
        if space.structure not in structures:
            structures.append(space.structure)
            spaces[name] = space
    return spaces


INSTANCES = smallest_instances()


@pytest.fixture(autouse=True)
def operators_compile_once(monkeypatch):
    """Equal operators of different networks are one small program.

    There are a tenth as many as of primitives.
    """
    for kind, operator in OPERATORS.items():
        compiled = jax.jit(operator.compute, static_argnums=0)

        def alone(op, arrays, *inputs, compiled=compiled):
            return compiled(replace(op, path="", inputs=()), arrays, *inputs)

        monkeypatch.setitem(OPERATORS, kind, replace(operator, compute=alone))
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
    pixels, channels = space.image
    shape = (pixels, pixels, channels)
    contrast = jnp.exp(jax.random.normal(contrast_key, (n, 1, 1, 1)))
    drawn = contrast * jax.random.normal(noise_key, (n, *shape)) + 2 * jax.random.normal(
        brightness_key, (n, 1, 1, shape[-1])
    )
    calibration = drawn[images:]
    given = drawn[:images]
    params = randomised(net)
    # Logits that differ enough between images.
    head = params[space.parts[-1].name]
    head["kernel"] = 2 * head["kernel"]

    @jax.jit
    def masked(params, genome, calibration, images):
        stats = statistics(net, params, genome, calibration)
        return net.apply(params, images, genome, stats)[0], stats

    return SimpleNamespace(
        space=space, net=net, params=params, calibration=calibration, images=given, masked=masked
    )


def cut(case, images, genome):
    """The images at the genome's resolution."""
    size = case.space.pixels(genome)
    return images[:, :size, :size]


def spellings(case, genome, masked=None):
    """Logits by masks, if they are not given, by slices and by ONNX.

    With statistics recalibrated by the first two themselves.

    The slices run operator by operator: a program for each network would take 10 to 40 seconds to
    compile.
    """
    calibration = cut(case, case.calibration, genome)
    images = cut(case, case.images, genome)
    if masked is None:
        masked, _ = case.masked(case.params, genome, calibration, images)
    ops = case.net.ops(genome)
    weights = take(jax.device_get(case.params), ops)
    _, own = forward(ops, weights, calibration)
    exported = emit(Subnet(ops, weights, jax.device_get(own)), *images.shape[1:])
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


def draw(space, count, key=1):
    """Different networks: the smallest, the largest, and random ones.

    Each with a way from the image to the logits.
    """
    some = np.asarray(space.canonical(space.sample(jax.random.key(key), 20 * count)))
    genomes = np.concatenate([[space.smallest, space.largest], some])
    _, first = np.unique(genomes, axis=0, return_index=True)
    alive = (row for row in np.sort(first) if sees_the_image(space.ops(genomes[row])))
    return genomes[list(islice(alive, count))]


def sees_the_image(ops):
    """Whether a network has a way from the image to the logits that no zero blocks."""
    seen = []
    for op in ops:
        seen.append(op.kind != "zero" and any(i < 0 or seen[i] for i in op.inputs))
    return seen[-1]


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


@pytest.fixture(scope="module", params=[*INSTANCES, *OWN, "toy"])
def case(request, randomised, toy_family):
    """The smallest instance of a space, or one of our own, as `prepare` makes it."""
    name = request.param
    if name in OWN:
        return prepare(mobilenet_space("small", OWN[name]), randomised)
    return prepare(toy_family.toy() if name == "toy" else INSTANCES[name], randomised)


@pytest.fixture(scope="module")
def logits_of(case):
    """(genome) -> logits by masks, of a soft genome and by switches, in one program."""
    traces = []
    calibrate, switched = case.net.switched

    @jax.jit
    def found(params, genome, soft, calibration, images):
        traces.append(None)
        stats = case.net.apply(params, calibration, genome)[1]
        hard = case.net.apply(params, images, genome, stats)[0]
        softly = case.net.apply(params, images, soft, stats)[0]
        weights = calibrate(params, genome, calibration)
        return hard, softly, switched(weights, genome, images)

    def of(genome):
        soft = jax.nn.one_hot(genome, int(case.space.sizes.max()), dtype=jnp.float32)
        given = (cut(case, some, genome) for some in (case.calibration, case.images))
        return found(case.params, jnp.asarray(genome), soft, *given)

    yield of
    assert len(traces) <= len(case.space.resolutions)


def test_one_network_spelt_five_ways(case, logits_of):
    """Masked, as a soft genome, switched, sliced out and exported."""
    different = []
    for genome in draw(case.space, 5):
        masked, soft, by_switches = logits_of(genome)
        assert difference(soft, masked) <= TOLERANCE
        assert difference(by_switches, masked) <= TOLERANCE
        _, sliced, exported = spellings(case, genome, masked)
        agree(case, genome, masked, sliced, exported)
        assert jnp.std(masked - masked.mean(0)) >= 1
        different.append(masked)
    for i, one in enumerate(different):  # else every comparison above would pass
        assert all(difference(one, other) > 0.05 for other in different[:i])


def test_the_cost_table_counts_the_plain_network(case):
    """Operators that nobody reads have repeat 0, or the space says that they count."""
    for genome in draw(case.space, 5):
        counted = case.space.layers(genome)
        ops = case.net.ops(genome)
        macs = int(np.sum(counted.macs * counted.repeat))
        if case.space.counts_unread:
            assert int(np.sum(counted.repeat > 0)) >= len(ops)
            assert macs >= sum(op.macs for op in ops) > 0
        else:
            assert int(np.sum(counted.repeat > 0)) == len(ops)
            assert macs == sum(op.macs for op in ops)


def test_every_gene_has_an_architecture_gradient(case):
    """In float64: not zero for genes that matter, and for three of them finite differences."""
    space = case.space
    free = [i for i, gene in enumerate(space.genes) if len(gene.choices) > 1 and not gene.static]
    step = 1e-6  # of larger ones some change which activations are 0
    with jax.enable_x64(True):
        double = partial(jax.tree.map, lambda x: jnp.asarray(np.asarray(x, np.float64)))
        images = double(case.images[:4])
        params = double(case.params)

        def mean(soft):
            return jnp.mean(jnp.sin(case.net.apply(params, images, soft)[0]))

        loss = jax.jit(jax.value_and_grad(mean))
        rng = np.random.default_rng(0)
        soft = np.zeros((len(space.genes), int(space.sizes.max())))
        for row, size in zip(soft, space.sizes, strict=True):
            row[:size] = rng.dirichlet(np.full(size, 5.0))
        gradient = np.asarray(loss(jnp.asarray(soft))[1])
        assert all(np.abs(gradient[i, : space.sizes[i]]).max() > 1e-8 for i in free)
        for i in rng.permutation(free)[:3]:
            nudge = step * (np.indices(soft.shape).transpose(1, 2, 0) == (i, 0)).all(-1)
            there, back = (loss(jnp.asarray(soft + sign * nudge))[0] for sign in (1, -1))
            np.testing.assert_allclose((there - back) / (2 * step), gradient[i, 0], rtol=1e-4)


@pytest.fixture(scope="module")
def small(randomised):
    return prepare(mobilenet_space("small", MASKED_WIDTHS), randomised)


def test_widths_are_masked(small):
    assert any(forms.widths is not None for forms in forms_of(small.space, 12))


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
