"""Reading an ONNX file: what the compiler takes, what it refuses, and what it has to count."""

from dataclasses import dataclass

import onnx
from onnx import numpy_helper, shape_inference

from .model_translator.exceptions import ParsingWithRecommendationException, UnsupportedModelError

OPSETS = range(11, 18)
SHUFFLES = ("Reshape", "Transpose")
ACCEPTED = {
    *(
        "Conv",
        "Relu",
        "Clip",
        "LeakyRelu",
        "PRelu",
        "Sigmoid",
        "Tanh",
        "HardSwish",
        "HardSigmoid",
        "Add",
        "Sub",
        "Mul",
        "Div",
    ),
    *(
        "Concat",
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "Gemm",
        "MatMul",
        "Softmax",
        "Flatten",
        "BatchNormalization",
    ),
}
POOLS = ("MaxPool", "AveragePool")


@dataclass
class Network:
    """What a chip is to do, in millions where a count."""

    height: int
    width: int
    channels: int
    classes: int
    dense: float = 0.0
    depthwise: float = 0.0
    elementwise: float = 0.0
    params: float = 0.0
    lines: float = 0.0
    fill: float = 0.0
    gates: int = 0


def read(path):
    """The network in an ONNX file. Raises as the compiler's parser does."""
    model = onnx.load(path)
    check_opset(model)
    graph = shape_inference.infer_shapes(model).graph
    shapes = {
        value.name: shape_of(value) for value in [*graph.input, *graph.value_info, *graph.output]
    }
    check_input(graph, shapes)
    check_nodes(graph, shapes)
    return counted(graph, shapes)


def shape_of(value):
    return [axis.dim_value or axis.dim_param or "?" for axis in value.type.tensor_type.shape.dim]


def check_opset(model):
    (opset,) = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if opset not in OPSETS:
        raise UnsupportedModelError(
            f"ONNX opset {opset} is unsupported, use {OPSETS.start} to {OPSETS.stop - 1}"
        )


def check_input(graph, shapes):
    (image,) = [value.name for value in graph.input]
    if not all(isinstance(size, int) for size in shapes[image]):
        raise ValueError(f"Unspecified inputs: {{'{image}': {shapes[image]}}}")
    _ = shapes[image][3]  # an IndexError, as the parser has it, for what is not of rank 4


def check_nodes(graph, shapes):
    errors = []
    last = ""
    for node in graph.node:
        error = refused(node, shapes)
        if error:
            errors.append(f"{error[0]} in op {node.name}: {error[1]}")
        elif not errors:
            last = node.name
    if errors:
        message = "Parsing failed. The errors found in the graph are:\n " + "\n ".join(errors)
        raise ParsingWithRecommendationException(message, [last] if last else [])


def refused(node, shapes):
    spatial = node.op_type == "Flatten" and shapes[node.input[0]][2:] != [1, 1]
    if node.op_type in SHUFFLES or spatial:
        return (
            "UnsupportedShuffleLayerError",
            f"Failed to determine type of layer to create in node {node.name}",
        )
    if node.op_type == "Erf":
        return "UnsupportedActivationLayerError", f"Unexpected activation at {node.name}, op=Erf"
    if node.op_type not in ACCEPTED:
        return "UnsupportedOperationError", f"{node.op_type} operation is unsupported"
    return None


def counted(graph, shapes):
    _, channels, height, width = shapes[graph.input[0].name]
    network = Network(height, width, channels, shapes[graph.output[0].name][1])
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    network.params = sum(array.size for array in weights.values()) / 1e6
    for node in graph.node:
        count(network, node, shapes, weights)
    return network


def count(network, node, shapes, weights):
    """Add a node's work, as the formula in chip.py wants it."""
    before = shapes.get(node.input[0], [])
    after = shapes.get(node.output[0], [])
    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    if node.op_type == "Conv":
        weight = weights[node.input[1]]
        macs = weight.size * after[2] * after[3] / 1e6
        depthwise = attributes.get("group", 1) == before[1] > 1
        network.depthwise += depthwise * macs
        network.dense += (not depthwise) * macs
        hold(network, weight.shape[2], attributes.get("strides", [1])[0], before, after)
    elif node.op_type == "Gemm":
        network.dense += weights[node.input[1]].size / 1e6
    elif node.op_type in POOLS or (node.op_type == "Add" and len(after) == 4):
        kernel = attributes["kernel_shape"][0] if node.op_type in POOLS else 1
        network.elementwise += after[1] * after[2] * after[3] / 1e6
        hold(network, kernel, attributes.get("strides", [1])[0], before, after)
    elif node.op_type == "Mul" and shapes.get(node.input[1], [])[2:] == [1, 1] != after[2:]:
        network.gates += 1


def hold(network, kernel, stride, before, after):
    network.lines += kernel * stride * after[3] * before[1] / 1e6
    network.fill += kernel / after[2] if after[2] > 1 else 0
