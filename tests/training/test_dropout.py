"""Dropout and drop-connect: where, how often, and what is left."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.networks.op import Op
from jaxnas.networks.subnet import Arrays, forward
from jaxnas.spaces.mobilenet import MobileNet, Stage, mobilenet_space
from jaxnas.spaces.part_builder import PartBuilder
from jaxnas.spaces.parts import Part
from jaxnas.spaces.space import Space
from jaxnas.supernets.supernet import take
from jaxnas.training.dropout import blocks_of, drop_rates, make_drop


@pytest.fixture(scope="module")
def space():
    """Seven blocks in three stages.

    The widths of stage 2 agree with those before, those of stage 3 do not.
    """
    stages = (
        Stage((8,), (2,), (3,), (2,), 1, False),
        Stage((8,), (2,), (3,), (2,), 1, False),
        Stage((16,), (3,), (3,), (2,), 2, False),
    )
    return mobilenet_space("stages", MobileNet((8,), (8,), 2, stages, (16,), 1, 10))


@pytest.fixture(scope="module")
def ops(space):
    return space.ops(space.largest)


def test_rates_rise_with_the_block_in_the_last_two_stages_and_skip_the_first_of_a_wider_one(
    space, ops
):
    rates = drop_rates(space, dropout=0.3, drop_connect=0.7)
    adds = [i for i, op in enumerate(ops) if op.kind == "add"]
    assert [rates.get(i, 0.0) for i in adds] == pytest.approx([0, 0, 0.2, 0.3, 0, 0.5, 0.6])
    assert rates[len(ops) - 1] == 0.3 and set(rates) <= {*adds, len(ops) - 1}


def test_a_block_of_stride_2_is_never_dropped_even_if_its_widths_agree():
    stage = Stage((8,), (2,), (3,), (2,), 2, False)
    space = mobilenet_space("s2", MobileNet((8,), (8,), 1, (stage,), (16,), 1, 10))
    assert list(drop_rates(space, 0.0, 0.8).values()) == [0, 0.4]


def residual(name: str, shortcut: bool = False):
    """A block that adds what it reads, or its convolution."""

    def ops():
        built = PartBuilder(4, 8)
        branch = built.conv(name, 8, act="relu")
        branch = built.append("identity", inputs=(branch,))
        around = built.append("conv", 8, f"{name}/around", inputs=(0,)) if shortcut else 0
        built.append("add", inputs=(branch, around), act="relu")
        return built.done()

    return Part(name, (), ops)


def test_blocks_of_no_stage_all_count_whatever_they_are_called():
    def plain(name, kind, channels):
        ops = [Op("input", "", (), 4, 4, 8, 8), Op(kind, name, (0,), 4, 4, 8, channels)]
        return Part(name, (), lambda: tuple(ops))

    parts = (
        plain("stem", "conv", 8),
        residual("cell a"),
        residual("cell b", shortcut=True),
        residual("cell c"),
        residual("cell d"),
        plain("head", "conv", 5),
    )
    space = Space("cells", (), parts)
    assert blocks_of(space) == ["cell a", "cell b", "cell c", "cell d"]
    ops = space.ops(space.largest)
    found = drop_rates(space, 0.0, 0.8)
    adds = [i for i, op in enumerate(ops) if op.kind == "add"]
    assert [found.get(i) for i in adds] == pytest.approx([0, None, 0.4, 0.6])


def test_drop_connect_drops_whole_images_and_dropout_single_features(space, ops):
    rates = drop_rates(space, 0.3, 0.7)
    drop = make_drop(ops, rates, jax.random.key(0))
    x = jnp.ones((4000, 2, 2, 3))
    found = {i: np.asarray(drop(i, x)) for i in rates}
    for i, rate in rates.items():
        values = np.unique(found[i])
        np.testing.assert_allclose(values, [0, 1 / (1 - rate)] if rate else [1], rtol=1e-6)
        assert abs((found[i] == 0).mean() - rate) < 0.03
        whole = (found[i] == found[i][:, :1, :1, :1]).all()
        assert whole if ops[i].kind == "add" else not whole
    dropped = [found[i] for i, rate in rates.items() if rate]
    assert not any((a == b).all() for a, b in itertools.pairwise(dropped))  # each draws its own


def test_where_nothing_is_dropped_the_input_itself_is_left(ops):
    drop = make_drop(ops, {}, jax.random.key(0))
    x = jnp.ones((2, 1, 1, 3))
    assert all(drop(i, x) is x for i in range(len(ops)))


def test_forward_drops_what_it_is_told(ops):
    """An image whose branches are all dropped goes through the shortcuts alone."""
    few = (
        Op("conv", "a", (-1,), 4, 4, 3, 3),
        Op("add", "", (0, -1), 4, 4, 3, 3),
        Op("pool", "", (1,), 1, 1, 3, 3),
        Op("linear", "b", (2,), 1, 1, 3, 2),
    )
    weights: Arrays = {
        "a": {"kernel": jnp.full((1, 1, 3, 3), 2.0)},
        "b": {"kernel": jnp.ones((3, 2))},
    }
    images = jnp.ones((5, 4, 4, 3))
    np.testing.assert_allclose(forward(few, weights, images)[0], 21)
    keep = jnp.array([1.0, 0, 1, 0, 1])
    left = forward(
        few,
        weights,
        images,
        drop=lambda i, x: x * keep[:, None, None, None] if few[i].kind == "add" else x / 3,
    )[0]
    np.testing.assert_allclose(left, jnp.where(keep[:, None] > 0, 7.0, 1.0) * jnp.ones((1, 2)))


def test_it_is_a_function_of_the_key(little, randomised):
    net = little((12,))
    ops = net.ops(net.space.largest)
    rates = drop_rates(net.space, 0.3, 0.9)
    params = randomised(net)
    images = jax.random.normal(jax.random.key(0), (8, 12, 12, 1))

    @jax.jit
    def logits(key):
        return forward(ops, take(params, ops), images, drop=make_drop(ops, rates, key))[0]

    first, again, other = (logits(jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_a_share_that_would_drop_nothing_is_refused(space):
    apart = Space("apart", (), (residual("stem", shortcut=True),))
    with pytest.raises(UserError, match=r"train.drop_connect needs a block of stride 1"):
        drop_rates(apart, 0.0, 0.2)
    with pytest.raises(UserError, match=r"train.dropout needs a linear layer"):
        drop_rates(apart, 0.2, 0.0)
    assert drop_rates(apart, 0.0, 0.0) == {}
