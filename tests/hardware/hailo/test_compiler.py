"""The compiler behind its process boundary.

A stand-in that keeps to what is documented of Hailo's, in an interpreter of its own.
"""

import ast
import doctest
import importlib.util
import io
import math
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from jaxnas.errors import UserError
from jaxnas.hardware.export_scripts import export_script
from jaxnas.hardware.hailo.compiler import Compiler, model_script
from jaxnas.hardware.hailo.log import parse_log

FAKES = Path(__file__).parent / "fakes"
PYTHON = str(FAKES / "python")
IMAGES = np.random.default_rng(0).integers(0, 256, (16, 12, 10, 3)).astype(np.float32)
SCRIPT = model_script([120.0] * 3, [60.0] * 3)


@pytest.fixture(autouse=True)
def fakes(monkeypatch):
    """The stand-ins run on this Python; `HAILO_FAKE` is empty."""
    monkeypatch.setenv("HAILO_FAKE_BASE", sys.executable)
    monkeypatch.delenv("HAILO_FAKE", raising=False)


def network(*extra, opset=17, shape=(1, 3, 12, 10), gate=False, pool=True):
    """Convolution, depthwise convolution, pool and linear, as ONNX bytes.

    `extra` nodes go from "features" to "more".
    """
    rng = np.random.default_rng(1)
    arrays = {
        "w1": rng.normal(0, 0.3, (8, 3, 3, 3)),
        "w2": rng.normal(0, 0.3, (8, 1, 3, 3)),
        "w4": rng.normal(0, 0.3, (8, 8, 1, 1)),
    }
    arrays["w3"] = rng.normal(0, 1, (8 if pool else 240, 5))
    nodes = [
        helper.make_node(
            "Conv",
            ["image", "w1"],
            ["a"],
            "conv1",
            strides=[2, 2],
            pads=[1] * 4,
            kernel_shape=[3, 3],
        ),
        helper.make_node("Relu", ["a"], ["b"], "relu1"),
        helper.make_node(
            "Conv", ["b", "w2"], ["features"], "conv2", pads=[1] * 4, group=8, kernel_shape=[3, 3]
        ),
        *extra,
    ]
    last = "more" if extra else "features"
    if gate:
        nodes.append(helper.make_node("GlobalAveragePool", [last], ["g1"], "gate_pool"))
        nodes.append(
            helper.make_node("Conv", ["g1", "w4"], ["g2"], "gate_conv", kernel_shape=[1, 1])
        )
        nodes.append(helper.make_node("Sigmoid", ["g2"], ["g3"], "gate_sigmoid"))
        nodes.append(helper.make_node("Mul", [last, "g3"], ["gated"], "gate"))
        last = "gated"
    if pool:
        nodes.append(helper.make_node("GlobalAveragePool", [last], ["pooled"], "pool"))
        last = "pooled"
    nodes += [
        helper.make_node("Flatten", [last], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "w3"], ["logits"], "fc"),
    ]
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, 5))]
    tensors = [
        numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()
    ]
    graph = helper.make_graph(nodes, "net", inputs, outputs, tensors)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8
    ).SerializeToString()


def node(kind, **attributes):
    return helper.make_node(kind, ["features"], ["more"], kind.lower(), **attributes)


@pytest.fixture
def compiled(tmp_path):
    """Compiles a network: `compiled(model, script, images)`."""
    compiler = Compiler(PYTHON, seconds=120)
    return lambda model=None, script=SCRIPT, images=IMAGES: compiler.compile(
        model or network(), script, images, tmp_path / "kept"
    )


# What goes well


def test_a_network_becomes_a_hef_and_everything_is_kept(compiled):
    compilation = compiled()
    assert compilation.failure == ""
    assert compilation.version == "3.33.0+simulated"
    assert compilation.simulated
    assert compilation.hef.read_bytes().startswith(b"simulated HEF\n")
    names = [
        "model.onnx",
        "model.alls",
        "parsed.har",
        "quantised.har",
        "model.hef",
        "log.txt",
        "compilation.json",
        "result.json",
    ]
    assert sorted(path.name for path in compilation.folder.iterdir()) == sorted(names)
    assert (compilation.folder / "model.onnx").read_bytes() == network()
    assert (compilation.folder / "model.alls").read_text() == SCRIPT
    assert compilation.log.contexts == 1
    assert compilation.log.snr_db == 28.08
    assert 0 < compilation.log.highest().control <= 1
    assert compilation.seconds > 0
    assert compilation.log == parse_log((compilation.folder / "log.txt").read_text())


def test_a_network_of_several_contexts(compiled):
    compilation = compiled(network(gate=True))
    assert (compilation.failure, compilation.log.contexts, len(compilation.log.utilisation)) == (
        "",
        2,
        2,
    )


def test_a_level_that_is_lowered_is_a_warning(compiled):
    compilation = compiled(script=model_script([0.0] * 3, [1.0] * 3, optimization_level=2))
    assert compilation.failure == ""
    assert compilation.log.warnings == (
        "the optimisation level was lowered to 0: fewer than 1024 images, or no GPU",
    )


def test_images_that_nobody_normalises_are_a_warning(compiled):
    assert compiled(script="model_optimization_flavor(optimization_level=0)\n").log.warnings == (
        "the calibration set seems not to be normalised",
    )


# What fails, and why


@pytest.mark.parametrize(
    ("model", "failure"),
    [
        (
            network(node("Erf")),
            (
                "parser: ParsingWithRecommendationException: Parsing failed.* "
                "UnsupportedActivationLayerError in op erf: .*op=Erf"
            ),
        ),
        (
            network(node("ReduceMax", keepdims=1)),
            "parser: .*ReduceMax operation is unsupported .the parser recommends to end at conv2.$",
        ),
        (network(pool=False), "parser: .* UnsupportedShuffleLayerError in op flatten"),
        (network(opset=18), "parser: UnsupportedModelError: ONNX opset 18 is unsupported"),
        (network(shape=("n", 3, 12, 10)), r"parser: ValueError: Unspecified inputs: \{'image'"),
        (b"no model", "parser: DecodeError: "),
    ],
    ids=["activation", "operation", "flatten", "opset", "dynamic", "no onnx"],
)
def test_what_the_parser_refuses(compiled, model, failure):
    check_failure(compiled(model), failure, final=True)


def check_failure(compilation, pattern, final):
    assert re.match(pattern, compilation.failure), compilation.failure
    assert "\n" not in compilation.failure
    assert compilation.final == final
    assert not compilation.hef.exists()
    assert not compilation.simulated
    assert (compilation.folder / "log.txt").exists()


@pytest.mark.parametrize(
    ("script", "images", "failure"),
    [
        (
            "quantize_everything(level=3)\n",
            IMAGES,
            "script: AllocatorScriptParserException: Parsing failed at line 1",
        ),
        (
            model_script([1.0], [1.0]),
            IMAGES,
            "script: AllocatorScriptParserException: normalization needs 3 values",
        ),
        (
            SCRIPT,
            IMAGES.transpose(0, 3, 1, 2),
            "quantisation: BadInputsShape: Data shape .3, 12, 10. for layer subnet/input_layer1",
        ),
    ],
    ids=["unknown command", "channels", "NCHW images"],
)
def test_what_script_and_images_may_not_be(compiled, script, images, failure):
    check_failure(compiled(None, script, images), failure, final=True)


def test_a_compiler_that_leaves(compiled, monkeypatch):
    monkeypatch.setenv("HAILO_FAKE", "exit")
    check_failure(compiled(), "allocator: SystemExit: no licence", final=True)


def test_one_context_only_may_be_asked_for(compiled):
    script = SCRIPT + "\ncontext_switch_param(mode=disabled)\n"
    check_failure(
        compiled(network(gate=True), script),
        "allocator: .*does not fit in a single context",
        final=True,
    )
    assert compiled(script=script).failure == ""


def test_a_compiler_that_somebody_kills(compiled, monkeypatch, tmp_path):
    """The out-of-memory killer, say.

    The child it had started is gone too, and its scratch folder.
    """
    monkeypatch.setenv("HAILO_FAKE", "fork")
    monkeypatch.setenv("HAILO_FAKE_PIDS", str(tmp_path / "pids"))
    found = []
    thread = threading.Thread(target=lambda: found.append(compiled()))
    thread.start()
    end = time.monotonic() + 60
    while (
        not ((tmp_path / "pids").exists() and len((tmp_path / "pids").read_text().split()) == 3)
        and time.monotonic() < end
    ):
        time.sleep(0.02)
    pid, child, folder = (tmp_path / "pids").read_text().split()
    os.kill(int(pid), signal.SIGKILL)
    thread.join()
    check_failure(found[0], "crash: in stage 'compile': killed by signal 9", final=False)
    assert not Path(folder).exists()
    while (
        Path(f"/proc/{child}").exists()
        and "Z" not in Path(f"/proc/{child}/stat").read_text()
        and time.monotonic() < end
    ):
        time.sleep(0.02)
    assert not Path(f"/proc/{child}").exists() or ") Z " in Path(f"/proc/{child}/stat").read_text()


# Versions


def test_the_version(monkeypatch):
    assert Compiler(PYTHON).version() == "3.33.0+simulated"
    monkeypatch.setenv("HAILO_FAKE", "numpy")
    with pytest.raises(
        UserError,
        match=(
            r"has no Dataflow Compiler .ImportError: numpy.core.* developer zone .* set "
            r"HAILO_DFC_PYTHON"
        ),
    ):
        Compiler(PYTHON).version()


@pytest.mark.parametrize(
    ("python", "reason"),
    [(sys.executable, "No module named 'hailo_sdk_client'"), ("/none/python", "cannot be run")],
)
def test_no_compiler_at_all(python, reason):
    with pytest.raises(UserError, match=reason) as error:
        Compiler(python).version()
    assert "\n" not in str(error.value)


# The emulator


def test_the_emulator_computes_the_network_on_raw_images(compiled):
    compilation = compiled()
    session = onnxruntime.InferenceSession(network(), providers=["CPUExecutionProvider"])
    normalised = ((IMAGES - 120) / 60).transpose(0, 3, 1, 2)
    expected = np.concatenate(
        [np.asarray(session.run(None, {"image": image[None]})[0]) for image in normalised]
    )
    emulation = Compiler(PYTHON).emulate(compilation, IMAGES)
    assert emulation.failure == ""
    assert emulation.logits is not None
    np.testing.assert_allclose(emulation.logits, expected, atol=0.02 * np.abs(expected).max())
    assert not np.array_equal(emulation.logits, expected)  # 8 bits
    labels = emulation.logits.argmax(-1)
    assert emulation.accuracy(labels) == 1
    assert emulation.accuracy(np.where(np.arange(16) < 4, labels, (labels + 1) % 5)) == 0.25


def test_without_an_emulator_there_is_no_accuracy(compiled, monkeypatch):
    compilation = compiled()
    monkeypatch.setenv("HAILO_FAKE", "no-emulator")
    emulation = Compiler(PYTHON).emulate(compilation, IMAGES)
    assert emulation.failure == "emulator: NotImplementedError: SDK_QUANTIZED is not supported"
    assert math.isnan(emulation.accuracy(np.zeros(16, int)))


def test_what_was_not_quantised_cannot_be_emulated(compiled):
    emulation = Compiler(PYTHON).emulate(compiled(network(node("Erf"))), IMAGES)
    assert emulation.logits is None
    assert emulation.failure.startswith("FileNotFoundError: ")


# The model script, and what runs in older Pythons


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimization_level": 5}, "the optimisation level must be -100 or 0 to 4, got 5"),
        ({"performance": "2"}, "the performance level must be '0', '1' or 'max', got '2'"),
        ({"mean": [1.0, 2.0]}, "a mean and a deviation above 0"),
        ({"deviation": [0.0]}, "a mean and a deviation above 0"),
        ({"mean": [math.nan]}, "a mean and a deviation above 0"),
    ],
)
def test_impossible_scripts(arguments, message):
    with pytest.raises(UserError, match=message):
        model_script(**{"mean": [1.0], "deviation": [1.0], **arguments})


@pytest.mark.parametrize(
    "name", ["hailo_compile.py", "hailo_emulate.py", "hailo_failures.py", "hailo_measure.py"]
)
def test_scripts_for_other_interpreters_need_no_new_python_and_nothing_of_ours(name):
    source = export_script(name).read_text()
    tree = ast.parse(source, feature_version=(3, 8))
    imports = {
        alias.name for one in ast.walk(tree) if isinstance(one, ast.Import) for alias in one.names
    }
    imports |= {str(one.module) for one in ast.walk(tree) if isinstance(one, ast.ImportFrom)}
    ours = {
        "hailo_failures",
        "hailo_compile",
        "hailo_sdk_client",
        "hailo_sdk_client.exposed_definitions",
        "numpy",
    }
    assert imports <= ours | sys.stdlib_module_names


def test_examples_of_the_scripts():
    spec = importlib.util.spec_from_file_location(
        "hailo_failures", export_script("hailo_failures.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert doctest.testmod(module, report=False) == (0, 2)


def test_the_network_of_these_tests_is_one():
    onnx.checker.check_model(onnx.load(io.BytesIO(network(gate=True))), full_check=True)
