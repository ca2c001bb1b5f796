"""Sorted channels: the largest network is the same function, the important channels come first."""

import zlib

import jax
import numpy as np
import pytest

from jaxnas.networks.operators import OPERATORS
from jaxnas.networks.operators.operator import Operator
from jaxnas.networks.subnet import forward
from jaxnas.spaces.mobilenet import MobileNet, Stage, mobilenet_space
from jaxnas.spaces.part_builder import PartBuilder
from jaxnas.spaces.parts import Part
from jaxnas.spaces.space import Gene, Space
from jaxnas.supernets.build import build
from jaxnas.supernets.supernet import flat, take
from jaxnas.training.channels import Group, channel_groups, sort_channels

GOLDEN = [963490861, 3820586559]


@pytest.fixture(scope="module")
def case(little, randomised):
    net = little((12,))
    expand = np.array([gene.kind == "expand" for gene in net.space.genes])
    narrow = net.ops(np.where(expand, 1, net.space.largest))  # expand ratio 3 of 2, 3, 4
    return net, randomised(net), narrow, jax.random.normal(jax.random.key(0), (8, 12, 12, 1))


@pytest.fixture(scope="module")
def logits(case):
    """(operators, weights) -> logits on batch statistics."""
    *_, images = case
    run = jax.jit(lambda ops, params: forward(ops, take(params, ops), images)[0], static_argnums=0)
    return lambda ops, params: np.asarray(run(ops, params))


def importance(block):
    return np.abs(np.asarray(block["project"]["kernel"])).sum((0, 1, 3))


def test_the_largest_network_is_the_same_function_and_smaller_ones_are_not(case, logits):
    net, params, narrow, _ = case
    found = sort_channels(params, net.space)
    ops = net.ops(net.space.largest)
    expected = logits(ops, params)
    np.testing.assert_allclose(logits(ops, found), expected, atol=1e-4)
    assert np.abs(logits(narrow, found) - logits(narrow, params)).max() > 0.1
    # A channel order forgotten in one place.
    squeeze = found["mb1"]["block1"]["squeeze_excite"]["squeeze"]
    forgotten = squeeze | {"kernel": params["mb1"]["block1"]["squeeze_excite"]["squeeze"]["kernel"]}
    found["mb1"]["block1"]["squeeze_excite"]["squeeze"] = forgotten
    assert np.abs(logits(ops, found) - expected).max() > 1e-2


def test_channels_are_in_order_of_importance(case):
    net, params, _, _ = case
    found = sort_channels(params, net.space)
    for name, block in found["mb1"].items():
        before = importance(params["mb1"][name])
        after = importance(block)
        np.testing.assert_allclose(after, np.sort(before)[::-1], rtol=1e-5)
        assert not np.array_equal(before, after)
        inner = np.abs(np.asarray(block["squeeze_excite"]["excite"]["kernel"])).sum((0, 1, 3))
        assert (np.diff(inner) <= 1e-5).all()


def test_channels_of_a_given_network_stay_first_and_it_stays_the_same_function(case, logits):
    net, params, narrow, _ = case
    found = sort_channels(params, net.space, narrow)
    ops = net.ops(net.space.largest)
    for each in (ops, narrow):
        np.testing.assert_allclose(logits(each, found), logits(each, params), atol=1e-4)
    width = next(op.c_out for op in narrow if op.path == "mb1/block1/expand")
    found = importance(found["mb1"]["block1"])
    before = importance(params["mb1"]["block1"])
    assert 0 < width < len(before)
    np.testing.assert_allclose(found[:width], np.sort(before[:width])[::-1], rtol=1e-5)
    np.testing.assert_allclose(found[width:], np.sort(before[width:])[::-1], rtol=1e-5)


def test_arrays_are_those_that_sorting_by_the_names_of_blocks_gave(case):
    """Checksums of all arrays, taken from the code that knew this one family."""
    net, params, narrow, _ = case

    def checksum(tree):
        return zlib.crc32(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)))

    sums = [checksum(sort_channels(params, net.space, ops)) for ops in ((), narrow)]
    assert sums == GOLDEN and checksum(params) not in GOLDEN


def test_what_is_not_a_middle_channel_is_left_alone(randomised):
    stages = (
        Stage((8,), (1,), (3, 5), (1,), 1, False),
        Stage((16,), (1, 2), (3, 5), (2, 3), 2, False),
        Stage((16,), (1,), (3,), (2, 3), 1, False, operator="fused_mbconv"),
    )
    structure = MobileNet((8,), (8,), 2, stages, (16,), 1, 10, kernel_transform=True)
    net = build(mobilenet_space("three", structure))
    params = randomised(net)
    before = flat(params)
    found = flat(sort_channels(params, net.space))
    moved = {
        path
        for path, arrays in found.items()
        if not np.array_equal(arrays["kernel"], before[path]["kernel"])
    }
    assert moved == {
        f"{block}/{name}"
        for block in ("mb2/block0", "mb2/block1", "mb3/block0")
        for name in ("expand", "depthwise", "project")
        if f"{block}/{name}" in found
    }
    path = "mb2/block1/depthwise"
    np.testing.assert_array_equal(found[path]["transform3"], before[path]["transform3"])


def edge(name: str, **rest):
    """Two convolutions, or nothing, between maps of 8 channels; `middle` channels are inside."""

    def ops(choice, middle):
        built = PartBuilder(6, 8, repeat=choice)
        inner = built.conv(f"{name}/first", middle, act="relu", **rest)
        through = built.append("identity", path=f"{name}/norm", norm=True, act="relu")
        last = built.conv(f"{name}/second", 8, inputs=(through,), kernel=3)
        assert inner == 1
        built.pick((0, last), choice)
        return built.done()

    return Part(name, (0, 1), ops)


def test_groups_are_read_off_the_operators_of_each_part(randomised):
    """Whatever paths and genes are called; what other parts read keeps its place."""

    def head():
        built = PartBuilder(6, 8)
        built.append("pool")
        built.append("linear", 12, "out/hidden", bias=True, act="relu")
        built.append("linear", 4, "out/logits", bias=True)
        return built.done()

    genes = (Gene("way", (0, 1), "operation"), Gene("inside", (8, 16), "width"))
    parts = (edge("a>b"), edge("b>c", groups=2), Part("out", (), head))
    space = Space("graph", genes, parts)
    assert channel_groups(space) == (
        Group(("a>b/first", "a>b/norm"), ("a>b/second",), ("a>b/second",)),
        # Of two groups the first convolution, so its channels stay.
        Group(("out/hidden",), ("out/logits",), ("out/logits",)),
    )
    net = build(space)
    params = randomised(net)
    images = jax.random.normal(jax.random.key(0), (4, 6, 6, 8))

    def logits(params, genome):
        ops = net.ops(genome)
        return np.asarray(forward(ops, take(params, ops), images)[0])

    found = sort_channels(params, space)
    narrow = np.array([1, 0])
    largest = space.largest
    np.testing.assert_allclose(logits(found, largest), logits(params, largest), atol=1e-4)
    assert np.abs(logits(found, narrow) - logits(params, narrow)).max() > 1e-2
    kept = sort_channels(params, space, net.ops(narrow))
    np.testing.assert_allclose(logits(kept, narrow), logits(params, narrow), atol=1e-4)


@pytest.mark.parametrize("kind", ["concat", "select", "attention", "shared"])
def test_channels_whose_place_matters_stay(kind, monkeypatch):
    # A kind from outside that does not say that it keeps channels apart.
    monkeypatch.setitem(OPERATORS, "attention", Operator(lambda op, arrays, x: x))

    def ops():
        built = PartBuilder(6, 8)
        first = built.conv("p/first", 8)
        if kind == "shared":  # weights of another part
            built.conv("q/second", 8, inputs=(first,))
        else:
            inputs = (first, 0) if kind == "concat" else (first,)
            built.append(kind, 16 if kind == "concat" else 8, inputs=inputs)
            built.conv("p/second", 8)
        return built.done()

    found = channel_groups(Space("one", (), (Part("p", (), ops),)))
    assert "p/first" not in [path for group in found for path in group.writers]
