"""ShuffleNetV2 against the paper's unit in NumPy float64: split, branch, concatenation, shuffle, as they stand there.

Channels are labelled with the convolution that they come from, which says how the two orders of the same weights correspond.
"""

import jax
import numpy as np
import pytest

from jaxnas.baselines.shufflenet_v2 import UNITS, operators
from jaxnas.supernets import subnet as subnet_module
from jaxnas.supernets.norm import EPSILON
from jaxnas.supernets.subnet import Subnet


def shuffled(x):
    """Of the two halves of the last axis, channels in turn."""
    return np.moveaxis(x.reshape(*x.shape[:-1], 2, -1), -2, -1).reshape(x.shape)


def labels_read(ops) -> dict[str, list]:
    """{path of a convolution: labels of the channels that it reads, in our order}."""
    values, read = {-1: [("image", c) for c in range(3)]}, {}
    for i, op in enumerate(ops):
        inputs = [values[j] for j in op.inputs]
        values[i] = inputs[0]
        if op.kind == "select":
            values[i] = inputs[0][op.start : op.start + op.c_out]
        elif op.kind == "concat":
            values[i] = sum(inputs, [])
        elif op.kind == "conv":
            read[op.path] = inputs[0]
            if op.groups == 1:
                values[i] = [(op.path, c) for c in range(op.c_out)]
    return read


class Literal:
    """The paper's network; `run` has values (n, h, w, c), or None to follow the labels alone."""

    def __init__(self, subnet, shuffle=shuffled):
        self.ops, self.subnet, self.shuffle = {op.path: op for op in subnet.ops}, subnet, shuffle
        self.read = labels_read(subnet.ops)

    def conv(self, path, value):
        x, labels = value
        order = [self.read[path].index(tuple(label)) for label in labels.tolist()]
        assert len(order) == len(self.read[path])
        op = self.ops[path]
        depthwise = op.groups > 1
        out = labels if depthwise else np.array([(path, c) for c in range(op.c_out)], object)
        if x is None:
            return None, out
        arrays = {name: np.float64(array) for name, array in (self.subnet.weights[path] | self.subnet.stats[path]).items()}
        if depthwise:
            arrays = {name: array[..., order] for name, array in arrays.items()}
            y = sum(tap * weight[0] for tap, weight in zip(taps(x, op), arrays["kernel"].reshape(-1, 1, op.c_out), strict=True))
        else:
            kernel = arrays["kernel"][:, :, order].reshape(-1, len(order), op.c_out)
            y = sum(tap @ weight for tap, weight in zip(taps(x, op), kernel, strict=True))
        y = (y - arrays["mean"]) / np.sqrt(arrays["var"] + EPSILON) * arrays["scale"] + arrays["shift"]
        return (np.maximum(y, 0) if op.act == "relu" else y), out

    def branch(self, path, value):
        for name in ("expand", "depthwise", "project"):
            value = self.conv(f"{path}/{name}", value)
        return value

    def run(self, images):
        value = self.conv("conv1", (images, np.array([("image", c) for c in range(3)], object)))
        for stage, units in enumerate(UNITS, 2):
            for unit in range(units):
                path = f"stage{stage}/{unit}"
                if unit == 0:
                    around, reads = self.conv(f"{path}/around/project", self.conv(f"{path}/around/depthwise", value)), value
                else:
                    around, reads = zip(*(halves(part) for part in value), strict=True)
                parts = zip(around, self.branch(path, reads), strict=True)
                value = tuple(self.shuffled(*pair) for pair in parts)
        x, labels = self.conv("conv5", value)
        if x is None:
            return None
        last = self.subnet.weights["classifier"]
        return x.mean((1, 2)) @ np.float64(last["kernel"]) + np.float64(last["bias"])

    def shuffled(self, first, second):
        if first is None:
            return None
        if first.dtype == object:
            return self.shuffle(np.concatenate([first, second]).T).T
        return self.shuffle(np.concatenate([first, second], -1))


def halves(part):
    """Both halves of the channels: the last axis of values, the first of labels."""
    if part is None:
        return None, None
    return np.split(part, 2, axis=0 if part.dtype == object else -1)


def taps(x, op):
    """The shifted views of a padded input, row by row."""
    pad = op.kernel // 2
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    for i in range(op.kernel):
        for j in range(op.kernel):
            yield x[:, i : i + op.height * op.stride : op.stride, j : j + op.width * op.stride : op.stride]


@pytest.mark.parametrize("width", [0.5, 1.0, 1.5, 2.0])
def test_every_convolution_reads_what_the_shuffle_brings(width):
    Literal(Subnet(operators(width, 10), {}, {})).run(None)


def test_another_shuffle_is_noticed():
    subnet = Subnet(operators(1.0, 10), {}, {})
    with pytest.raises(ValueError, match="not in list"):
        Literal(subnet, lambda x: x).run(None)
    with pytest.raises(ValueError, match="not in list"):
        Literal(subnet, lambda x: shuffled(np.roll(x, x.shape[-1] // 2, -1))).run(None)


def test_logits_are_those_of_the_shuffled_network(random_subnet, images, monkeypatch):
    subnet = random_subnet(operators(0.5, 10))
    expected = Literal(subnet).run(np.float64(images))
    assert np.abs(expected).max() > 1
    assert np.abs(jax.jit(Subnet.__call__)(subnet, images) - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_wrong_run_is_noticed(random_subnet, images, monkeypatch):
    subnet = random_subnet(operators(0.5, 10))
    select = subnet_module._OPERATORS["select"]
    monkeypatch.setitem(subnet_module._OPERATORS, "select", lambda op, arrays, x: select(op, arrays, x[..., ::-1]))
    expected = Literal(subnet).run(np.float64(images))
    assert np.abs(jax.jit(lambda subnet, images: subnet(images))(subnet, images) - expected).max() > 1e-2 * np.abs(expected).max()
