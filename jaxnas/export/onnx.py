"""A subnet as an ONNX file, operator by operator: NCHW, batch norm folded, static shapes, standard operators, no Transpose.

Exporters that trace JAX leave transposes and unfolded norms that no clean-up tool removes, and edge compilers want neither.
Of ONNX's several spellings these are the fastest in ONNX Runtime 1.31 at batch 1 on one CPU thread: Sigmoid and Mul for swish (as
fast as HardSwish), HardSigmoid whole (Add, Clip and Mul make a squeeze-excite 1.4 times slower), GlobalAveragePool (ReduceMean
after a convolution is 1.25 times slower), Flatten and Gemm for linear (MatMul and Add are as fast, a 1x1 Conv is slower for 100
classes and fewer, faster for 1000).
"""

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from jaxnas.errors import UserError
from jaxnas.supernets.subnet import Subnet, fold
from jaxnas.workload import Op

IR_VERSION = 8  # of opset 17's time, so that older runtimes and compilers read the file


def emit(subnet: Subnet, height: int, width: int, channels: int, properties: dict[str, str] | None = None, opset: int = 17) -> bytes:
    """The ONNX file of a subnet: `image` (1, channels, height, width) float32, normalised, to `logits` (1, classes).

    `properties` become the model's metadata. Equal arguments give equal bytes. Raises `UserError` where an image of this shape
    does not lead to the shapes that the subnet's operators state.
    """
    if channels != subnet.ops[0].c_in:
        raise UserError(f"expected images of {subnet.ops[0].c_in} channels, as the subnet's first operator states, got {channels}")
    subnet = fold(subnet)
    names = [op.path or f"{op.kind}_{i}" for i, op in enumerate(subnet.ops[:-1])] + ["logits"]
    values = [_value(name, op) for name, op in zip(names, subnet.ops, strict=True)]
    nodes = []
    for op, name in zip(subnet.ops, names, strict=True):
        source = subnet.ops[op.inputs[0]] if op.inputs[0] >= 0 else None
        size = (source.height, source.width) if source else (height, width)
        nodes += _nodes(op, ["image" if i == -1 else names[i] for i in op.inputs], name, size)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, channels, height, width))
    graph = helper.make_graph(nodes, "subnet", [image], values[-1:], _initializers(subnet), value_info=values[:-1])
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, ir_version=IR_VERSION, opset_imports=opsets, producer_name="jaxnas")
    helper.set_model_props(model, dict(sorted((properties or {}).items())))
    _check(model, f"{channels} x {height} x {width}")
    return model.SerializeToString(deterministic=True)


def _value(name: str, op: Op) -> ValueInfoProto:
    """An operator's result: stating its shape makes the checker compare the list of operators with the graph."""
    shape = (1, op.c_out) if op.kind == "linear" else (1, op.c_out, op.height, op.width)
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _nodes(op: Op, inputs: list[str], name: str, size: tuple[int, int]) -> list[NodeProto]:
    """One to four nodes, the last of which gives `name`; `size` is the height and width of the first input."""
    if not op.act:
        return _operator(op, inputs, name, size)
    before = f"{name}/before_{op.act}"
    return _operator(op, inputs, before, size) + _activation(op.act, before, name)


def _operator(op: Op, inputs: list[str], name: str, size: tuple[int, int]) -> list[NodeProto]:
    weights = [f"{op.path}/kernel"] + [f"{op.path}/bias"] * op.bias
    match op.kind:
        case "conv":
            pads, square, strides = [op.kernel // 2] * 4, [op.kernel] * 2, [op.stride] * 2
            return [_node("Conv", inputs + weights, name, kernel_shape=square, strides=strides, pads=pads, group=op.groups)]
        case "linear":
            flat = f"{name}/flat"
            return [_node("Flatten", inputs, flat), _node("Gemm", [flat, *weights], name)]
        case "pool":
            return [_node("GlobalAveragePool", inputs, name)]
        case "avgpool2":
            pads = [size[0] % 2, size[1] % 2] * 2
            return [_node("AveragePool", inputs, name, kernel_shape=[2, 2], strides=[2, 2], pads=pads, count_include_pad=1)]
        case "mul" | "add":
            return [_node(op.kind.capitalize(), inputs, name)]
    raise UserError(f"ONNX export knows conv, linear, pool, avgpool2, mul and add, got an operator {op.kind!r}")


def _activation(act: str, x: str, name: str) -> list[NodeProto]:
    match act:
        case "relu":
            return [_node("Relu", [x], name)]
        case "relu6":
            return [_node("Clip", [x, "relu6/min", "relu6/max"], name)]
        case "swish":
            return [_node("Sigmoid", [x], f"{name}/sigmoid"), _node("Mul", [x, f"{name}/sigmoid"], name)]
        case "hard_swish":
            return [_node("HardSwish", [x], name)]
        case "hard_sigmoid":
            return [_node("HardSigmoid", [x], name, alpha=1 / 6, beta=0.5)]
    raise UserError(f"ONNX export knows relu, relu6, swish, hard_swish and hard_sigmoid, got an activation {act!r}")


def _node(kind: str, inputs: list[str], name: str, **attributes) -> NodeProto:
    return helper.make_node(kind, inputs, [name], name, **attributes)


def _initializers(subnet: Subnet) -> list[TensorProto]:
    """The arrays of every path, convolution kernels as (c_out, c_in // groups, k, k)."""
    tensors = []
    for path in dict.fromkeys(op.path for op in subnet.ops if op.path):
        for name, array in sorted(subnet.weights[path].items()):
            array = np.asarray(array, np.float32)
            array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
            tensors.append(numpy_helper.from_array(np.ascontiguousarray(array), f"{path}/{name}"))
    if any(op.act == "relu6" for op in subnet.ops):
        tensors += [numpy_helper.from_array(np.array(bound, np.float32), f"relu6/{name}") for name, bound in (("min", 0), ("max", 6))]
    return tensors


def _check(model: ModelProto, image: str) -> None:
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.shape_inference.InferenceError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"expected an image of the size that the subnet's operators state, got {image}: {reason}") from error
