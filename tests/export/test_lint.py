"""Files that a target would refuse, each for one reason.

And every network that we write, which none refuses.
"""

import jax
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from jaxnas.errors import UserError
from jaxnas.export.int8 import quantise
from jaxnas.export.lint import TARGETS, Finding, lint, require_accepted
from jaxnas.export.onnx import emit


def model(nodes, shape=(1, 3, 8, 8), opset=17, kind=TensorProto.FLOAT, inputs=1, domain=""):
    """A file of these nodes, the first of which reads `image`; the last writes `logits`.

    `kernel` is 4 x 3 x 1 x 1.
    """
    images = [helper.make_tensor_value_info("image" + "_2" * i, kind, shape) for i in range(inputs)]
    kernel = numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32), "kernel")
    graph = helper.make_graph(
        nodes,
        "g",
        images,
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [kernel],
    )
    graph = onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    ).graph
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets).SerializeToString()


def conv(out="logits", name="stem"):
    return helper.make_node("Conv", ["image", "kernel"], [out], name)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("stride", [1, 2])
def test_no_target_refuses_what_we_write(make_subnet, target, stride):
    subnet = make_subnet(16, 16, stride=stride)
    findings = lint(emit(subnet, 16, 16, 3, opset=TARGETS[target].opset), target)
    require_accepted(findings, target)
    # Hard sigmoid; pools of 8 x 8.
    doubts = ["mb1/block0/excite"] if stride == 2 else ["pool_3", "mb1/block0/excite", "pool_10"]
    assert [one.layer for one in findings] == (doubts if target == "hailo8l" else [])


def test_onnx_runtime_takes_the_int8_twin_and_others_do_not(make_subnet, make_images):
    twin = quantise(emit(make_subnet(16, 16), 16, 16, 3), make_images(4, 16, 16, 3))
    require_accepted(lint(twin, "onnxruntime"), "onnxruntime")
    with pytest.raises(UserError, match="QuantizeLinear"):
        require_accepted(lint(twin, "hailo8l"), "hailo8l")


REFUSED = {
    "a dynamic batch": (
        model([conv()], shape=("n", 3, 8, 8)),
        "image",
        r"static shape .* got \(0, 3, 8, 8\)",
    ),
    "batches": (model([conv()], shape=(2, 3, 8, 8)), "image", r"got \(2, 3, 8, 8\)"),
    "a vector": (
        model([helper.make_node("Relu", ["image"], ["logits"], "act")], shape=(1, 3)),
        "image",
        "static shape",
    ),
    "bytes": (
        model([helper.make_node("Relu", ["image"], ["logits"], "act")], kind=TensorProto.DOUBLE),
        "image",
        "float32",
    ),
    "two inputs": (model([conv()], inputs=2), "model", "one input is expected, got 2"),
    "a new opset": (model([conv()], opset=19), "model", "opsets 11 to 17, got 19"),
    "another domain": (model([conv()], domain="com.microsoft"), "model", "com.microsoft"),
    "a transpose": (
        model(
            [conv("x"), helper.make_node("Transpose", ["x"], ["logits"], "turn", perm=[0, 2, 3, 1])]
        ),
        "turn",
        "does not take the operator Transpose",
    ),
    "a flattened image": (
        model([conv("x"), helper.make_node("Flatten", ["x"], ["logits"], "flat")]),
        "flat",
        "must follow a global pool, here its input is 8 x 8",
    ),
}


@pytest.mark.parametrize(("file", "layer", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_hailo_refuses_and_why(file, layer, reason):
    findings = lint(file, "hailo8l")
    assert [one.layer for one in findings if one.refused] == [layer]
    with pytest.raises(UserError, match=f"hailo8l would refuse the network: {layer}: .*{reason}"):
        require_accepted(findings, "hailo8l")


def test_a_large_pool_and_an_odd_name_are_doubts_only():
    nodes = [conv("x", "stem #1"), helper.make_node("GlobalAveragePool", ["x"], ["logits"], "pool")]
    findings = lint(model(nodes), "hailo8l")
    assert [(one.layer, one.refused) for one in findings] == [("stem #1", False), ("pool", False)]
    require_accepted(findings, "hailo8l")
    assert lint(model(nodes), "generic") == [Finding("stem #1", findings[0].reason, refused=False)]


def test_an_unknown_target_lists_the_known_ones():
    with pytest.raises(UserError, match="known: generic, hailo8l, onnxruntime"):
        lint(model([conv()]), "coral")


@pytest.mark.parametrize("name", ["tiny", "cifar", "ofa_mobilenet_v3_cifar"])
def test_networks_of_the_spaces(name):
    from jaxnas.config import SPACES
    from jaxnas.supernets.build import build
    from jaxnas.training.recalibrate import statistics

    space = SPACES[name](32, 3, 10)
    net = build(space)
    shapes = jax.eval_shape(net.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)
    size = space.resolutions[0]
    images = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
    stats = jax.eval_shape(
        lambda params, images: statistics(net, params, jax.numpy.asarray(space.smallest), images),
        params,
        images,
    )
    stats = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), stats)
    subnet = net.extract(params, space.smallest, stats)
    for target in TARGETS:
        require_accepted(
            lint(emit(subnet, size, size, 3, opset=TARGETS[target].opset), target), target
        )
