"""ShuffleNetV2 against the paper's unit in NumPy float64.

Split, branch, concatenation, shuffle, as they stand there.

Channels are labelled with the convolution that they come from, which says how the two orders of the
same weights correspond.
"""

import jax
import numpy as np
import pytest

from jaxnas.baselines.shufflenet_v2 import UNITS, operators
from jaxnas.networks.norm import EPSILON
from jaxnas.networks.operators import OPERATORS, Operator
from jaxnas.networks.subnet import Subnet

IMAGE = np.arange(3)


def shuffled(x):
    """Of the two halves of the last axis, channels in turn."""
    return np.moveaxis(x.reshape(*x.shape[:-1], 2, x.shape[-1] // 2), -2, -1).reshape(x.shape)


def labels_read(ops):
    """{path of a convolution: labels of the channels that it reads}, in our order.

    And {path: labels of its results}.
    """
    values = {-1: IMAGE}
    read = {}
    made = {}
    for i, op in enumerate(ops):
        inputs = [values[j] for j in op.inputs]
        values[i] = inputs[0]
        if op.kind == "select":
            values[i] = inputs[0][op.start : op.start + op.c_out]
        elif op.kind == "concat":
            values[i] = np.concatenate(inputs)
        elif op.kind == "conv":
            read[op.path] = inputs[0]
            values[i] = made[op.path] = (
                inputs[0] if op.groups > 1 else 10_000 * (i + 1) + np.arange(op.c_out)
            )
    return read, made


class Literal:
    """The paper's network with a subnet's weights.

    Values are (arrays (n, h, w, c), labels (c,)).
    """

    def __init__(self, subnet, shuffle=shuffled):
        self.ops = {op.path: op for op in subnet.ops}
        self.subnet = subnet
        self.shuffle = shuffle
        self.read, self.made = labels_read(subnet.ops)

    def __call__(self, images):
        value = self.conv("conv1", (np.asarray(images, np.float64), IMAGE))
        for stage, units in enumerate(UNITS, 2):
            for unit in range(units):
                value = self.unit(f"stage{stage}/{unit}", value, first=unit == 0)
        x, _ = self.conv("conv5", value)
        last = self.subnet.weights["classifier"]
        return x.mean((1, 2)) @ np.asarray(last["kernel"]) + np.asarray(last["bias"])

    def unit(self, path, value, first):
        if first:
            around = self.conv(
                f"{path}/around/project", self.conv(f"{path}/around/depthwise", value)
            )
            read = value
        else:
            around, read = zip(*(np.split(part, 2, -1) for part in value), strict=True)
        for name in ("expand", "depthwise", "project"):
            read = self.conv(f"{path}/{name}", read)
        return tuple(
            self.shuffle(np.concatenate(pair, -1)) for pair in zip(around, read, strict=True)
        )

    def conv(self, path, value):
        (x, labels) = value
        op = self.ops[path]
        order = [self.read[path].tolist().index(label) for label in labels.tolist()]
        assert len(order) == op.c_in
        arrays = {
            name: np.asarray(array, np.float64)
            for name, array in (self.subnet.weights[path] | self.subnet.stats[path]).items()
        }
        if op.groups > 1:
            arrays = {name: array[..., order] for name, array in arrays.items()}
            products = (tap * weight[0] for tap, weight in taps(x, op, arrays["kernel"]))
        else:
            products = (tap @ weight for tap, weight in taps(x, op, arrays["kernel"][:, :, order]))
        y = (sum(products) - arrays["mean"]) / np.sqrt(arrays["var"] + EPSILON) * arrays[
            "scale"
        ] + arrays["shift"]
        return np.maximum(y, 0) if op.act == "relu" else y, labels if op.groups > 1 else self.made[
            path
        ]


def taps(x, op, kernel):
    """The shifted views of a padded input and the weights of each, row by row."""
    pad = op.kernel // 2
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    for i in range(op.kernel):
        for j in range(op.kernel):
            yield (
                x[
                    :,
                    i : i + op.height * op.stride : op.stride,
                    j : j + op.width * op.stride : op.stride,
                ],
                kernel[i, j],
            )


@pytest.mark.parametrize("width", [0.5, 1.0, 1.5, 2.0])
def test_every_convolution_reads_what_the_shuffle_brings(width, random_subnet, images):
    Literal(random_subnet(operators(width, 10)))(images[:0])


@pytest.mark.parametrize(
    "shuffle",
    [lambda x: x, lambda x: shuffled(np.roll(x, x.shape[-1] // 2, -1))],
    ids=["none", "other half first"],
)
def test_another_shuffle_is_noticed(shuffle, random_subnet, images):
    with pytest.raises(ValueError, match="not in list"):
        Literal(random_subnet(operators(1.0, 10)), shuffle)(images[:0])


def test_logits_are_those_of_the_shuffled_network(random_subnet, images):
    subnet = random_subnet(operators(0.5, 10))
    expected = Literal(subnet)(images)
    assert np.abs(expected).max() > 1
    assert (
        np.abs(jax.jit(Subnet.__call__)(subnet, images) - expected).max()
        < 1e-4 * np.abs(expected).max()
    )


def test_a_wrong_run_is_noticed(random_subnet, images, monkeypatch):
    subnet = random_subnet(operators(0.5, 10))
    select = OPERATORS["select"].compute
    planted = Operator(lambda op, arrays, x: select(op, arrays, x[..., ::-1]))
    monkeypatch.setitem(OPERATORS, "select", planted)
    expected = Literal(subnet)(images)
    assert (
        np.abs(jax.jit(lambda subnet, images: subnet(images))(subnet, images) - expected).max()
        > 1e-2 * np.abs(expected).max()
    )
