"""A subnet as an ONNX file, operator by operator.

NCHW, batch norm folded, static shapes, standard operators, no Transpose.

Exporters that trace JAX leave transposes and unfolded norms that no clean-up tool removes, and edge
compilers want neither. Of ONNX's several spellings these are the fastest in ONNX Runtime 1.31 at
batch 1 on one CPU thread: Sigmoid and Mul for swish (as fast as HardSwish), HardSigmoid whole (Add,
Clip and Mul make a squeeze-excite 1.4 times slower), GlobalAveragePool (ReduceMean after a
convolution is 1.25 times slower), Flatten and Gemm for linear (MatMul and Add are as fast, a 1x1
Conv is slower for 100 classes and fewer, faster for 1000). A selection is a Slice where it takes a
run of channels as they are, else a 1x1 convolution with fixed weights, which edge compilers take.
"""

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from jaxnas.errors import UserError
from jaxnas.networks.op import KINDS, Op
from jaxnas.networks.subnet import Subnet, fold

IR_VERSION = 8  # of opset 17's time, so that older runtimes and compilers read the file


def emit(
    subnet: Subnet,
    height: int,
    width: int,
    channels: int,
    properties: dict[str, str] | None = None,
    opset: int = 17,
) -> bytes:
    """The ONNX file of a subnet.

    `image` (1, channels, height, width) float32, normalised, to `logits` (1, classes).

    `properties` become the model's metadata. Equal arguments give equal bytes. Raises `UserError`
    where an image of this shape does not lead to the shapes that the subnet's operators state.
    """
    if channels != subnet.ops[0].c_in:
        raise UserError(
            f"expected images of {subnet.ops[0].c_in} channels, as the subnet's first operator "
            f"states, got {channels}"
        )
    subnet = fold(subnet)
    names = [op.path or f"{op.kind}_{i}" for i, op in enumerate(subnet.ops[:-1])] + ["logits"]
    values = [_value(name, op) for name, op in zip(names, subnet.ops, strict=True)]
    nodes = []
    for op, name in zip(subnet.ops, names, strict=True):
        source = (
            subnet.ops[op.inputs[0]]
            if op.inputs[0] >= 0
            else Op("image", "", (), height, width, 0, channels)
        )
        nodes += _nodes(op, ["image" if i == -1 else names[i] for i in op.inputs], name, source)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, channels, height, width))
    graph = helper.make_graph(
        nodes, "subnet", [image], values[-1:], _initializers(subnet, names), value_info=values[:-1]
    )
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(
        graph, ir_version=IR_VERSION, opset_imports=opsets, producer_name="jaxnas"
    )
    helper.set_model_props(model, dict(sorted((properties or {}).items())))
    _check(model, f"{channels} x {height} x {width}")
    return model.SerializeToString(deterministic=True)


def _value(name: str, op: Op) -> ValueInfoProto:
    """An operator's result.

    Stating its shape makes the checker compare the list of operators with the graph.
    """
    shape = (1, op.c_out) if op.kind == "linear" else (1, op.c_out, op.height, op.width)
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _nodes(op: Op, inputs: list[str], name: str, source: Op) -> list[NodeProto]:
    """One to four nodes, the last of which gives `name`; `source` gives the first input."""
    if not op.act:
        return _operator(op, inputs, name, source)
    before = f"{name}/before_{op.act}"
    return _operator(op, inputs, before, source) + _activation(op.act, before, name)


def _operator(op: Op, inputs: list[str], name: str, source: Op) -> list[NodeProto]:
    weights = [f"{op.path}/kernel"] + [f"{op.path}/bias"] * op.bias
    match op.kind:
        case "conv":
            pads = [op.kernel // 2] * 4
            square = [op.kernel] * 2
            strides = [op.stride] * 2
            return [
                _node(
                    "Conv",
                    inputs + weights,
                    name,
                    kernel_shape=square,
                    strides=strides,
                    pads=pads,
                    group=op.groups,
                )
            ]
        case "linear":
            if source.kind == "linear":
                return [_node("Gemm", inputs + weights, name)]
            flat = f"{name}/flat"
            return [_node("Flatten", inputs, flat), _node("Gemm", [flat, *weights], name)]
        case "pool":
            return [_node("GlobalAveragePool", inputs, name)]
        case "avgpool2":
            pads = [source.height % 2, source.width % 2] * 2
            return [
                _node(
                    "AveragePool",
                    inputs,
                    name,
                    kernel_shape=[2, 2],
                    strides=[2, 2],
                    pads=pads,
                    count_include_pad=1,
                )
            ]
        case "mul" | "add":
            return [_node(op.kind.capitalize(), inputs, name)]
        case "maxpool2":
            return [_node("MaxPool", inputs, name, kernel_shape=[2, 2], strides=[2, 2])]
        case "select" if _is_run(op):
            return [_node("Slice", [*inputs, f"{name}/start", f"{name}/stop", "channels"], name)]
        case "select":
            return [
                _node(
                    "Conv",
                    [*inputs, f"{name}/kernel"],
                    name,
                    kernel_shape=[1, 1],
                    strides=[op.stride] * 2,
                )
            ]
        case "concat":
            return [_node("Concat", inputs, name, axis=1)]
    raise UserError(
        f"ONNX export knows {', '.join(KINDS[:-1])}, and identity with a norm, got an operator "
        f"{op.kind!r}"
    )


def _is_run(op: Op) -> bool:
    """Whether a selection is of channels as they are: none of them zeros, no pixel left out."""
    return op.stride == 1 and op.start >= 0 and op.start + op.c_out <= op.c_in


def _activation(act: str, x: str, name: str) -> list[NodeProto]:
    match act:
        case "relu":
            return [_node("Relu", [x], name)]
        case "relu6":
            return [_node("Clip", [x, "relu6/min", "relu6/max"], name)]
        case "swish":
            return [
                _node("Sigmoid", [x], f"{name}/sigmoid"),
                _node("Mul", [x, f"{name}/sigmoid"], name),
            ]
        case "hard_swish":
            return [_node("HardSwish", [x], name)]
        case "hard_sigmoid":
            return [_node("HardSigmoid", [x], name, alpha=1 / 6, beta=0.5)]
    raise UserError(
        "ONNX export knows relu, relu6, swish, hard_swish and hard_sigmoid, got an activation "
        f"{act!r}"
    )


def _node(kind: str, inputs: list[str], name: str, **attributes) -> NodeProto:
    return helper.make_node(kind, inputs, [name], name, **attributes)


def _initializers(subnet: Subnet, names: list[str]) -> list[TensorProto]:
    """The arrays of every path, and what operators without weights need.

    Convolution kernels are (c_out, c_in // groups, k, k).
    """
    tensors = []
    for path in dict.fromkeys(op.path for op in subnet.ops if op.path):
        for name, array in sorted(subnet.weights[path].items()):
            array = np.asarray(array, np.float32)
            array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
            tensors.append(numpy_helper.from_array(np.ascontiguousarray(array), f"{path}/{name}"))
    constants: dict[str, np.ndarray] = {}
    for op, name in zip(subnet.ops, names, strict=True):
        constants |= _constants(op, f"{name}/before_{op.act}" if op.act else name)
    return tensors + [numpy_helper.from_array(array, name) for name, array in constants.items()]


def _constants(op: Op, name: str) -> dict[str, np.ndarray]:
    """Fixed inputs of an operator's nodes, by name."""
    constants = (
        {"relu6/min": np.array(0, np.float32), "relu6/max": np.array(6, np.float32)}
        if op.act == "relu6"
        else {}
    )
    if op.kind != "select":
        return constants
    if not _is_run(op):
        return constants | {
            f"{name}/kernel": np.eye(op.c_out, op.c_in, op.start, np.float32)[..., None, None]
        }
    bounds = {f"{name}/start": [op.start], f"{name}/stop": [op.start + op.c_out], "channels": [1]}
    return constants | {bound: np.array(value, np.int64) for bound, value in bounds.items()}


def _check(model: ModelProto, image: str) -> None:
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.shape_inference.InferenceError as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"expected an image of the size that the subnet's operators state, got {image}: "
            f"{reason}"
        ) from error
