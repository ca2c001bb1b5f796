"""What a target would refuse of an ONNX file, found before its compiler runs.

The layer, and the reason.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import onnx
from onnx import GraphProto, ModelProto, NodeProto

from jaxnas.errors import UserError, choose


@dataclass(frozen=True)
class Finding:
    """Something about a layer; `refused` where the target is known to stop at it, else it may."""

    layer: str  # the node's name; "model" for the file as a whole
    reason: str
    refused: bool = True


@dataclass(frozen=True)
class Target:
    """What a consumer of ONNX files takes."""

    opset: int  # that files for it are written in
    opsets: range
    operators: frozenset[str]
    # Of the operators: seen to work, or not, in reports that contradict each other.
    doubtful: frozenset[str] = frozenset()
    dense_after_pool: bool = False  # a dense layer must follow a global pool
    # Side of a pooling window from which quantisation may fail; 0 = none is too large.
    largest_pool: int = 0


PLAIN = frozenset(
    {
        *("Conv", "Gemm", "Flatten", "Add", "Mul", "Concat", "Slice"),
        *("Relu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Softmax"),
        *("AveragePool", "GlobalAveragePool", "MaxPool"),
    }
)
TARGETS = {
    "generic": Target(17, range(14, 24), PLAIN),
    "onnxruntime": Target(17, range(14, 24), PLAIN | {"QuantizeLinear", "DequantizeLinear"}),
    # The Dataflow Compiler 3.x. Its dense layers follow a global pool; pooling windows of 7 and
    # more overflowed a shift in 3.32.
    "hailo8l": Target(
        17,
        range(11, 18),
        PLAIN,
        frozenset({"HardSigmoid", "HardSwish", "Slice"}),
        dense_after_pool=True,
        largest_pool=7,
    ),
}
TYPES = (onnx.TensorProto.FLOAT,)
ODD = re.compile(r"[^A-Za-z0-9_./:-]")


def lint(model: bytes, target: str) -> list[Finding]:
    """All that the target, one of `TARGETS`, would refuse or may refuse; refusals first."""
    accepts = choose("target", target, TARGETS)
    loaded = onnx.load_model_from_string(model)
    found = [
        *_file(loaded, accepts),
        *_inputs(loaded.graph),
        *_nodes(loaded.graph, accepts, target),
    ]
    return sorted(found, key=lambda one: not one.refused)


def takes_int8(target: str) -> bool:
    """Whether the target runs files that say how they are quantised.

    Others quantise by themselves.
    """
    return "QuantizeLinear" in choose("target", target, TARGETS).operators


def require_accepted(findings: list[Finding], target: str) -> None:
    """Raise `UserError` with the refusals, if there are any."""
    refused = [f"{one.layer}: {one.reason}" for one in findings if one.refused]
    if refused:
        raise UserError(
            f"{target} would refuse the network: {'; '.join(refused)}; choose operators that it "
            "takes, or another target"
        )


def _file(model: ModelProto, target: Target) -> Iterator[Finding]:
    versions = {one.domain: one.version for one in model.opset_import}
    opset = versions.get("", 0)
    if opset not in target.opsets:
        yield Finding(
            "model",
            f"it takes opsets {target.opsets.start} to {target.opsets.stop - 1}, got {opset}",
        )
    foreign = sorted(set(versions) - {"", "ai.onnx"})
    if foreign:
        yield Finding("model", f"operators of other domains: {', '.join(foreign)}")


def _inputs(graph: GraphProto) -> Iterator[Finding]:
    """One float image, NCHW, of static shape and batch 1."""
    weights = {one.name for one in graph.initializer}
    images = [one for one in graph.input if one.name not in weights]
    if len(images) != 1:
        yield Finding("model", f"one input is expected, got {len(images)}")
    for image in images:
        kind = image.type.tensor_type
        shape = [size.dim_value if size.HasField("dim_value") else 0 for size in kind.shape.dim]
        if kind.elem_type not in TYPES:
            yield Finding(image.name, "the input must be float32")
        if len(shape) != 4 or min(shape, default=0) < 1 or shape[0] != 1:
            yield Finding(
                image.name,
                (
                    "the input must have the static shape (1, channels, height, width), got "
                    f"{tuple(shape)}"
                ),
            )


def _nodes(graph: GraphProto, target: Target, name: str) -> Iterator[Finding]:
    shapes = _shapes(graph)
    for node in graph.node:
        layer = node.name or node.output[0]
        if node.op_type not in target.operators:
            yield Finding(layer, f"{name} does not take the operator {node.op_type}")
        elif node.op_type in target.doubtful:
            yield Finding(
                layer, f"reports differ whether {name} takes {node.op_type}", refused=False
            )
        if ODD.search(layer):
            yield Finding(
                layer, "its name has characters beyond letters, digits and _ . / : -", refused=False
            )
        yield from _shaped(node, layer, shapes, target)


def _shaped(
    node: NodeProto, layer: str, shapes: dict[str, list[int]], target: Target
) -> Iterator[Finding]:
    """What depends on the size of the node's input."""
    before = shapes.get(node.input[0], []) if node.input else []
    if (
        node.op_type == "Flatten"
        and target.dense_after_pool
        and before[2:]
        and before[2:] != [1, 1]
    ):
        yield Finding(
            layer,
            f"a dense layer must follow a global pool, here its input is {before[2]} x {before[3]}",
        )
    if (
        node.op_type == "GlobalAveragePool"
        and target.largest_pool
        and before[2:]
        and max(before[2:]) >= target.largest_pool
    ):
        yield Finding(
            layer,
            (
                f"pooling {before[2]} x {before[3]} may overflow in quantisation: split it by "
                "division factors"
            ),
            refused=False,
        )
    if node.op_type == "Conv" and len(before) not in (0, 4):
        yield Finding(layer, f"convolutions must be of images, here of rank {len(before)}")


def _shapes(graph: GraphProto) -> dict[str, list[int]]:
    known = [*graph.input, *graph.value_info, *graph.output]
    return {one.name: [size.dim_value for size in one.type.tensor_type.shape.dim] for one in known}
