"""Operators and activations as ONNX nodes, by the names that OPERATORS and ACTIVATIONS have.

Of ONNX's several spellings these are the fastest in ONNX Runtime 1.31 at batch 1 on one CPU thread:
Sigmoid and Mul for swish (as fast as HardSwish), HardSigmoid whole (Add, Clip and Mul make a
squeeze-excite 1.4 times slower), GlobalAveragePool (ReduceMean after a convolution is 1.25 times
slower), Flatten and Gemm for linear (MatMul and Add are as fast, a 1x1 Conv is slower for 100
classes and fewer, faster for 1000). A selection is a Slice where it takes a run of channels as they
are, else a 1x1 convolution with fixed weights, which edge compilers take.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from onnx import NodeProto, helper

from jaxnas.networks.op import Op


class Emitted(NamedTuple):
    """The nodes of an operator, of which the last gives its result, and their fixed inputs."""

    nodes: list[NodeProto]
    constants: Mapping[str, np.ndarray] = MappingProxyType({})


class Asked(NamedTuple):
    """What an emitter is given: an operator, names, and the operator that gives its first input."""

    op: Op
    inputs: list[str]
    name: str  # of the result
    source: Op

    @property
    def weights(self) -> list[str]:
        """Names of the kernel and the bias."""
        return [f"{self.op.path}/kernel"] + [f"{self.op.path}/bias"] * self.op.bias


def _node(kind: str, inputs: list[str], name: str, **attributes: Any) -> NodeProto:
    return helper.make_node(kind, inputs, [name], name, **attributes)


def _plain(kind: str, **attributes: Any) -> Callable[[Asked], Emitted]:
    """The emitter of an operator that is one of ONNX's."""
    return lambda asked: Emitted([_node(kind, asked.inputs, asked.name, **attributes)])


def _conv(asked: Asked) -> Emitted:
    op = asked.op
    window: dict[str, Any] = {
        "kernel_shape": [op.kernel] * 2,
        "strides": [op.stride] * 2,
        "pads": _pads(op),
        "group": op.groups,
    }
    if op.dilation > 1:
        window["dilations"] = [op.dilation] * 2
    return Emitted([_node("Conv", asked.inputs + asked.weights, asked.name, **window)])


def _pads(op: Op) -> list[int]:
    return [op.reach // 2 if op.padding == "same" else 0] * 4


def _linear(asked: Asked) -> Emitted:
    if asked.source.kind == "linear":
        return Emitted([_node("Gemm", asked.inputs + asked.weights, asked.name)])
    flat = f"{asked.name}/flat"
    flatten = _node("Flatten", asked.inputs, flat)
    return Emitted([flatten, _node("Gemm", [flat, *asked.weights], asked.name)])


def _avgpool2(asked: Asked) -> Emitted:
    """An odd size is padded, and the padding counts."""
    pads = [asked.source.height % 2, asked.source.width % 2] * 2
    return _plain("AveragePool", **HALVES, pads=pads, count_include_pad=1)(asked)


def _select(asked: Asked) -> Emitted:
    op = asked.op
    name = asked.name
    if op.stride == 1 and op.start >= 0 and op.start + op.c_out <= op.c_in:
        bounds = {f"{name}/start": op.start, f"{name}/stop": op.start + op.c_out, "channels": 1}
        constants = {bound: np.array([value], np.int64) for bound, value in bounds.items()}
        return Emitted([_node("Slice", [*asked.inputs, *bounds], name)], constants)
    kernel = np.eye(op.c_out, op.c_in, op.start, np.float32)[..., None, None]
    window: dict[str, Any] = {"kernel_shape": [1, 1], "strides": [op.stride] * 2}
    node = _node("Conv", [*asked.inputs, f"{name}/kernel"], name, **window)
    return Emitted([node], {f"{name}/kernel": kernel})


def _windowed(kind: str) -> Callable[[Asked], Emitted]:
    """Pooling, of which ONNX by itself leaves the padding out."""

    def emit(asked: Asked) -> Emitted:
        op = asked.op
        window: dict[str, Any] = {
            "kernel_shape": [op.kernel] * 2,
            "strides": [op.stride] * 2,
            "pads": _pads(op),
        }
        if op.padding == "ceil":
            window["ceil_mode"] = 1
        return _plain(kind, **window)(asked)

    return emit


def _zero(asked: Asked) -> Emitted:
    """No node: what is computed from it alone is a constant, too (see `onnx.emit`)."""
    op = asked.op
    return Emitted([], {asked.name: np.zeros((1, op.c_out, op.height, op.width), np.float32)})


def _shift(asked: Asked) -> Emitted:
    bounds = {"shift/start": [1, 1], "shift/stop": [2**31 - 1] * 2, "shift/axes": [2, 3]}
    constants = {bound: np.array(values, np.int64) for bound, values in bounds.items()}
    return Emitted([_node("Slice", [*asked.inputs, *bounds], asked.name)], constants)


HALVES: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
EMITTERS: dict[str, Callable[[Asked], Emitted]] = {
    "conv": _conv,
    "linear": _linear,
    "pool": _plain("GlobalAveragePool"),
    "avgpool2": _avgpool2,
    "mul": _plain("Mul"),
    "add": _plain("Add"),
    "maxpool2": _plain("MaxPool", **HALVES),
    "select": _select,
    "concat": _plain("Concat", axis=1),
    "identity": _plain("Identity"),
    "zero": _zero,
    "avgpool": _windowed("AveragePool"),
    "maxpool": _windowed("MaxPool"),
    "shift": _shift,
    "flatten": _plain("Flatten"),
}


def _relu6(asked: Asked) -> Emitted:
    limits = {"relu6/min": np.array(0, np.float32), "relu6/max": np.array(6, np.float32)}
    return Emitted([_node("Clip", [*asked.inputs, *limits], asked.name)], limits)


def _swish(asked: Asked) -> Emitted:
    gate = f"{asked.name}/sigmoid"
    sigmoid = _node("Sigmoid", asked.inputs, gate)
    return Emitted([sigmoid, _node("Mul", [*asked.inputs, gate], asked.name)])


ACTIVATION_EMITTERS: dict[str, Callable[[Asked], Emitted]] = {
    "relu": _plain("Relu"),
    "relu6": _relu6,
    "swish": _swish,
    "hard_swish": _plain("HardSwish"),
    "sigmoid": _plain("Sigmoid"),
    "hard_sigmoid": _plain("HardSigmoid", alpha=1 / 6, beta=0.5),
}
