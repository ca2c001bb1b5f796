"""Sorted channels: the largest network is the same function, the important channels come first."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.networks.subnet import forward
from jaxnas.supernets.supernet import take
from jaxnas.training.channels import sort_channels


@pytest.fixture(scope="module")
def case(little, randomised):
    net = little((12,))
    expand = np.array(["expand" in gene.name for gene in net.space.genes])
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
    found = sort_channels(params)
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
    _, params, _, _ = case
    found = sort_channels(params)
    for name, block in found["mb1"].items():
        before = importance(params["mb1"][name])
        after = importance(block)
        np.testing.assert_allclose(after, np.sort(before)[::-1], rtol=1e-5)
        assert not np.array_equal(before, after)
        inner = np.abs(np.asarray(block["squeeze_excite"]["excite"]["kernel"])).sum((0, 1, 3))
        assert (np.diff(inner) <= 1e-5).all()


def test_channels_of_a_given_network_stay_first_and_it_stays_the_same_function(case, logits):
    net, params, narrow, _ = case
    found = sort_channels(params, narrow)
    ops = net.ops(net.space.largest)
    for each in (ops, narrow):
        np.testing.assert_allclose(logits(each, found), logits(each, params), atol=1e-4)
    width = next(op.c_out for op in narrow if op.path == "mb1/block1/expand")
    found = importance(found["mb1"]["block1"])
    before = importance(params["mb1"]["block1"])
    assert 0 < width < len(before)
    np.testing.assert_allclose(found[:width], np.sort(before[:width])[::-1], rtol=1e-5)
    np.testing.assert_allclose(found[width:], np.sort(before[width:])[::-1], rtol=1e-5)


def test_what_is_not_a_middle_channel_is_left_alone(case):
    _, params, _, _ = case
    middle = jnp.ones((1, 1, 4, 8))
    plain = {"depthwise": {"kernel": jnp.ones((3, 3, 1, 4))}, "project": {"kernel": middle}}
    matrices = {"transform5": jnp.arange(625.0).reshape(25, 25), "kernel": jnp.ones((5, 5, 1, 4))}
    block = {
        "expand": {"kernel": jnp.ones((1, 1, 2, 4))},
        "depthwise": matrices,
        "project": {"kernel": middle},
    }
    # A k x k convolution in place of two.
    fused = {name: block[name] for name in ("expand", "project")}
    found = sort_channels(params | {"mb2": {"block0": plain, "block1": block, "block2": fused}})
    for name in ("first_conv", "last_conv", "classifier"):
        jax.tree.map(np.testing.assert_array_equal, found[name], params[name])
    jax.tree.map(np.testing.assert_array_equal, found["mb2"]["block0"], plain)
    np.testing.assert_array_equal(
        found["mb2"]["block1"]["depthwise"]["transform5"], matrices["transform5"]
    )


@pytest.mark.parametrize(
    "extra", [{"cell1": {"block0": {}}}, {"mb2": {"block0": {"attention": {"kernel": np.ones(1)}}}}]
)
def test_a_supernet_of_other_parts_is_refused(case, extra):
    """Sorting a part's channels and not its neighbours' would make another function of it.

    Leaving it alone would be a silent gap.
    """
    _, params, _, _ = case
    with pytest.raises(
        UserError,
        match=(
            r"channels are sorted in stages mb1, mb2, .* got a part (cell1|mb2/block0/attention): "
            r"choose"
        ),
    ):
        sort_channels(params | extra)
