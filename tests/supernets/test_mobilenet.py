"""The backbone of the library.

The masked supernet under a genome equals the extracted network of that genome.
"""

import zlib
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.networks.initializers import kaiming
from jaxnas.networks.subnet import forward
from jaxnas.spaces import published as spaces
from jaxnas.supernets import elastic
from jaxnas.supernets.build import build
from jaxnas.supernets.supernet import take

TOLERANCE = 1e-4  # of the largest logit
SLICED = jax.jit(forward, static_argnums=0)


def disturbed(stats):
    """Statistics some way from a genome's own."""

    def disturb(path, leaf):
        noise = (
            np.random.default_rng(zlib.crc32(jax.tree_util.keystr(path).encode()))
            .normal(size=leaf.shape)
            .astype(np.float32)
        )
        return leaf * np.exp(0.3 * noise) if path[-1].key == "var" else leaf + 0.3 * noise

    return jax.tree.map_with_path(disturb, jax.device_get(stats))


def prepare(space, count, randomised):
    """A supernet with random weights, and images of different contrast and brightness.

    Weights are on the host, where a subnet's share is a view: of JAX's arrays each slice is a small
    program.
    """
    net = build(space)
    structure = space.structure
    noise_key, contrast_key, brightness_key = jax.random.split(jax.random.key(1), 3)
    noise = jax.random.normal(
        noise_key, (count, structure.resolutions[-1], structure.resolutions[-1], structure.channels)
    )
    contrast = jnp.exp(jax.random.normal(contrast_key, (count, 1, 1, 1)))
    images = contrast * noise + jax.random.normal(brightness_key, (count, 1, 1, structure.channels))
    return SimpleNamespace(
        space=space,
        net=net,
        params=jax.device_get(randomised(net)),
        images=images,
        masked=jax.jit(net.apply),
    )


def given_statistics(case, genome):
    return disturbed(case.masked(case.params, case.images, genome)[1])


def genomes(space, count):
    """The smallest, the largest, and random ones."""
    return np.concatenate(
        [[space.smallest, space.largest], np.asarray(space.sample(jax.random.key(2), count - 2))]
    )


def difference(found, expected):
    """The largest, relative to the largest logit."""
    assert found.shape == expected.shape
    return float(jnp.max(jnp.abs(found - expected)) / jnp.max(jnp.abs(expected)))


def check_given_statistics(case, some):
    stats = [given_statistics(case, genome) for genome in some]
    logits = [
        case.masked(case.params, case.images, genome, given)[0]
        for genome, given in zip(some, stats, strict=True)
    ]
    for i, one in enumerate(logits):  # else every comparison below would pass
        assert jnp.std(one - one.mean(0)) >= 1
        assert all(difference(one, other) > 0.05 for other in logits[:i])
    for genome, given, one in zip(some, stats, logits, strict=True):
        subnet = case.net.extract(case.params, genome, given)
        assert (
            difference(one, SLICED(subnet.ops, subnet.weights, case.images, subnet.stats)[0])
            <= TOLERANCE
        )


def check_batch_statistics(case, some):
    for genome in some:
        logits, used = case.masked(case.params, case.images, genome)
        ops = case.net.ops(genome)
        expected, stats = SLICED(ops, take(case.params, ops), case.images)
        assert jnp.std(expected - expected.mean(0)) >= 1
        assert difference(logits, expected) <= TOLERANCE
        shares = take(used, ops)
        assert shares.keys() == stats.keys() == {op.path for op in ops if op.norm}
        for path, arrays in stats.items():
            scale = float(arrays["var"].max()) ** 0.5
            np.testing.assert_allclose(shares[path]["mean"], arrays["mean"], atol=1e-4 * scale)
            np.testing.assert_allclose(shares[path]["var"], arrays["var"], atol=1e-4 * scale**2)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((16, 1, 10), id="16 pixels, grey", marks=pytest.mark.slow),
        pytest.param((28, 3, 4), id="28 pixels, colour, odd sizes", marks=pytest.mark.slow),
    ],
)
def tiny(request, randomised):
    return prepare(spaces.tiny(*request.param), 6, randomised)


@pytest.fixture(scope="module")
def small(small_mobilenet, randomised):
    return prepare(small_mobilenet((12,), 3, 4), 6, randomised)


def test_masked_equals_sliced_with_given_statistics(tiny):
    check_given_statistics(tiny, genomes(tiny.space, 4))


def test_masked_equals_sliced_with_batch_statistics(tiny):
    check_batch_statistics(tiny, genomes(tiny.space, 3))


@pytest.mark.slow
@pytest.mark.parametrize("resolution", [24, 32])
def test_masked_equals_sliced_in_the_cifar_space(resolution, randomised):
    case = prepare(spaces.cifar(), 4, randomised)
    case.images = case.images[:, :resolution, :resolution]
    some = genomes(case.space, 12)
    some[:, 0] = case.space.genes[0].choices.index(resolution)
    check_given_statistics(case, some)
    check_batch_statistics(case, some[:5])


def test_masked_equals_sliced_in_a_small_space(small):
    check_given_statistics(small, genomes(small.space, 6))
    check_batch_statistics(small, genomes(small.space, 4))


def extracted_logits(case, genome, stats, change=lambda weights: weights):
    subnet = case.net.extract(case.params, genome, stats)
    return SLICED(subnet.ops, change(subnet.weights), case.images, subnet.stats)[0]


@pytest.mark.parametrize(
    "gene",
    [
        "first_conv_width",
        "mb2_width",
        "last_conv_width",
        "mb2_depth",
        "mb1_kernel",
        "mb2_kernel",
        "mb2_expand",
    ],
)
def test_a_neighbouring_genome_is_noticed(small, gene):
    neighbour = small.space.smallest.copy()
    position = [gene.name for gene in small.space.genes].index(gene)
    neighbour[position] = 1
    stats = given_statistics(small, small.space.largest)
    masked = small.masked(small.params, small.images, small.space.smallest, stats)[0]
    assert difference(masked, extracted_logits(small, neighbour, stats)) > 10 * TOLERANCE


def test_a_wrong_tap_and_a_wrong_gate_are_noticed(small):
    genome = small.space.smallest
    stats = given_statistics(small, genome)

    def corner_taps(weights):
        path = "mb2/block0/depthwise"
        kernel = small.params["mb2"]["block0"]["depthwise"]["kernel"][
            :3, :3, :, : weights[path]["kernel"].shape[-1]
        ]
        return weights | {path: weights[path] | {"kernel": kernel}}

    def opened_gate(weights):
        path = "mb2/block0/squeeze_excite/excite"
        # 1e-3 behind the hard sigmoid.
        return weights | {path: weights[path] | {"bias": weights[path]["bias"] + 6e-3}}

    masked = small.masked(small.params, small.images, genome, stats)[0]
    assert difference(masked, extracted_logits(small, genome, stats)) <= TOLERANCE
    assert difference(masked, extracted_logits(small, genome, stats, corner_taps)) > 10 * TOLERANCE
    assert difference(masked, extracted_logits(small, genome, stats, opened_gate)) > TOLERANCE


def test_a_norm_without_its_mask_is_noticed(small, monkeypatch):
    monkeypatch.setattr(elastic.Sizes, "live", lambda *_: None)
    genome = small.space.smallest
    stats = given_statistics(small, small.space.largest)
    unmasked = jax.jit(lambda *arguments: small.net.apply(*arguments))(
        small.params, small.images, genome, stats
    )[0]
    assert difference(unmasked, extracted_logits(small, genome, stats)) > 10 * TOLERANCE


def test_the_gradient_equals_that_through_the_slices(small):
    genome = np.asarray(small.space.sample(jax.random.key(3), 1)[0])
    ops = small.net.ops(genome)

    def gradient(logits):
        weigh = jnp.cos(
            jnp.arange(len(small.images) * small.space.structure.classes, dtype=jnp.float32)
        ).reshape(len(small.images), -1)
        return jax.jit(jax.grad(lambda params: jnp.sum(weigh * logits(params))))(small.params)

    masked = gradient(lambda params: small.net.apply(params, small.images, jnp.asarray(genome))[0])
    sliced = gradient(lambda params: forward(ops, take(params, ops), small.images)[0])
    largest = max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(sliced))
    for found, expected in zip(jax.tree.leaves(masked), jax.tree.leaves(sliced), strict=True):
        np.testing.assert_allclose(
            found, expected, atol=1e-4 * max(float(jnp.max(jnp.abs(expected))), 1e-2 * largest)
        )
    assert all(
        jnp.any(arrays["kernel"] != 0)
        for arrays in take(sliced, ops).values()
        if "kernel" in arrays
    )
    outside = jax.tree.leaves(jax.tree.map(lambda leaf: jnp.any(leaf == 0), sliced))
    assert any(outside)  # weights that the genome does not use get none


def test_every_genome_is_the_same_program(small):
    traces = []

    @jax.jit
    def apply(params, images, genome, stats=None):
        traces.append(None)
        return small.net.apply(params, images, genome, stats)

    for genome in genomes(small.space, 5):
        _, used = apply(small.params, small.images, genome)
        apply(small.params, small.images, jnp.asarray(genome))
        apply(small.params, small.images, genome, used)
    assert len(traces) == 2  # with batch statistics, and with given ones


def test_given_statistics_are_returned(small):
    stats = given_statistics(small, small.space.largest)
    _, used = small.masked(small.params, small.images, small.space.smallest, stats)
    jax.tree.map(np.testing.assert_array_equal, used, stats)


@pytest.mark.parametrize("make", [spaces.tiny, spaces.cifar])
def test_extraction_gives_every_operator_its_shape(make):
    """Slices that reach too far are cut silently, so shapes are compared."""
    space = make(32, 3, 10)
    net = build(space)
    params = jax.eval_shape(net.init, jax.random.key(0))
    for genome in genomes(space, 20):
        ops = net.ops(genome)
        weights = jax.eval_shape(lambda params, ops=ops: take(params, ops), params)
        assert weights.keys() == {op.path for op in ops if op.path}
        for op in ops:
            if op.path:
                window = () if op.kind == "linear" else (op.kernel, op.kernel)
                assert weights[op.path]["kernel"].shape == (*window, op.c_in // op.groups, op.c_out)
                vectors = {
                    name: array.shape
                    for name, array in weights[op.path].items()
                    if name != "kernel"
                }
                assert vectors == {
                    name: (op.c_out,) for name in ["scale", "shift"] * op.norm + ["bias"] * op.bias
                }
        assert sum(array.size for arrays in weights.values() for array in arrays.values()) == sum(
            op.params for op in ops
        )


def test_operators_follow_each_other(small):
    for genome in genomes(small.space, 6):
        ops = small.net.ops(genome)
        for i, op in enumerate(ops):
            assert all(-1 <= j < i for j in op.inputs)
            feeding = [3 if j == -1 else ops[j].c_out for j in op.inputs]
            assert set(feeding) == {op.c_in}
        used = {j for op in ops for j in op.inputs}
        assert used == set(range(-1, len(ops) - 1))  # every result but the last is used


def test_the_initial_network_ignores_its_blocks(small):
    """The last norm of a block starts at scale 0, so that only the shortcuts count."""
    params = jax.jit(small.net.init)(jax.random.key(4))
    assert not params["mb2"]["block0"]["project"]["scale"].any()
    assert params["mb2"]["block0"]["depthwise"]["scale"].all()
    shallow = small.space.smallest.copy()
    deep = small.space.smallest.copy()
    deep[[gene.name for gene in small.space.genes].index("mb2_depth")] = 1
    one, other = (small.masked(params, small.images, genome)[0] for genome in (shallow, deep))
    assert difference(one, other) < 1e-6
    assert jnp.max(jnp.abs(one)) > 0


@pytest.mark.parametrize("channels", [1, 3])
def test_the_stem_of_grey_and_of_colour_images_begins_equally_wide(channels):
    """He et al.: the standard deviation is sqrt(2 / fan-out), 9 times the output channels.

    Of depthwise filters 9.
    """
    found = kaiming(jax.random.key(0), (3, 3, channels, 256))
    assert float(jnp.std(found)) == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.1)
    depthwise = kaiming(jax.random.key(0), (3, 3, 1, 256), groups=256)
    assert float(jnp.std(depthwise)) == pytest.approx((2 / 9) ** 0.5, rel=0.1)


def test_a_supernet_of_grey_images_begins_so(small_mobilenet):
    params = build(small_mobilenet((8,), 1, 10)).init(jax.random.key(0))
    stem = params["first_conv"]["kernel"]
    depthwise = params["mb1"]["block0"]["depthwise"]["kernel"]
    assert float(jnp.std(stem)) == pytest.approx((2 / (9 * 16)) ** 0.5, rel=0.25)
    assert float(jnp.std(depthwise)) == pytest.approx((2 / 25) ** 0.5, rel=0.25)
