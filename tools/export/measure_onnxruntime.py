"""Time a model with ONNX Runtime on the machine that runs this; jaxnas sends it there through SSH.

Prints one JSON line.

    python3 measure_onnxruntime.py                               what this machine is
    python3 measure_onnxruntime.py MODEL SHA256 THREADS SECONDS  that, and how long single runs took

Plain Python 3.9 or newer with onnxruntime and numpy. Session and loop are those of
jaxnas/hardware/onnxruntime.py and device.py, which a test sees to; what follows from the times is
computed there. An exit code other than 0 is the machine's fault, not the model's.
"""

import hashlib
import json
import platform
import sys
from pathlib import Path
from time import perf_counter_ns

import numpy as np
import onnxruntime

MIN_RUNS = 20
SILENT = 4


def main(arguments):
    """What to print.

    This machine, and the times or the failure of the model that the arguments name.
    """
    answer = {"runtime": "onnxruntime " + onnxruntime.__version__, "processor": processor()}
    if not arguments:
        return answer
    path, sha256, threads, seconds = arguments
    model = read(path, sha256)
    try:
        run = prepare(model, int(threads))
        repeat(run, float(seconds) / 10, 3)
        times = repeat(run, float(seconds), MIN_RUNS)
    except Exception as error:  # whatever is raised on a network is that network's result
        return {**answer, "failure": f"{type(error).__name__}: {error}"}
    return {**answer, "clock": clock(), "times_ns": times}


def read(path, sha256):
    """The model, if it is the one that was sent."""
    model = Path(path).read_bytes()
    if hashlib.sha256(model).hexdigest() != sha256:
        raise ValueError(
            "the upload is damaged: its SHA-256 is not that of the model that was sent"
        )
    return model


def prepare(model, threads):
    """One run of the model as a call without arguments."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = SILENT
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    (image,) = session.get_inputs()
    if not all(isinstance(size, int) for size in image.shape):
        raise ValueError(f"the input {image.name} must have a static shape, got {image.shape}")
    binding.bind_cpu_input(
        image.name, np.random.default_rng(0).standard_normal(image.shape, np.float32)
    )
    for output in session.get_outputs():
        binding.bind_output(output.name, "cpu")
    return lambda: session.run_with_iobinding(binding)


def repeat(run, seconds, least):
    """Nanoseconds of single runs."""
    times = []
    end = perf_counter_ns() + round(seconds * 1e9)
    while perf_counter_ns() < end or len(times) < least:
        start = perf_counter_ns()
        run()
        times.append(perf_counter_ns() - start)
    return times


def processor():
    """The model of processor, or of board."""
    names = [
        line.split(":", 1)[1].strip()
        for line in text("/proc/cpuinfo").splitlines()
        if line.startswith("model name")
    ]
    return (
        names[0]
        if names
        else text("/proc/device-tree/model").strip("\0\n ")
        or platform.processor()
        or platform.machine()
    )


def clock():
    """What the fastest core runs at just now, "2445 MHz"; empty where the machine does not say."""
    paths = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")
    mhz = [float(text(path) or 0) / 1000 for path in paths]
    mhz += [
        float(line.split(":", 1)[1])
        for line in text("/proc/cpuinfo").splitlines()
        if line.startswith("cpu MHz")
    ]
    return f"{max(mhz):.0f} MHz" if any(mhz) else ""


def text(path):
    """A file's text, empty where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))
