"""The Hailo-8L from ONNX to latency.

On stand-ins for compiler and device that run in interpreters of their own.
"""

import json
import math
import os
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from jaxnas.errors import UserError
from jaxnas.hardware.device import Device, ExportedModel, check_reachable
from jaxnas.hardware.hailo import compiler
from jaxnas.hardware.hailo import device as hailo_device
from jaxnas.hardware.hailo.compiler import Compiler
from jaxnas.hardware.hailo.device import Hailo, HailoMeasurement, from_environment, mismatch
from jaxnas.hardware.hailo.runtime import Run, Runtime
from jaxnas.records.run_directory import RunDirectory

FAKES = Path(__file__).parent / "fakes"
PYTHON = str(FAKES / "python")
GENOME = np.zeros(3, np.int32)


@pytest.fixture(autouse=True)
def fakes(monkeypatch, tmp_path):
    """The stand-ins run on this Python; `HAILO_FAKE` is empty, and so is jaxnas's cache."""
    monkeypatch.setenv("HAILO_FAKE_BASE", sys.executable)
    monkeypatch.delenv("HAILO_FAKE", raising=False)
    monkeypatch.setenv("HAILO_DFC_PYTHON", PYTHON)
    monkeypatch.setenv("HAILO_RT_PYTHON", PYTHON)
    monkeypatch.setenv("JAXNAS_CACHE", str(tmp_path / "cache"))


def network(shape=(1, 3, 32, 32), kind="Relu", width=8, **about):
    """Two convolutions, an activation, pool and linear, as ONNX bytes with metadata."""
    rng = np.random.default_rng(0)
    arrays = {
        "w1": rng.normal(0, 0.3, (width, 3, 3, 3)),
        "w2": rng.normal(0, 0.3, (width, width, 3, 3)),
        "w3": rng.normal(0, 1, (width, 4)),
    }
    nodes = [
        helper.make_node(
            "Conv", ["image", "w1"], ["a"], "conv1", pads=[1] * 4, kernel_shape=[3, 3]
        ),
        helper.make_node(kind, ["a"], ["b"], "act1"),
        helper.make_node("Conv", ["b", "w2"], ["c"], "conv2", pads=[1] * 4, kernel_shape=[3, 3]),
        helper.make_node("GlobalAveragePool", ["c"], ["d"], "pool"),
        helper.make_node("Flatten", ["d"], ["e"], "flatten"),
        helper.make_node("Gemm", ["e", "w3"], ["logits"], "fc"),
    ]
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, 4))]
    tensors = [
        numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()
    ]
    graph = helper.make_graph(nodes, "net", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in about.items()})
    return model.SerializeToString()


def device(**settings) -> Hailo:
    runtime = {"seconds": 1, "grace": 20.0} | settings.pop("runtime", {})
    compiler = {"seconds": 120.0} | settings.pop("compiler", {})
    return Hailo(
        Compiler(PYTHON, **compiler), Runtime(PYTHON, **runtime), "3.33.0+simulated", **settings
    )


def measure(model=None, **settings) -> HailoMeasurement:
    return device(**settings).measure(ExportedModel(model or network(), GENOME))


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A cache in which `network()` is compiled.

    What the chip makes of it does not depend on when that was.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HAILO_FAKE_BASE", sys.executable)
        patch.setenv("JAXNAS_CACHE", str(tmp_path_factory.mktemp("warm")))
        assert not device().compilation(ExportedModel(network(), GENOME)).failure
        return os.environ["JAXNAS_CACHE"]


def compiled(monkeypatch) -> list[str]:
    """The scripts of all compilations from now on."""
    scripts = []
    compile = Compiler.compile
    monkeypatch.setattr(
        Compiler, "compile", lambda self, *args: (scripts.append(args[1]), compile(self, *args))[1]
    )
    return scripts


# What goes well


def test_a_network_is_measured_and_says_that_it_is_simulated(tmp_path):
    one = from_environment(0.1)
    assert isinstance(one, Device)
    assert one.name == "hailo8l"
    row = one.measure(ExportedModel(network(), GENOME))
    assert row.failure == ""
    facts = json.loads(Path(row.folder, "model.hef").read_bytes().partition(b"\n")[2])
    assert (row.latency_ms, row.latency_batch8_ms) == (
        facts["latency_ms"]["1"],
        facts["latency_ms"]["8"],
    )
    assert (row.fps, row.fps_batch8) == (facts["fps"]["1"], facts["fps"]["8"])
    assert row.overall_ms == pytest.approx(row.latency_ms + 0.3)
    assert (row.contexts, row.compiler, row.hailort, row.clock) == (
        1,
        "3.33.0+simulated",
        "4.23.0",
        "400MHz",
    )
    assert 0 < row.memory <= row.control <= 1
    assert row.repeats > 0
    assert row.simulated
    assert row.runtime == "simulated compiler 3.33.0+simulated, HailoRT 4.23.0"
    assert row.warning == ""
    assert np.isnan([row.p10_ms, row.median_ms, row.p90_ms, row.p99_ms]).all()
    assert Path(row.folder).parent == tmp_path / "cache" / "hailo"


def test_rows_of_success_and_failure_have_the_same_columns(warm, monkeypatch, tmp_path):
    monkeypatch.setenv("JAXNAS_CACHE", warm)
    good = measure()
    monkeypatch.setenv("HAILO_FAKE", "firmware")
    bad = measure()
    with RunDirectory(tmp_path / "run") as run:
        run.append_csv("measurements.csv", asdict(good))
        run.append_csv("measurements.csv", asdict(bad))
        rows = run.read_csv("measurements.csv")
    assert [row["failure"] != "" for row in rows] == [False, True]
    assert [row["simulated"] for row in rows] == ["True", "True"]
    assert float(rows[0]["latency_ms"]) == good.latency_ms


def folder(model=None, **settings) -> Path:
    return device(**settings).compilation(ExportedModel(model or network(), GENOME)).folder


def test_what_was_compiled_is_not_compiled_again(monkeypatch, tmp_path):
    scripts = compiled(monkeypatch)
    with ThreadPoolExecutor(2) as pool:  # even where two want it at once
        first, again = pool.map(lambda _: measure(), range(2))
    assert (again.folder, again.latency_ms, again.compile_seconds) == (
        first.folder,
        first.latency_ms,
        first.compile_seconds,
    )
    path = tmp_path / "net.onnx"
    path.write_bytes(network())
    assert str(folder(path)) == first.folder  # a file is as good as its bytes
    assert len(scripts) == 1
    others = {str(folder(seed=1)), str(folder(images=np.zeros((64, 32, 32, 3), np.uint8)))}
    assert len(others | {first.folder}) == len(scripts) == 3


def test_pixels_are_normalised_on_chip_as_the_model_says(monkeypatch):
    scripts = compiled(monkeypatch)
    folder(network(mean=[0.5, 0.25, 0.125], deviation=[0.2, 0.4, 0.6]))
    folder(
        network(mean=[0.5, 0.25, 0.125], deviation=[0.2, 0.4, 0.6]),
        mean=(1.0, 2.0, 3.0),
        deviation=(4.0, 5.0, 6.0),
    )
    folder(network())
    assert [script.splitlines()[0] for script in scripts] == [
        "normalization1 = normalization([127.5, 63.75, 31.875], [51.0, 102.0, 153.0])",
        "normalization1 = normalization([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])",
        "normalization1 = normalization([127.5, 127.5, 127.5], [127.5, 127.5, 127.5])",
    ]


@pytest.mark.slow
def test_accuracy_by_the_emulator():
    images = np.random.default_rng(1).integers(0, 256, (8, 32, 32, 3), np.uint8)
    one = device(images=images)
    emulation = one.compiler.emulate(one.compilation(ExportedModel(network(), GENOME)), images)
    assert emulation.failure == ""
    assert emulation.logits is not None
    assert emulation.accuracy(emulation.logits.argmax(-1)) == 1


def test_versions_that_were_not_released_together_are_a_warning(warm, monkeypatch):
    monkeypatch.setenv("JAXNAS_CACHE", warm)
    monkeypatch.setenv("HAILO_FAKE", "4.20")
    row = measure()
    assert row.failure == ""
    assert row.warning == "compiler 3.33.0+simulated goes with HailoRT 4.23, the device has 4.20.0"


@pytest.mark.parametrize(
    "versions", [("3.33.1", "4.23.0"), ("", "4.23.0"), ("3.33.0", ""), ("3.99.0", "4.23.0")]
)
def test_no_warning_where_nothing_is_known_to_be_wrong(versions):
    assert mismatch(*versions) == ""


# What fails is a result


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (
            "sdk5",
            (
                "version: ValueError: the compiler 5.1.0+simulated is not for hailo8l, it knows "
                "hailo10h, hailo15h; install 3.x"
            ),
        ),
        ("numpy", "version: ImportError: numpy.core.multiarray failed to import"),
        ("shift", "quantisation: AccelerasQuantizationError: Shift delta in subnet/avgpool1"),
        (
            "infeasible",
            (
                "allocator: BackendAllocatorException: No successful assignments: conv7 errors: "
                "Agent infeasible"
            ),
        ),
        ("crash", "allocator: BackendAllocatorException: Compilation failed with unexpected crash"),
        ("abort", "crash: in stage 'compile': killed by signal 6: terminate called after"),
    ],
)
def test_every_fault_of_the_compiler_is_a_result_with_a_reason(monkeypatch, fault, failure):
    monkeypatch.setenv("HAILO_FAKE", fault)
    row = measure()
    check_failed(row, failure)
    assert row.compiler == {"sdk5": "5.1.0+simulated", "numpy": ""}.get(fault, "3.33.0+simulated")


def check_failed(row: HailoMeasurement, failure: str) -> None:
    assert row.failure.startswith(failure)
    assert "\n" not in row.failure
    assert math.isnan(row.latency_ms)
    assert row.device == "hailo8l"
    assert Path(row.folder, "log.txt").exists()


def test_a_python_without_the_compiler_is_a_result(tmp_path):
    row = replace(device(), compiler=Compiler(sys.executable)).measure(
        ExportedModel(network(), GENOME)
    )
    check_failed(row, "missing SDK: ModuleNotFoundError: No module named 'hailo_sdk_client'")


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (
            "no-device",
            "no device: hailortcli identify names no Device Architecture, it says nothing",
        ),
        (
            "driver",
            (
                "version: hailortcli identify: CHECK failed - Driver version (4.18.0) is different "
                "from library version (4.23.0)"
            ),
        ),
        ("hailo8", "architecture: the device must be of HAILO8L, got HAILO8"),
        ("other-hef", "architecture: the HEF must be of HAILO8L, got HAILO8"),
        (
            "firmware",
            (
                "firmware: hailortcli run (latency-1): Firmware control has failed. Major status: "
                "0x40090064"
            ),
        ),
        ("cut", "csv: cut off after "),
        ("empty", "csv: a header with status and one row are needed, got 0 lines"),
        ("no-latency", "no latency: hailortcli has measured none"),
        ("hang-identify", "timeout: hailortcli identify did not end"),
        ("hang-run", "timeout: hailortcli run (latency-1) did not end"),
    ],
)
def test_every_fault_of_the_chip_is_a_result_with_a_reason(warm, monkeypatch, fault, failure):
    monkeypatch.setenv("JAXNAS_CACHE", warm)
    monkeypatch.setenv("HAILO_FAKE", fault)
    row = measure(runtime={"seconds": 0, "grace": 2.0 if "hang" in fault else 20.0})
    check_failed(row, failure)
    assert (row.compiler, row.contexts, row.simulated) == ("3.33.0+simulated", 1, True)


@pytest.mark.parametrize(
    ("model", "failure"),
    [
        (b"no model", "parser: no ONNX file"),
        (
            network(("n", 3, 32, 32)),
            (
                "parser: one input (1, channels, height, width) of a static shape is needed, got "
                "[[0, 3, 32, 32]]"
            ),
        ),
        (network((2, 3, 32, 32)), "parser: one input (1, "),
        (network(kind="Erf"), "parser: ParsingWithRecommendationException: "),
    ],
    ids=["no onnx", "dynamic", "batch", "operator"],
)
def test_networks_that_cannot_be_compiled(model, failure):
    row = measure(model)
    assert row.failure.startswith(failure)
    assert math.isnan(row.latency_ms)


def test_a_file_that_is_not_there(tmp_path):
    assert measure(tmp_path / "none.onnx").failure.startswith("FileNotFoundError: ")


def test_images_of_another_size_are_a_result():
    assert measure(images=np.zeros((8, 16, 16, 3), np.uint8)).failure.startswith(
        "quantisation: BadInputsShape: "
    )


def test_a_timeout_of_the_compiler(monkeypatch):
    monkeypatch.setenv("HAILO_FAKE", "hang")
    assert measure(compiler={"seconds": 2.0}).failure.startswith("timeout: stopped in stage ")


def test_failures_of_the_network_are_remembered_and_those_of_the_machine_are_not(monkeypatch):
    scripts = compiled(monkeypatch)
    monkeypatch.setenv("HAILO_FAKE", "infeasible")
    for _ in range(2):
        assert measure().failure.startswith("allocator: ")
        assert len(scripts) == 1
    monkeypatch.setenv("HAILO_FAKE", "abort")
    for count in (2, 3):
        assert measure(seed=1).failure.startswith("crash: ")
        assert len(scripts) == count
    monkeypatch.setenv("HAILO_FAKE", "")
    assert (folder(seed=1) / "model.hef").exists()


DAMAGE = [
    "[]",
    "null",
    '{"failure": null}',
    '{"failure": "", "seconds": "x"}',
    "[" * 100_000,
    '{"failure": "", "version": 3}',
]


@pytest.mark.parametrize("damage", DAMAGE, ids=range(len(DAMAGE)))
def test_a_damaged_compilation_is_made_again(monkeypatch, warm, tmp_path, damage):
    cache = shutil.copytree(warm, tmp_path / "copy")
    monkeypatch.setenv("JAXNAS_CACHE", str(cache))
    (record,) = cache.glob("hailo/*/compilation.json")
    whole = record.read_bytes()
    record.write_text(damage)
    with pytest.raises((OSError, ValueError)):
        compiler.read_compilation(record.parent)
    assert hailo_device._known(record.parent) is None
    record.write_bytes(whole)
    assert hailo_device._known(record.parent) is not None


def test_one_run_that_fails_beside_the_latency_is_a_warning(warm, monkeypatch):
    monkeypatch.setenv("JAXNAS_CACHE", warm)
    measure_all = Runtime.measure

    def without_streaming(self, hef):
        found = measure_all(self, hef)
        return replace(
            found, runs=found.runs | {("streaming", 8): Run(failure="runtime: status 4")}
        )

    monkeypatch.setattr(Runtime, "measure", without_streaming)
    row = measure()
    assert row.failure == ""
    assert row.warning == "streaming at batch 8: runtime: status 4"
    assert math.isnan(row.fps_batch8)
    assert row.fps > 0


# Machines without


@pytest.mark.parametrize("name", ["HAILO_DFC_PYTHON", "HAILO_RT_PYTHON"])
def test_a_machine_without_sdk_is_told_how_to_get_it(monkeypatch, name):
    monkeypatch.delenv(name)
    with pytest.raises(
        UserError, match=f"hailo8l needs {name}, which is not set: .*[Ss]et {name}"
    ) as error:
        from_environment(1.0)
    assert "\n" not in str(error.value)


def test_a_variable_that_leads_to_another_python(monkeypatch):
    monkeypatch.setenv("HAILO_DFC_PYTHON", sys.executable)
    with pytest.raises(UserError, match=r"No module named 'hailo_sdk_client'.*developer zone"):
        from_environment(1.0)


def test_the_board_is_asked_before_hours_are_spent(monkeypatch):
    check_reachable(from_environment(1.0))
    monkeypatch.setenv("HAILO_FAKE", "no-device")
    with pytest.raises(
        UserError, match=r"the device hailo8l cannot measure \(no device: .*HAILO_RT_PYTHON"
    ):
        check_reachable(from_environment(1.0))


# Through SSH

SSH = """#!/bin/sh
while [ "$1" = -o ]; do shift 2; done
host=${2#*@}; shift 2
echo "$*" >> "$FAKE_HOME/log"
[ "$host" = pi ] || {
  echo "ssh: Could not resolve hostname $host: Name or service not known" >&2; exit 255
}
cd "$FAKE_HOME" && sh -c "$*"
"""
SCP = """#!/bin/sh
while [ "$1" = -q ] || [ "$1" = -o ]; do [ "$1" = -q ] && shift || shift 2; done
case "$2" in *:*) cp "${2#*:}" "$3";; *) cp "$2" "${3#*:}";; esac
"""


@pytest.fixture
def ssh(monkeypatch, tmp_path):
    """Stand-ins for ssh and scp, which reach a machine `pi`: its home is a folder here."""
    for name, text in {"ssh": SSH, "scp": SCP}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("FAKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


def nothing_is_left_on_pi(tmp_path) -> bool:
    """Whether folders were made there, and are gone."""
    folders = set(re.findall(r"/tmp/jaxnas\.\w+", (tmp_path / "home" / "log").read_text()))
    return bool(folders) and not any(map(os.path.exists, folders))


def test_compiler_and_chip_on_other_machines(ssh, monkeypatch, tmp_path):
    monkeypatch.setenv("HAILO_DFC_PYTHON", f"me@pi:{PYTHON}")
    monkeypatch.setenv("HAILO_RT_PYTHON", f"pi:{PYTHON}")
    row = from_environment(1.0).measure(ExportedModel(network(), GENOME))
    assert row.failure == ""
    here = measure(seed=0)
    assert (row.latency_ms, row.fps, row.contexts, row.simulated) == (
        here.latency_ms,
        here.fps,
        here.contexts,
        True,
    )
    assert (Path(row.folder) / "log.txt").read_text().count("Successful Mapping") == 1
    assert nothing_is_left_on_pi(tmp_path)


@pytest.mark.slow
def test_a_compiler_that_hangs_on_another_machine(ssh, monkeypatch, tmp_path):
    monkeypatch.setenv("HAILO_FAKE", "hang")
    one = replace(device(), compiler=Compiler(f"pi:{PYTHON}", seconds=2.0))
    assert one.measure(ExportedModel(network(), GENOME)).failure.startswith(
        "timeout: stopped in stage "
    )
    assert nothing_is_left_on_pi(tmp_path)


def test_a_chip_that_cannot_be_reached_is_lost(ssh):
    one = replace(device(), runtime=Runtime(f"nowhere:{PYTHON}"))
    row = one.measure(ExportedModel(network(), GENOME))
    assert row.failure.startswith(
        "ConnectionError: cannot reach nowhere: ssh: Could not resolve hostname nowhere"
    )
    assert row.lost
    assert row.compiler == "3.33.0+simulated"


def test_a_machine_that_names_files_outside_is_refused(ssh, tmp_path):
    program = tmp_path / "ls"
    for name in ("/../../../evil", "../evil", "model.hef evil", ".ssh", "evil"):
        program.write_text(f"#!/bin/sh\necho result.json\necho '{name}'\n")
        program.chmod(0o755)
        one = replace(device(), compiler=Compiler(f"pi:{PYTHON}"))
        row = one.measure(ExportedModel(network(), GENOME))
        assert (
            row.failure.startswith("OSError: the results may be result.json, ")
            and name in row.failure
        )
    assert not list(tmp_path.parent.rglob("evil*")) and nothing_is_left_on_pi(tmp_path)


def test_a_compilation_has_no_other_files(tmp_path):
    with pytest.raises(OSError, match=r"a compilation has the files .*, got log.txt, \.\./evil"):
        compiler._write(tmp_path / "kept", {"log.txt": b"", "../evil": b""})
    assert list(tmp_path.iterdir()) == []
