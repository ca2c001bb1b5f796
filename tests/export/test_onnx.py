"""The emitted file against the subnet in JAX.

And against what an exporter that traces JAX makes of the same function.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from jax2onnx import to_onnx

from jaxnas.errors import UserError
from jaxnas.export.int8 import quantise
from jaxnas.export.lint import lint
from jaxnas.export.onnx import emit
from jaxnas.export.proof import onnx_logits, prove, require
from jaxnas.native import library
from jaxnas.networks.activations import ACTIVATIONS
from jaxnas.networks.op import Op
from jaxnas.networks.subnet import Arrays, Subnet
from jaxnas.spaces import published
from jaxnas.supernets.build import build

ALLOWED = {
    "Conv",
    "Gemm",
    "Flatten",
    "GlobalAveragePool",
    "AveragePool",
    "Mul",
    "Add",
    "Relu",
    "Sigmoid",
    "HardSigmoid",
}

SIZES = [
    (7, 7, 3, 3, 2),
    (15, 15, 1, 5, 2),
    (15, 15, 3, 3, 1),
    (16, 16, 1, 5, 1),
    (13, 16, 3, 5, 2),
    (1, 2, 3, 5, 2),
]


@pytest.mark.parametrize(("height", "width", "channels", "kernel", "stride"), SIZES)
def test_emitted_equals_jax(make_subnet, make_images, height, width, channels, kernel, stride):
    subnet = make_subnet(height, width, channels, kernel, stride)
    proof = prove(
        emit(subnet, height, width, channels), subnet, make_images(4, height, width, channels)
    )
    assert 1 < proof.largest_logit < 100  # else a bias would not show
    assert proof.largest_difference < 1e-4 * proof.largest_logit
    assert proof.top1_agreement == 1
    require(proof)


def random_tree(r, tree):
    """The weights (of shapes) and the statistics of a supernet.

    All are far from those of an initialisation.
    """
    if "kernel" not in tree:
        pairs = {name: random_tree(r, branch) for name, branch in tree.items()}
        return {name: pair[0] for name, pair in pairs.items()}, {
            name: pair[1] for name, pair in pairs.items()
        }
    shape = tree["kernel"].shape
    draws = {
        "kernel": r.normal(size=shape) * 1.3 / np.sqrt(np.prod(shape[:-1])),
        "scale": r.uniform(0.5, 1.5, shape[-1]),
        "shift": r.normal(size=shape[-1]) / 2,
        "bias": r.normal(size=shape[-1]) / 3,
    }
    stats = (
        {"mean": r.normal(size=shape[-1]) / 2, "var": r.uniform(0.5, 2, shape[-1])}
        if "scale" in tree
        else {}
    )
    return jax.tree.map(
        lambda array: jnp.asarray(array, jnp.float32), ({name: draws[name] for name in tree}, stats)
    )


@pytest.fixture(scope="module")
def tiny():
    space = published.tiny(image_size=20)
    supernet = build(space)
    shapes_of_params = jax.eval_shape(supernet.init, jax.random.key(0))
    return space, supernet, *random_tree(np.random.default_rng(0), shapes_of_params)


@pytest.mark.parametrize("name", ["smallest", "largest", "random 0", "random 1", "random 2"])
def test_extracted_subnets_of_tiny(tiny, make_images, name):
    space, supernet, params, stats = tiny
    drawn = np.asarray(space.sample(jax.random.key(1), 3))
    genome = getattr(space, name) if hasattr(space, name) else drawn[int(name[-1])]
    subnet = supernet.extract(params, genome, stats)
    proof = prove(emit(subnet, 20, 20, 3), subnet, make_images(4, 20, 20, 3))
    assert 1 < proof.largest_logit < 100  # else a bias would not show
    assert proof.largest_difference < 1e-4 * proof.largest_logit
    require(proof)


@pytest.mark.parametrize("opset", [13, 17])
def test_the_graph_is_static_nchw_folded_and_standard(make_subnet, make_images, opset):
    subnet = make_subnet(15, 14)
    model = onnx.load_from_string(emit(subnet, 15, 14, 3, opset=opset))
    assert onnx_logits(model.SerializeToString(), make_images(1, 15, 14, 3)).shape == (1, 10)
    assert {node.op_type for node in model.graph.node} == ALLOWED
    assert {node.domain for node in model.graph.node} == {""}
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", opset)]
    assert shapes(model.graph.input) == {"image": (1, 3, 15, 14)}
    assert shapes(model.graph.output) == {"logits": (1, 10)}
    assert shapes(model.graph.value_info)["mb1/block0/depthwise"] == (1, 16, 4, 4)
    assert sum(node.op_type == "Conv" for node in model.graph.node) == sum(
        op.kind == "conv" for op in subnet.ops
    )


def shapes(values):
    return {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in values
    }


def test_properties_come_back_and_bytes_repeat(make_subnet):
    subnet = make_subnet(7, 7)
    properties = {"genome": "0 1 2", "classes": "cat, häst", "macs": "12"}
    model = emit(subnet, 7, 7, 3, properties)
    assert {
        entry.key: entry.value for entry in onnx.load_from_string(model).metadata_props
    } == properties
    assert emit(subnet, 7, 7, 3, dict(reversed(properties.items()))) == model
    assert emit(subnet, 7, 7, 3) != model


@pytest.mark.parametrize("act", sorted({*ACTIVATIONS, "hard_swish"}))
def test_every_activation(act):
    net = Subnet(
        (Op("pool", "", (-1,), 1, 1, 101, 101, act=act), linear(101)),
        {"linear": {"kernel": jnp.eye(101)}},
        {},
    )
    values = np.linspace(-8, 8, 101, dtype=np.float32)
    expected = {**ACTIVATIONS, "hard_swish": jax.nn.hard_swish}[act](jnp.asarray(values))
    np.testing.assert_allclose(
        onnx_logits(emit(net, 1, 1, 101), values.reshape(1, 1, 1, 101))[0], expected, atol=1e-6
    )


NEW = {
    "maxpool2": Op("maxpool2", "", (0,), 3, 3, 3, 3),
    "maxpool, all pixels": Op(
        "maxpool", "", (0,), 3, 3, 3, 3, kernel=3, stride=2, padding="ceil", act="relu"
    ),
    "no padding": Op("conv", "a", (0,), 3, 2, 3, 3, kernel=5, groups=3, padding="valid"),
    "select a run": Op("select", "", (0,), 7, 6, 3, 2, start=1, act="relu6"),
    "select with zeros": Op("select", "", (0,), 7, 6, 3, 7, start=-2),
    "select every second": Op("select", "", (0,), 4, 3, 3, 2, stride=2, start=1),
    "concat": Op("concat", "", (0, 0), 7, 6, 6, 6),
    "identity": Op("identity", "a", (0,), 7, 6, 3, 3, norm=True),
    "an activation by itself": Op("identity", "", (0,), 7, 6, 3, 3, act="relu"),
    "avgpool": Op("avgpool", "", (0,), 4, 3, 3, 3, kernel=3, stride=2),
    "maxpool": Op("maxpool", "", (0,), 7, 6, 3, 3, kernel=3),
    "shift": Op("shift", "", (0,), 6, 5, 3, 3),
}


@pytest.mark.parametrize("op", NEW.values(), ids=NEW)
def test_operators_of_hand_designed_networks(op, make_images):
    images = make_images(2, 7, 6, 3)
    weights: Arrays = (
        {"a": {"scale": jnp.array([0.5, 1, 2]), "shift": jnp.array([1.0, 0, -1])}}
        if op.norm
        else {}
    )
    stats: Arrays = (
        {"a": {"mean": jnp.array([1.0, -1, 0]), "var": jnp.array([0.5, 2, 1])}} if op.norm else {}
    )

    if op.kind == "conv":
        weights = {"a": {"kernel": jnp.linspace(-1, 2, 75).reshape(5, 5, 1, 3)}}

    def net(op):
        head = (
            Op("pool", "", (1,), 1, 1, op.c_out, op.c_out),
            replace(linear(op.c_out), inputs=(2,)),
        )
        last: Arrays = {"linear": {"kernel": jnp.eye(op.c_out)}}
        return Subnet((Op("add", "", (-1, -1), 7, 6, 3, 3), op, *head), weights | last, stats)

    proof = prove(emit(net(op), 7, 6, 3), net(op), images)
    assert proof.largest_difference < 1e-5 < 0.1 < proof.largest_logit
    if op.kind == "select":
        assert (
            prove(
                emit(net(op), 7, 6, 3), net(replace(op, start=op.start - 1)), images
            ).largest_difference
            > 0.1
        )


DILATED = {
    "depthwise": Op("conv", "dilated", (-1,), 7, 6, 3, 3, kernel=5, groups=3, dilation=2),
    "ordinary, stride 2": Op("conv", "dilated", (-1,), 4, 3, 3, 3, 3, 2, dilation=2),
}


@pytest.mark.parametrize("op", DILATED.values(), ids=DILATED)
def test_dilated_convolutions(op, make_images):
    kernel = np.random.default_rng(0).normal(size=(op.kernel, op.kernel, 3 // op.groups, 3))
    weights: Arrays = {
        "dilated": {"kernel": jnp.asarray(kernel, jnp.float32)},
        "linear": {"kernel": jnp.eye(3)},
    }
    pool = Op("pool", "", (0,), 1, 1, 3, 3)
    net = Subnet((op, pool, replace(linear(3), inputs=(1,))), weights, {})
    proof = prove(emit(net, 7, 6, 3), net, make_images(2, 7, 6, 3))
    assert proof.largest_difference < 1e-5 < 0.1 < proof.largest_logit


def dead_cell(fed: tuple[int, ...]) -> Subnet:
    """A zero, a convolution of it, a norm that shifts it, and what is added to that, if any."""
    ops = (
        Op("conv", "unread", (-1,), 7, 6, 3, 3),
        Op("zero", "", (0,), 7, 6, 3, 3),
        Op("conv", "of nothing", (1,), 7, 6, 3, 3, kernel=3, norm=True, act="relu"),
        Op("conv", "of a constant", (2,), 7, 6, 3, 3, kernel=3),
        Op("add", "", (3, *fed), 7, 6, 3, 3) if fed else Op("identity", "", (3,), 7, 6, 3, 3),
        Op("pool", "", (4,), 1, 1, 3, 3),
        replace(linear(3), inputs=(5,)),
    )
    r = np.random.default_rng(0)
    weights: Arrays = {
        path: {"kernel": jnp.asarray(r.normal(size=(size, size, 3, 3)), jnp.float32)}
        for path, size in (("unread", 1), ("of nothing", 3), ("of a constant", 3))
    }
    weights["of nothing"] |= {"scale": jnp.ones(3), "shift": jnp.array([1.0, -1, 2])}
    weights["linear"] = {"kernel": jnp.eye(3)}
    stats: Arrays = {"of nothing": {"mean": jnp.zeros(3), "var": jnp.zeros(3)}}
    return Subnet(ops, weights, stats)


@pytest.mark.parametrize(
    ("fed", "expected"),
    [((-1,), ["Add", "GlobalAveragePool", "Flatten", "Gemm"]), ((), ["Flatten", "Gemm"])],
    ids=["added to the image", "the whole network"],
)
def test_what_no_image_changes_is_a_constant(fed, expected, make_images):
    net = dead_cell(fed)
    images = make_images(2, 7, 6, 3)
    model = emit(net, 7, 6, 3)
    proof = prove(model, net, images)
    assert proof.largest_difference < 1e-5 < 0.1 < proof.largest_logit
    graph = onnx.load_model_from_string(model).graph
    assert [node.op_type for node in graph.node] == expected
    assert {one.name for one in graph.initializer} <= {n for node in graph.node for n in node.input}
    assert not [one for one in lint(model, "onnxruntime") if one.refused]
    assert np.isfinite(onnx_logits(quantise(model, images), images)).all()


def linear(channels):
    return Op("linear", "linear", (0,), 1, 1, channels, channels)


def test_what_cannot_be_said_is_refused(make_subnet):
    with pytest.raises(UserError, match=r"expected an image of the size .* got 3 x 17 x 15: "):
        emit(make_subnet(15, 15), 17, 15, 3)
    with pytest.raises(UserError, match=r"expected images of 3 channels, .* got 1"):
        emit(make_subnet(15, 15), 15, 15, 1)
    pool = Op("pool", "", (-1,), 1, 1, 3, 3, act="gelu")
    with pytest.raises(UserError, match="unknown activation to export 'gelu'; known: hard_sigmoid"):
        emit(Subnet((pool, linear(3)), {"linear": {"kernel": jnp.eye(3)}}, {}), 4, 4, 3)
    with pytest.raises(UserError, match="unknown operator to export 'attention'; known: add"):
        emit(Subnet((Op("attention", "", (-1,), 4, 4, 3, 3),), {}, {}), 4, 4, 3)


def test_jax2onnx_says_the_same(make_subnet, make_images, monkeypatch):
    monkeypatch.setattr(library, "available", lambda: False)  # it knows operators of JAX alone
    subnet = make_subnet(15, 15, 3, 5, 2)
    images = make_images(3, 15, 15, 3)
    theirs = to_onnx(
        lambda images: subnet(images),
        [jax.ShapeDtypeStruct((1, 15, 15, 3), jnp.float32)],
        inputs_as_nchw=[0],
        input_names=["image"],
        output_names=["logits"],
    )
    ours = onnx_logits(emit(subnet, 15, 15, 3), images)
    assert ours.std() > 0.5
    np.testing.assert_allclose(onnx_logits(theirs.SerializeToString(), images), ours, atol=1e-4)
