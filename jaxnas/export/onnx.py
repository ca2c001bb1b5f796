"""A subnet as an ONNX file, operator by operator.

NCHW, batch norm folded, static shapes, standard operators, no Transpose. Exporters that trace JAX
leave transposes and unfolded norms that no clean-up tool removes, and edge compilers want neither.
"""

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from jaxnas.errors import UserError, choose
from jaxnas.export.emitters import ACTIVATION_EMITTERS, EMITTERS, Asked, Emitted
from jaxnas.networks.op import Op
from jaxnas.networks.subnet import Subnet, fold, norm_act, operate

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
    whole = _whole(subnet, names, Op("image", "", (), height, width, 0, channels))
    nodes, read = _needed(whole.nodes)
    shape = (1, channels, height, width)
    given = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    values = [
        _value(name, op)
        for name, op in zip(names, subnet.ops, strict=True)
        if name in read and name not in whole.constants
    ]
    fixed = [numpy_helper.from_array(x, name) for name, x in whole.constants.items()]
    tensors = [one for one in (*_weights(subnet), *fixed) if one.name in read]
    graph = helper.make_graph(
        nodes, "subnet", [given], values[-1:], tensors, value_info=values[:-1]
    )
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(
        graph, ir_version=IR_VERSION, opset_imports=opsets, producer_name="jaxnas"
    )
    helper.set_model_props(model, dict(sorted((properties or {}).items())))
    _check(model, f"{channels} x {height} x {width}")
    return model.SerializeToString(deterministic=True)


def _whole(subnet: Subnet, names: list[str], image: Op) -> Emitted:
    """All operators; one that no image changes, a zero's reader, is no node but a constant."""
    nodes: list[NodeProto] = []
    constants: dict[str, np.ndarray] = {}
    for op, name in zip(subnet.ops, names, strict=True):
        source = subnet.ops[op.inputs[0]] if op.inputs[0] >= 0 else image
        inputs = ["image" if i == -1 else names[i] for i in op.inputs]
        if name != names[-1] and constants.keys() >= {*inputs}:
            constants[name] = _computed(op, subnet, [constants[before] for before in inputs])
        else:
            emitted = _emitted(Asked(op, inputs, name, source))
            nodes += emitted.nodes
            constants |= emitted.constants
    return Emitted(nodes, constants)


def _computed(op: Op, subnet: Subnet, inputs: list[np.ndarray]) -> np.ndarray:
    """The result of an operator of constants; all are NCHW."""
    maps = [jnp.asarray(np.moveaxis(x, 1, -1)) for x in inputs]
    with jax.default_matmul_precision("highest"):
        x = norm_act(op, subnet.weights, operate(op, subnet.weights, maps), {})
    return np.moveaxis(np.asarray(x), -1, 1)


def _needed(nodes: list[NodeProto]) -> tuple[list[NodeProto], set[str]]:
    """The nodes that the logits depend on, and the names of what they give and read."""
    read = {"logits"}
    left: list[NodeProto] = []
    for node in reversed(nodes):
        if read & {*node.output}:
            left.insert(0, node)
            read |= {*node.input}
    return left, read


def _value(name: str, op: Op) -> ValueInfoProto:
    """An operator's result.

    Stating its shape makes the checker compare the list of operators with the graph.
    """
    flat = op.kind in ("linear", "flatten")
    shape = (1, op.c_out) if flat else (1, op.c_out, op.height, op.width)
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _emitted(asked: Asked) -> Emitted:
    """Nodes of an operator and its activation, the last of which gives the result."""
    op = asked.op
    emit = choose("operator to export", op.kind, EMITTERS)
    if not op.act:
        return emit(asked)
    if op.kind == "identity":
        return ACTIVATION_EMITTERS[op.act](asked)
    act = choose("activation to export", op.act, ACTIVATION_EMITTERS)
    before = f"{asked.name}/before_{op.act}"
    first = emit(asked._replace(name=before))
    then = act(asked._replace(inputs=[before]))
    constants = {**first.constants, **then.constants}
    return Emitted(first.nodes + then.nodes, constants)


def _weights(subnet: Subnet) -> list[TensorProto]:
    """The arrays of every path, convolution kernels as (c_out, c_in // groups, k, k)."""
    tensors = []
    for path in dict.fromkeys(op.path for op in subnet.ops if op.path):
        for name, array in sorted(subnet.weights[path].items()):
            array = np.asarray(array, np.float32)
            array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
            tensors.append(numpy_helper.from_array(np.ascontiguousarray(array), f"{path}/{name}"))
    return tensors


def _check(model: ModelProto, image: str) -> None:
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.shape_inference.InferenceError as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"expected an image of the size that the subnet's operators state, got {image}: "
            f"{reason}"
        ) from error
