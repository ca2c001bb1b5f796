"""The int8 twin of a file: what it is made of, that it is close, and that nothing else changed."""

import numpy as np
import onnx
import pytest

from jaxnas.errors import UserError
from jaxnas.export.int8 import quantise
from jaxnas.export.onnx import emit
from jaxnas.export.proof import onnx_logits


@pytest.fixture(scope="module")
def images(make_images):
    return make_images(64, 16, 16, 3)


@pytest.fixture(scope="module")
def models(make_subnet, images):
    model = emit(make_subnet(16, 16), 16, 16, 3, {"space": "by hand"})
    return model, quantise(model, images)


def test_weights_are_int8_per_channel_and_activations_uint8_per_tensor(models):
    twin = onnx.load_model_from_string(models[1])
    onnx.checker.check_model(twin, full_check=True)
    arrays = {one.name: onnx.numpy_helper.to_array(one) for one in twin.graph.initializer}
    kernel = arrays["mb1/block0/depthwise/kernel_quantized"]
    assert kernel.dtype == np.int8 and arrays["mb1/block0/depthwise/kernel_scale"].shape == (16,)
    assert arrays["image_zero_point"].dtype == np.uint8 and arrays["image_scale"].shape == ()
    assert not [
        node for node in twin.graph.node if node.op_type in ("Transpose", "Reshape", "Cast")
    ]


def test_logits_are_close_and_not_the_same(models, images):
    exact, rounded = (onnx_logits(model, images) for model in models)
    spread = exact.std()
    assert 0 < np.abs(exact - rounded).mean() < 0.2 * spread
    assert np.corrcoef(exact.ravel(), rounded.ravel())[0, 1] > 0.97


def test_metadata_stay_and_say_int8(models):
    properties = {
        one.key: one.value for one in onnx.load_model_from_string(models[1]).metadata_props
    }
    assert properties == {
        "space": "by hand",
        "precision": "int8",
        "without_vnni": "session.x64quantprecision=1",
    }


def test_the_same_images_give_the_same_bytes(models, images):
    assert quantise(models[0], images) == models[1]
    assert quantise(models[0], 2 * images) != models[1]


def test_no_images(models):
    with pytest.raises(UserError, match="at least one calibration image"):
        quantise(models[0], np.zeros((0, 16, 16, 3), np.float32))
