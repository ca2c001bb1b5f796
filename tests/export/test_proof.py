"""The proof accepts a faithful file and refuses planted bugs."""

import math
from dataclasses import replace

import jax
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from jaxnas.errors import UserError
from jaxnas.export.onnx import emit
from jaxnas.export.proof import Proof, prove, require
from jaxnas.networks.subnet import Subnet


def change_array(name, change):
    """A bug in the weights: `change` edits a copy of the array in place."""

    def plant(graph):
        tensor = next(tensor for tensor in graph.initializer if tensor.name == name)
        array = np.array(numpy_helper.to_array(tensor))
        change(array)
        tensor.CopyFrom(numpy_helper.from_array(array, name))

    return plant


def change_attribute(node_name, name, value):
    def plant(graph):
        node = next(node for node in graph.node if node.name == node_name)
        kept = [attribute for attribute in node.attribute if attribute.name != name]
        assert len(kept) == len(node.attribute) - 1
        del node.attribute[:]
        node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])

    return plant


def one_more(array):
    array[3] += 0.02


def swap_first_two(array):
    array[[0, 1]] = array[[1, 0]]


def swap_colours(array):
    array[:] = array[:, ::-1].copy()


def set_nan(array):
    array[0] = math.nan


BUGS = {
    "one bias": change_array("mb1/block0/project/bias", one_more),
    "one bias of squeeze-excite": change_array("mb1/block0/excite/bias", one_more),
    "swapped channels": change_array("mb1/block0/depthwise/kernel", swap_first_two),
    "blue for red": change_array("stem/kernel", swap_colours),
    "NaN": change_array("classifier/bias", set_nan),
    "pad on one side": change_attribute("mb1/block0/depthwise/before_swish", "pads", [0, 0, 2, 2]),
    "padding not counted": change_attribute("avgpool2_8", "count_include_pad", 0),
    "another slope": change_attribute("mb1/block0/excite", "alpha", 0.2),
}


def planted(model, plant):
    model = onnx.load_from_string(model)
    plant(model.graph)
    return model.SerializeToString()


@pytest.mark.parametrize("plant", BUGS.values(), ids=BUGS.keys())
def test_planted_bugs_are_refused(make_subnet, make_images, plant):
    subnet = make_subnet(13, 13)
    images = make_images(4, 13, 13, 3)
    model = emit(subnet, 13, 13, 3)
    require(prove(model, subnet, images))
    with pytest.raises(UserError, match=r"must agree with JAX .* over 4 images") as error:
        require(prove(planted(model, plant), subnet, images))
    assert "\n" not in str(error.value)


def test_figures(make_subnet, make_images):
    subnet = make_subnet(7, 7)
    images = make_images(5, 7, 7, 3)
    logits = np.asarray(jax.jit(Subnet.__call__)(subnet, images))
    lowest = logits.min(0).argmin()

    def favour_one_class(bias):
        bias[lowest] += 1000

    proof = prove(
        planted(emit(subnet, 7, 7, 3), change_array("classifier/bias", favour_one_class)),
        subnet,
        images,
    )
    np.testing.assert_allclose(proof.largest_difference, 1000, rtol=1e-5)
    np.testing.assert_allclose(proof.largest_logit, np.abs(logits).max(), rtol=1e-5)
    np.testing.assert_allclose(
        proof.largest_margin, (logits.max(1) - logits[:, lowest]).max(), rtol=1e-4
    )
    assert proof.top1_agreement == np.mean(logits.argmax(1) == lowest) < 1
    assert proof.images == 5


def test_a_tie_may_fall_either_way(make_subnet, make_images):
    subnet = make_subnet(7, 7)
    images = make_images(5, 7, 7, 3)
    classifier = subnet.weights["classifier"]
    twins = {
        "kernel": classifier["kernel"].at[:, 1].set(classifier["kernel"][:, 0]),
        "bias": classifier["bias"].at[:2].set(100),
    }
    subnet = replace(subnet, weights=subnet.weights | {"classifier": twins})

    def prefer_the_second(bias):
        bias[1] += 1e-3

    proof = prove(
        planted(emit(subnet, 7, 7, 3), change_array("classifier/bias", prefer_the_second)),
        subnet,
        images,
    )
    assert proof.top1_agreement == 0
    require(proof)


GOOD = Proof(
    largest_difference=1e-5, largest_logit=10.0, top1_agreement=1.0, images=8, largest_margin=0.0
)


def test_the_limit_grows_with_the_logits_but_never_below_one():
    require(replace(GOOD, largest_difference=0.9e-3))
    require(replace(GOOD, largest_difference=0.9e-4, largest_logit=0.1))
    require(replace(GOOD, largest_difference=0.09), tolerance=0.01)
    for bad in (
        replace(GOOD, largest_difference=1.1e-3),
        replace(GOOD, largest_difference=1.1e-4, largest_logit=0.1),
        replace(GOOD, largest_difference=math.nan),
        replace(GOOD, largest_difference=math.inf, largest_logit=math.inf),
        replace(GOOD, top1_agreement=0.875, largest_margin=0.1),
    ):
        with pytest.raises(UserError, match="must agree"):
            require(bad)


def test_no_images_is_an_error(make_subnet, make_images):
    subnet = make_subnet(7, 7)
    with pytest.raises(UserError, match="at least one image"):
        prove(emit(subnet, 7, 7, 3), subnet, make_images(0, 7, 7, 3))
