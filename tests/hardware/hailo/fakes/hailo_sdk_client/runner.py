"""ClientRunner: states, calls and log lines of the compiler."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from hailo_model_optimization.acceleras.utils.acceleras_exceptions import (  # pyright: ignore[reportMissingImports]
    AccelerasQuantizationError,
    BadInputsShape,
)

from . import chip, network, script
from .exceptions import (
    AllocatorScriptParserException,
    BackendAllocatorException,
    InvalidStateException,
)
from .exposed_definitions import SUPPORTED_HW_ARCHS, InferenceContext, States

FAULTS = os.environ.get("HAILO_FAKE", "").split()
LOGS = ("acceleras.log", "allocator.log", "hailo_sdk.client.log", "hailo_sdk.core.log")
GPU_IMAGES = 1024


def log(line, kind="info"):
    print(f"\x1b[32m[{kind}]\x1b[0m {line}", flush=True)


class ClientRunner:
    def __init__(self, hw_arch=None, har=None):
        for name in LOGS:
            Path(name).write_text("simulated log\n")
        self.state = States.UNINITIALIZED
        self.hw_arch = hw_arch or "hailo8"
        self.commands = []
        if har is not None:
            self.load_har(har)
        if self.hw_arch not in SUPPORTED_HW_ARCHS:
            raise ValueError(f"{self.hw_arch} is not in {SUPPORTED_HW_ARCHS}")

    def require(self, *states):
        if self.state not in states:
            raise InvalidStateException(
                f"The execution requires the model to be in {states}, got {self.state}"
            )

    def translate_onnx_model(
        self,
        model,
        net_name="model",
        start_node_names=None,
        end_node_names=None,
        net_input_shapes=None,
    ):
        self.require(States.UNINITIALIZED)
        self.network = network.read(model)
        self.onnx = Path(model).read_bytes()
        self.name = net_name
        self.state = States.HAILO_MODEL
        log(f"Translation started on ONNX model {net_name}")
        log(f"Start nodes mapped from original model: 'image': '{net_name}/input_layer1'.")
        log(f"Translation completed on ONNX model {net_name} (completion time: 00:00:00.10)")
        return {"name": net_name}, {}

    def load_model_script(self, model_script, append=False):
        self.require(States.HAILO_MODEL, States.QUANTIZED_MODEL)
        text = (
            Path(model_script).read_text()
            if Path(str(model_script)[:200]).is_file()
            else model_script
        )
        commands = script.parse(text)
        for name, positional, _ in commands:
            if (
                name == "normalization"
                and [len(values) for values in positional] != [self.network.channels] * 2
            ):
                raise AllocatorScriptParserException(
                    f"normalization needs {self.network.channels} values, got {positional}"
                )
        self.commands = self.commands * append + commands

    def option(self, command, name, default):
        found = [
            named[name] for known, _, named in self.commands if known == command and name in named
        ]
        return found[-1] if found else default

    def optimize(self, calib_data, data_type="auto", work_dir=None):
        self.require(States.HAILO_MODEL)
        data = np.load(calib_data) if isinstance(calib_data, str) else calib_data
        expected = (self.network.height, self.network.width, self.network.channels)
        if data.ndim != 4 or data.shape[1:] != expected:
            raise BadInputsShape(f"{self.name}/input_layer1", expected, data.shape[1:])
        log("Starting Model Optimization")
        if (
            len(data) < GPU_IMAGES
            and self.option("model_optimization_flavor", "optimization_level", 2) > 0
        ):
            log(
                (
                    "Reducing optimization level to 0 (the accuracy won't be optimized and "
                    "compression won't be used) because there's less data than the recommended "
                    f"amount ({GPU_IMAGES}), and there's no available GPU"
                ),
                "warning",
            )
        if not any(name == "normalization" for name, _, _ in self.commands) and data.max() > 10:
            log(
                (
                    "The calibration set seems to not be normalized, because the values range is "
                    f"[({data.min()}, {data.max()})]"
                ),
                "warning",
            )
        if "shift" in FAULTS:
            raise AccelerasQuantizationError(
                f"Shift delta in {self.name}/avgpool1/avgpool_op is 3.53, over the limit of 2.0"
            )
        log(f"{self.name}/output_layer1 SNR:\t28.08 dB")
        log("Model Optimization is done")
        self.state = States.QUANTIZED_MODEL

    def save_har(self, har_path):
        content = {
            "onnx": base64.b64encode(getattr(self, "onnx", b"")).decode(),
            "name": self.name,
            "state": self.state.value,
        }
        content |= {"commands": self.commands, "hw_arch": self.hw_arch}
        Path(har_path).write_text("simulated HAR\n" + json.dumps(content))
        log(f"Saved HAR to: {os.path.abspath(har_path)}")

    def load_har(self, har):
        content = json.loads(Path(har).read_text().partition("\n")[2])
        self.onnx = base64.b64decode(content["onnx"])
        self.name = content["name"]
        self.hw_arch = content["hw_arch"]
        self.state = States(content["state"])
        self.commands = content["commands"]

    def compile(self):
        self.require(States.QUANTIZED_MODEL)
        log("Starting Hailo allocation and compilation flow")
        log("Trying to compile the network in a single context")
        fail()
        parts = chip.contexts(self.network)
        if parts > 1:
            self.partition(parts)
        else:
            log("Using Single-context flow")
        self.tables(parts)
        log("Successful Mapping (allocation time: 1m 5s)")
        log(
            "Bandwidth of model inputs: 1.17188 Mbps, outputs: 0.00762939 Mbps (for a single frame)"
        )
        log("Building HEF...")
        log("Successful Compilation (compilation time: 7s)")
        self.state = States.COMPILED_MODEL
        return chip.hef(self.network, self.name, self.hw_arch)

    def partition(self, parts):
        log("Single context flow failed: Recoverable single context error")
        if self.option("context_switch_param", "mode", "allowed") == "disabled":
            raise BackendAllocatorException(
                "Compilation failed: the network does not fit in a single context"
            )
        log("Using Multi-context flow")
        log("Finding the best partition to contexts...")
        for n in range(2, parts + 1):
            print(
                f"Found valid partition to {n} contexts, Performance improved by 6.1%", flush=True
            )
        log(f"Applying selected partition to {parts} contexts...")

    def tables(self, parts):
        line = "+-----------+---------------------+---------------------+--------------------+"
        for context in range(parts):
            rows = chip.utilisation(self.network, context)
            log(f"{self.name}_context_{context} utilization: ")
            log(line)
            log("| Cluster   | Control Utilization | Compute Utilization | Memory Utilization |")
            log(line)
            total = [round(sum(column) / len(rows), 1) for column in zip(*rows, strict=True)]
            names = [*(f"cluster_{i}" for i in chip.CLUSTERS), "Total"]
            for name, row in zip(names, [*rows, total], strict=True):
                control, compute, memory = (f"{share:g}%" for share in row)
                if name == "Total":
                    log(line)
                log(f"| {name:<9} | {control:<19} | {compute:<19} | {memory:<18} |")
            log(line)

    @contextmanager
    def infer_context(self, context):
        if "no-emulator" in FAULTS:
            raise NotImplementedError("SDK_QUANTIZED is not supported")
        if context is InferenceContext.SDK_QUANTIZED:
            self.require(States.QUANTIZED_MODEL, States.COMPILED_MODEL)
        yield context

    def infer(self, context, dataset, batch_size=8):
        """The network on 8-bit weights, image by image."""
        import onnx
        from onnx import numpy_helper
        from onnxruntime import InferenceSession

        (mean, deviation), *_ = [
            positional for name, positional, _ in self.commands if name == "normalization"
        ]
        model = onnx.load_model_from_string(self.onnx)
        for tensor in model.graph.initializer:
            array = numpy_helper.to_array(tensor)
            scale = abs(array).max() / 127 if array.ndim > 1 else 0
            rounded = (array / scale).round() * scale if scale else array
            tensor.CopyFrom(numpy_helper.from_array(rounded.astype(np.float32), tensor.name))
        session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        images = (
            ((dataset - np.array(mean)) / np.array(deviation))
            .astype(np.float32)
            .transpose(0, 3, 1, 2)
        )
        return np.concatenate(
            [
                np.asarray(session.run(None, {session.get_inputs()[0].name: image[None]})[0])
                for image in images
            ]
        )


def fail():
    """The faults that show in the allocator."""
    if "infeasible" in FAULTS:
        log("Mapping Failed (allocation time: 1m 44s)", "error")
        raise BackendAllocatorException(
            "No successful assignments: conv7 errors:\n\tAgent infeasible"
        )
    if "crash" in FAULTS:
        print(
            (
                "compiler: ../src/allocator/network_graph_appender.cpp:402: Assertion "
                "`src_node.output_format()' failed."
            ),
            flush=True,
        )
        raise BackendAllocatorException("Compilation failed with unexpected crash")
    if "exit" in FAULTS:
        sys.exit("no licence")
    if "abort" in FAULTS:
        print("terminate called after throwing an instance of 'std::bad_alloc'", flush=True)
        os.kill(os.getpid(), signal.SIGABRT)
    if "fork" in FAULTS:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(os.environ["HAILO_FAKE_PIDS"]).write_text(f"{os.getpid()} {child.pid} {os.getcwd()}")
    if "hang" in FAULTS or "fork" in FAULTS:
        time.sleep(600)
