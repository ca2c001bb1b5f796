"""Subnets by hand, against a forward pass in numpy float64 that shares no code with the library."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.networks import subnet as subnet_module
from jaxnas.networks.norm import EPSILON
from jaxnas.networks.op import Op
from jaxnas.networks.sizes import windowed
from jaxnas.networks.subnet import Subnet, fold, forward

ACTIVATIONS = {
    "": lambda x: x,
    "relu": lambda x: np.where(x > 0, x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "swish": lambda x: x / (1 + np.exp(-x)),
    "hard_swish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
}

forward_jit = jax.jit(forward, static_argnums=0)


def windows(x, size, stride, pad_h, pad_w, fill=0.0):
    """(row, column, window) of every output position."""
    x = np.pad(x, ((0, 0), (pad_h, pad_h), (pad_w, pad_w), (0, 0)), constant_values=fill)
    for i in range((x.shape[1] - size) // stride + 1):
        for j in range((x.shape[2] - size) // stride + 1):
            yield i, j, x[:, i * stride : i * stride + size, j * stride : j * stride + size]


def conv(op, kernel, x):
    y = np.zeros((len(x), op.height, op.width, op.c_out))
    share = op.c_in // op.groups
    d = op.dilation
    pad = op.kernel // 2 * d if op.padding == "same" else 0
    for i, j, whole in windows(x, d * (op.kernel - 1) + 1, op.stride, pad, pad):
        window = whole[:, ::d, ::d]
        for o in range(op.c_out):
            first = o // (op.c_out // op.groups) * share
            y[:, i, j, o] = (window[..., first : first + share] * kernel[..., o]).sum((1, 2, 3))
    return y


def average_pool2(op, x):
    y = np.zeros((len(x), op.height, op.width, op.c_out))
    for i, j, window in windows(x, 2, 2, x.shape[1] % 2, x.shape[2] % 2):
        y[:, i, j] = window.sum((1, 2)) / 4
    return y


def max_pool2(op, x):
    y = np.zeros((len(x), op.height, op.width, op.c_out))
    for i, j, window in windows(x, 2, 2, 0, 0):
        y[:, i, j] = window.max((1, 2))
    return y


def window_pool(op, x):
    """Of the pixels inside the map: those outside are no numbers."""
    statistic = np.nanmean if op.kind == "avgpool" else np.nanmax
    y = np.zeros((len(x), op.height, op.width, op.c_out))
    pad = op.kernel // 2 if op.padding == "same" else 0
    x = np.pad(x, ((0, 0), (pad, op.kernel), (pad, op.kernel), (0, 0)), constant_values=np.nan)
    for i, j in np.ndindex(op.height, op.width):
        rows, columns = (slice(op.stride * at, op.stride * at + op.kernel) for at in (i, j))
        y[:, i, j] = statistic(x[:, rows, columns], (1, 2))
    return y


def select(op, x):
    y = np.zeros((len(x), op.height, op.width, op.c_out))
    for c in range(op.c_out):
        if 0 <= op.start + c < x.shape[-1]:
            y[..., c] = x[:, :: op.stride, :: op.stride, op.start + c]
    return y


def reference(subnet, images, batch_statistics=False):
    values = []
    for op in subnet.ops:
        x, *rest = [np.asarray(images, np.float64) if i == -1 else values[i] for i in op.inputs]
        arrays = {
            name: np.float64(array) for name, array in subnet.weights.get(op.path, {}).items()
        }
        if op.kind == "conv":
            x = conv(op, arrays["kernel"], x)
        elif op.kind == "linear":
            x = x.reshape(len(x), -1) @ arrays["kernel"]
        elif op.kind == "pool":
            x = x.sum((1, 2), keepdims=True) / (x.shape[1] * x.shape[2])
        elif op.kind == "avgpool2":
            x = average_pool2(op, x)
        elif op.kind == "maxpool2":
            x = max_pool2(op, x)
        elif op.kind in ("avgpool", "maxpool"):
            x = window_pool(op, x)
        elif op.kind == "zero":
            x = np.zeros((len(x), op.height, op.width, op.c_out))
        elif op.kind == "shift":
            x = np.delete(np.delete(x, 0, 1), 0, 2)
        elif op.kind == "flatten":
            x = x.reshape(len(x), -1)
        elif op.kind == "select":
            x = select(op, x)
        elif op.kind == "concat":
            x = np.concatenate([x, *rest], -1)
        elif op.kind in ("mul", "add"):
            x = x * rest[0] if op.kind == "mul" else x + rest[0]
        if op.bias:
            x = x + arrays["bias"]
        if op.norm:
            mean, var = (np.float64(subnet.stats[op.path][name]) for name in ("mean", "var"))
            if batch_statistics:
                mean = x.mean((0, 1, 2))
                var = x.var((0, 1, 2))
            x = (x - mean) / np.sqrt(var + EPSILON) * arrays["scale"] + arrays["shift"]
        values.append(ACTIVATIONS[op.act](x))
    return values[-1]


def random_subnet(ops, seed=0):
    """Random weights, norm scales, shifts and statistics.

    All are far from those of an initialisation.
    """
    r = np.random.default_rng(seed)
    weights = {}
    stats = {}
    for op in ops:
        if op.kind not in ("conv", "linear", "identity"):
            continue
        shape = (
            (op.c_in, op.c_out)
            if op.kind == "linear"
            else (op.kernel, op.kernel, op.c_in // op.groups, op.c_out)
        )
        arrays = (
            {}
            if op.kind == "identity"
            else {"kernel": r.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))}
        )
        if op.bias:
            arrays["bias"] = 0.3 * r.normal(size=op.c_out)
        if op.norm:
            arrays |= {"scale": r.uniform(0.5, 2, op.c_out), "shift": r.normal(size=op.c_out)}
            stats[op.path] = {"mean": r.normal(size=op.c_out), "var": r.uniform(0.3, 2, op.c_out)}
        weights[op.path] = arrays
    return Subnet(
        ops, *jax.tree.map(lambda array: jnp.asarray(array, jnp.float32), (weights, stats))
    )


def random_images(*shape):
    return jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32)


def difference(x, y):
    assert x.shape == y.shape
    return np.abs(np.asarray(x) - np.asarray(y)).max()


SINGLE = {
    "stem, stride 2, odd": Op(
        "conv", "a", (-1,), 4, 3, 3, 5, kernel=3, stride=2, norm=True, act="swish"
    ),
    "dense kernel 5": Op("conv", "a", (-1,), 7, 6, 3, 4, kernel=5, bias=True, act="relu"),
    "pointwise": Op("conv", "a", (-1,), 7, 6, 3, 8, norm=True),
    "pointwise, stride 2": Op(
        "conv", "a", (-1,), 4, 3, 3, 4, stride=2, bias=True, act="hard_sigmoid"
    ),
    "depthwise 3": Op("conv", "a", (-1,), 7, 6, 3, 3, kernel=3, groups=3, norm=True, act="swish"),
    "depthwise 5, stride 2": Op(
        "conv", "a", (-1,), 4, 3, 3, 3, kernel=5, stride=2, groups=3, bias=True
    ),
    "no padding, stride 2": Op(
        "conv", "a", (-1,), 3, 2, 3, 4, kernel=3, stride=2, padding="valid", bias=True
    ),
    "depthwise 5 without padding": Op(
        "conv", "a", (-1,), 3, 2, 3, 3, kernel=5, groups=3, padding="valid", norm=True
    ),
    "avgpool2, odd height": Op("avgpool2", "", (-1,), 4, 3, 3, 3),
    "pool": Op("pool", "", (-1,), 1, 1, 3, 3),
    "mul": Op("mul", "", (-1, -1), 7, 6, 3, 3),
    "add": Op("add", "", (-1, -1), 7, 6, 3, 3, act="relu"),
    "maxpool2, odd height": Op("maxpool2", "", (-1,), 3, 3, 3, 3),
    "maxpool, whole windows": Op(
        "maxpool", "", (-1,), 3, 2, 3, 3, kernel=3, stride=2, padding="valid"
    ),
    "maxpool, all pixels": Op(
        "maxpool", "", (-1,), 3, 3, 3, 3, kernel=3, stride=2, padding="ceil", act="relu"
    ),
    "select": Op("select", "", (-1,), 7, 6, 3, 2, start=1),
    "select, strided, zeros on both sides": Op("select", "", (-1,), 4, 3, 3, 8, stride=2, start=-2),
    "concat": Op("concat", "", (-1, -1), 7, 6, 6, 6),
    "identity": Op("identity", "a", (-1,), 7, 6, 3, 3, norm=True, act="relu"),
    "dilated": Op("conv", "a", (-1,), 7, 6, 3, 4, kernel=3, dilation=2, norm=True),
    "dilated depthwise 5": Op("conv", "a", (-1,), 7, 6, 3, 3, kernel=5, groups=3, dilation=2),
    "dilated, stride 2": Op("conv", "a", (-1,), 4, 3, 3, 3, 5, 2, groups=3, dilation=2),
    "dilated by 3, stride 2": Op("conv", "a", (-1,), 4, 3, 3, 2, 3, 2, dilation=3),
    "avgpool": Op("avgpool", "", (-1,), 7, 6, 3, 3, kernel=3),
    "avgpool 5, stride 2": Op("avgpool", "", (-1,), 4, 3, 3, 3, kernel=5, stride=2),
    "maxpool": Op("maxpool", "", (-1,), 7, 6, 3, 3, kernel=3),
    "maxpool, stride 2": Op("maxpool", "", (-1,), 4, 3, 3, 3, kernel=3, stride=2),
    "zero, stride 2": Op("zero", "", (-1,), 4, 3, 3, 3, stride=2),
    "shift": Op("shift", "", (-1,), 6, 5, 3, 3),
}

NET = (
    Op("conv", "stem", (-1,), 7, 7, 3, 8, kernel=3, stride=2, norm=True, act="swish"),
    Op(
        "conv",
        "block/depthwise",
        (0,),
        4,
        4,
        8,
        8,
        kernel=3,
        stride=2,
        groups=8,
        norm=True,
        act="swish",
    ),
    Op("pool", "", (1,), 1, 1, 8, 8),
    Op("conv", "block/squeeze", (2,), 1, 1, 8, 6, bias=True, act="relu"),
    Op("conv", "block/excite", (3,), 1, 1, 6, 8, bias=True, act="hard_sigmoid"),
    Op("mul", "", (1, 4), 4, 4, 8, 8),
    Op("conv", "block/project", (5,), 4, 4, 8, 12, norm=True),
    Op("avgpool2", "", (0,), 4, 4, 8, 8),
    Op("conv", "block/shortcut", (7,), 4, 4, 8, 12),
    Op("add", "", (6, 8), 4, 4, 12, 12),
    Op("pool", "", (9,), 1, 1, 12, 12),
    Op("linear", "classifier", (10,), 1, 1, 12, 10, bias=True),
)


def alone(op):
    """A network of one operator.

    The identity as a linear layer flattens its result, as a network returns (n, classes).
    """
    n = op.height * op.width * op.c_out
    subnet = random_subnet((op,))
    flatten = Op("linear", "flatten", (0,), 1, 1, n, n)
    return Subnet(
        (op, flatten), {**subnet.weights, "flatten": {"kernel": jnp.eye(n)}}, subnet.stats
    )


@pytest.mark.parametrize("op", SINGLE.values(), ids=SINGLE.keys())
def test_every_operator_equals_the_reference(op):
    subnet = alone(op)
    images = random_images(2, 7, 6, 3)
    assert difference(jax.jit(Subnet.__call__)(subnet, images), reference(subnet, images)) < 1e-5


@pytest.mark.parametrize("act", subnet_module.ACTIVATIONS)
def test_every_activation_equals_the_reference(act):
    subnet = alone(Op("pool", "", (-1,), 1, 1, 101, 101, act=act))
    images = jnp.linspace(-8, 8, 101).reshape(1, 1, 1, 101)
    assert difference(subnet(images), reference(subnet, images)) < 1e-6


def test_a_network_equals_the_reference():
    subnet = random_subnet(NET)
    images = random_images(4, 13, 13, 3)
    logits = jax.jit(Subnet.__call__)(subnet, images)
    assert logits.std() > 0.5
    assert difference(logits, reference(subnet, images)) < 1e-4


def test_the_reference_notices_a_wrong_tap():
    op = SINGLE["depthwise 3"]
    subnet = alone(op)
    images = random_images(2, 7, 6, 3)
    kernel = subnet.weights["a"]["kernel"]
    bug = subnet.weights["a"] | {"kernel": kernel.transpose(1, 0, 2, 3)}
    transposed = replace(subnet, weights=subnet.weights | {"a": bug})
    assert difference(transposed(images), reference(subnet, images)) > 0.1


@pytest.mark.parametrize(
    ("name", "start"), [("select", 0), ("select, strided, zeros on both sides", -3)]
)
def test_the_reference_notices_a_wrong_selection(name, start):
    subnet = alone(SINGLE[name])
    images = random_images(2, 7, 6, 3)
    shifted = Subnet((replace(subnet.ops[0], start=start), subnet.ops[1]), subnet.weights, {})
    assert difference(shifted(images), reference(subnet, images)) > 0.1


def test_batch_statistics_are_used_and_returned():
    subnet = random_subnet(NET)
    images = random_images(4, 13, 13, 3)
    logits, stats = forward_jit(NET, subnet.weights, images)
    assert difference(logits, reference(subnet, images, batch_statistics=True)) < 1e-4
    assert stats.keys() == {op.path for op in NET if op.norm}
    stem = conv(NET[0], np.float64(subnet.weights["stem"]["kernel"]), np.float64(images))
    np.testing.assert_allclose(stats["stem"]["mean"], stem.mean((0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(stats["stem"]["var"], stem.var((0, 1, 2)), rtol=1e-4)
    again, same = forward_jit(NET, subnet.weights, images, stats)
    assert difference(again, logits) < 1e-5
    assert same.keys() == stats.keys()


def test_folded_equals_unfolded():
    subnet = random_subnet(NET)
    images = random_images(4, 13, 13, 3)
    folded = fold(subnet)
    assert (
        difference(
            jax.jit(Subnet.__call__)(folded, images), jax.jit(Subnet.__call__)(subnet, images)
        )
        < 1e-5
    )
    assert not any(op.norm for op in folded.ops)
    assert folded.stats == {}
    assert {name for arrays in folded.weights.values() for name in arrays} == {"kernel", "bias"}
    assert "scale" in subnet.weights["stem"]  # the original is left as it was


def test_a_norm_by_itself_folds_into_a_depthwise_convolution():
    subnet = alone(SINGLE["identity"])
    images = random_images(2, 7, 6, 3)
    folded = fold(subnet)
    assert (folded.ops[0].kind, folded.ops[0].groups, folded.weights["a"]["kernel"].shape) == (
        "conv",
        3,
        (1, 1, 1, 3),
    )
    assert difference(folded(images), reference(subnet, images)) < 1e-5


def test_folding_keeps_a_bias_before_a_norm():
    subnet = alone(replace(SINGLE["pointwise"], bias=True))
    images = random_images(2, 7, 6, 3)
    assert difference(fold(subnet)(images), subnet(images)) < 1e-5


def test_the_arrays_are_leaves_and_the_operators_are_structure():
    subnet = random_subnet(NET)
    halved = jax.tree.map(lambda array: array / 2, subnet)
    assert halved.ops == NET
    np.testing.assert_array_equal(
        halved.weights["stem"]["kernel"], subnet.weights["stem"]["kernel"] / 2
    )
    gradient = jax.jit(jax.grad(lambda subnet, images: subnet(images).sum()))(
        subnet, random_images(2, 13, 13, 3)
    )
    assert all(jnp.any(arrays["kernel"] != 0) for arrays in gradient.weights.values())


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("groups", "c_out"), [(2, 4), (4, 8)], ids=["grouped", "several filters a channel"]
)
def test_convolutions_in_groups_are_those_of_lax(groups, c_out, stride):
    """Results and gradients, of sizes that the stride does not divide, too."""
    op = Op("conv", "grouped", (-1,), 5, 5, 4, c_out, kernel=3, groups=groups, stride=stride)
    images, kernel = (
        jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
        for shape in ((2, 5, 7, 4), (3, 3, 4 // groups, c_out))
    )

    def ours(kernel, images):
        return forward((op,), {op.path: {"kernel": kernel}}, images)[0]

    def theirs(kernel, images):
        names = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            images,
            kernel,
            (stride, stride),
            ((1, 1), (1, 1)),
            dimension_numbers=names,
            feature_group_count=groups,
        )

    np.testing.assert_allclose(ours(kernel, images), theirs(kernel, images), atol=1e-5)
    gradients = (
        jax.grad(lambda *arrays, of=of: jnp.sum(jnp.sin(of(*arrays))), (0, 1))(kernel, images)
        for of in (ours, theirs)
    )
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("padding", ["same", "valid", "ceil"])
def test_a_maximum_has_the_gradient_of_its_pixel(padding):
    """Without ties, against finite differences of the sum of squares."""
    op = Op("maxpool", "", (-1,), 3, 3, 2, 2, kernel=3, stride=2, padding=padding)
    images = np.random.default_rng(0).permutation(72).reshape(1, 6, 6, 2).astype(np.float32)
    images -= 80  # zeros of a padding would be larger

    def squares(images):
        return jnp.sum(jnp.square(forward((op,), {}, images)[0]))

    gradient = np.asarray(jax.grad(squares)(jnp.asarray(images)))
    side = windowed(6, 3, 2, padding)
    pooled = window_pool(replace(op, height=side, width=side), images)
    times = np.array([(pooled == value).sum() for value in images.ravel()])
    np.testing.assert_array_equal(gradient.ravel(), 2 * times * images.ravel())
    assert times.sum() == pooled.size


def test_an_unknown_padding_is_refused():
    with pytest.raises(UserError, match="a: padding must be one of same, valid, ceil, got 'full'"):
        Op("conv", "a", (-1,), 5, 5, 6, 6, padding="full")


def test_groups_must_divide_the_channels():
    for groups, c_out in ((0, 6), (4, 8), (3, 8)):
        with pytest.raises(
            UserError,
            match=f"a: groups must divide the channels in and out, got {groups} groups of 6",
        ):
            Op("conv", "a", (-1,), 5, 5, 6, c_out, groups=groups)
