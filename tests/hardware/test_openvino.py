"""As test_onnxruntime.py, of the second runtime; skipped where it is not installed."""

import importlib.metadata
import math
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from jaxnas.errors import UserError
from jaxnas.hardware import openvino as runtime
from jaxnas.hardware.device import ExportedModel
from jaxnas.hardware.openvino import OpenVino


def test_a_machine_without_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(runtime, "find_spec", lambda name: None)
    with pytest.raises(
        UserError,
        match=(
            r"needs the package openvino, which is not installed: run `pip install -e "
            r"'\.\[openvino\]'` in a checkout"
        ),
    ):
        OpenVino()


@pytest.fixture(scope="module")
def openvino():
    return pytest.importorskip("openvino")


def network(shape=(1, 3, 8, 8), kind="Conv", channels=3):
    weight = numpy_helper.from_array(np.ones((3, channels, 3, 3), np.float32), "weight")
    nodes = [helper.make_node(kind, ["image", "weight"], ["y"], pads=[1] * 4)]
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    model = helper.make_model(
        helper.make_graph(nodes, "net", inputs, outputs, [weight]),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    model.ir_version = 9
    return model.SerializeToString()


def measure(model, **settings):
    return OpenVino(**{"seconds": 0.01, **settings}).measure(
        ExportedModel(model, np.zeros(3, np.int32))
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_a_network_is_timed(openvino, threads):
    measurement = measure(network(), threads=threads)
    assert measurement.failure == ""
    assert (
        0
        < measurement.latency_ms
        <= measurement.p10_ms
        <= measurement.median_ms
        <= measurement.p90_ms
        <= measurement.p99_ms
    )
    assert measurement.repeats >= 20 and 0 <= measurement.noise_floor <= 0.1
    assert (measurement.device, measurement.threads) == ("openvino", threads)
    assert measurement.runtime == f"openvino {importlib.metadata.version('openvino')}"
    assert measurement.processor


def test_a_file_is_as_good_as_bytes(openvino, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(network())
    assert measure(path).failure == ""


def test_it_computes_what_onnx_runtime_computes_in_float32_on_the_threads_asked_for(
    openvino, monkeypatch
):
    import onnxruntime

    compiled = []
    settings = []
    requests = []
    results = []

    class Core(openvino.Core):
        def compile_model(self, *arguments):
            settings.append(arguments[2])
            compiled.append(super().compile_model(*arguments))
            requests.append(compiled[-1].create_infer_request())
            return SimpleNamespace(create_infer_request=lambda: requests[-1])

    def run_once(run, seconds):
        run()
        results.append(
            (
                requests[-1].get_input_tensor().data.copy(),
                requests[-1].get_output_tensor().data.copy(),
            )
        )
        return np.ones(20)

    monkeypatch.setattr(openvino, "Core", Core)
    monkeypatch.setattr(runtime, "time_runs", run_once)
    assert measure(network(), threads=2).failure == ""
    ((image, result),) = results
    (expected,) = onnxruntime.InferenceSession(network(), providers=["CPUExecutionProvider"]).run(
        None, {"image": image}
    )
    np.testing.assert_allclose(result, np.asarray(expected), rtol=1e-5, atol=1e-5)
    assert result.std() > 0.1
    found = [compiled[0].get_property(name) for name in ("INFERENCE_NUM_THREADS", "NUM_STREAMS")]
    assert [int(str(value)) for value in found] == [2, 1]
    # Not bfloat16, where the processor has it.
    assert settings[0]["INFERENCE_PRECISION_HINT"] == "f32"


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (b"no model", "RuntimeError"),
        (network(channels=4), "RuntimeError"),
        (network(("n", 3, 8, 8)), "static shape"),
        (network(kind="Nonsense"), "Nonsense"),
    ],
    ids=["not onnx", "wrong channels", "dynamic shape", "unknown operator"],
)
def test_a_model_that_does_not_run_is_a_result(openvino, model, reason, capfd):
    measurement = measure(model)
    assert reason in measurement.failure
    assert "\n" not in measurement.failure
    assert math.isnan(measurement.latency_ms)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("settings", [{"threads": 0}, {"seconds": 0.0}])
def test_impossible_settings(openvino, settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        OpenVino(**settings)
