"""SSH through stand-ins for `ssh` and `scp` on the PATH.

They take the real arguments, run the command here and copy files.
"""

import json
import math
import os
import re
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from jaxnas.config import ProfileConfig, make_device
from jaxnas.errors import UserError
from jaxnas.hardware import export_scripts, ssh_connection
from jaxnas.hardware.device import ExportedModel, check_reachable
from jaxnas.hardware.export_scripts import export_script
from jaxnas.hardware.failures import MAX_CHARACTERS
from jaxnas.hardware.farm import Farm
from jaxnas.hardware.machine import processor
from jaxnas.hardware.measured import Stored
from jaxnas.hardware.ssh import SshDevice
from jaxnas.hardware.ssh_connection import SshConnection

# Host names say what goes wrong.
SSH = """#!/bin/sh
echo "ssh $*" >> "$FAKE/log"
while [ "$1" = -o ]; do shift 2; done
[ "$1" = -- ] || { echo "ssh: options must end with --" >&2; exit 255; }
host=${2#*@}; shift 2
cd "$FAKE/home"
there() { # the login shell; to ssh, one that a signal ends is 255
  "$FAKE_PYTHON" -S -c '
import subprocess, sys
sys.exit(max(subprocess.call(["bash", "-c", sys.argv[1]]), -1) % 256)' "$*"
}
case "$host" in
  refused) echo "ssh: connect to host refused port 22: Connection refused" >&2; exit 255;;
  stranger) echo "Host key verification failed." >&2; exit 255;;
  hangs) sleep 1000 & echo $! > "$FAKE/pid"; wait;;
  fades)
    case "$*" in *python*) echo "Connection to fades closed by remote host." >&2; exit 255;; esac
    there "$*";;
  cut) there "$*" | head -c 60;;
  banner) echo "Welcome to banner"; there "$*";;
  pi*) there "$*";;
  *) echo "ssh: Could not resolve hostname $host: Name or service not known" >&2; exit 255;;
esac
"""
SCP = """#!/bin/sh
echo "scp $*" >> "$FAKE/log"
while [ "$1" = -o ]; do shift 2; done
[ "$1" = -- ] && [ $# = 3 ] || { echo "scp: options must end with --" >&2; exit 1; }
case "$2" in /*) from=$2 to=${3#*:} host=${3%%:*};; *) from=${2#*:} to=$3 host=${2%%:*};; esac
cd "$FAKE/home"
case "$host" in
  pi-full) echo "scp: write remote \\"$to\\": No space left on device" >&2; exit 1;;
  pi-old) echo "lost connection" >&2; exit 1;;
  pi-new) echo "scp: Connection closed" >&2; exit 255;;
  pi-damaged) cp "$from" "$to" && printf x | dd of="$to" bs=1 seek=20 conv=notrunc 2>/dev/null;;
  *) cp "$from" "$to";;
esac
"""


@pytest.fixture(autouse=True)
def fake(monkeypatch, tmp_path):
    """The folder of the stand-ins: bin, home (of the remote machine).

    And a log of their arguments.
    """
    folder = tmp_path / "fake"
    for name in ("bin", "home"):
        (folder / name).mkdir(parents=True)
    for name, text in {"ssh": SSH, "scp": SCP}.items():
        program(folder / "bin" / name, text)
    (folder / "log").touch()
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(folder))
    monkeypatch.setenv("FAKE_PYTHON", sys.executable)
    monkeypatch.setenv("JAXNAS_CACHE", str(tmp_path / "cache"))
    return folder


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended but is not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(pid: int) -> bool:
    """Whether a process that has been killed is gone soon."""
    end = time.monotonic() + 20
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not alive(pid)


# SshConnection: run, upload, fetch


def test_a_command_arrives_as_it_was_given(fake):
    script = (
        "import sys; print(sys.argv[1:]); print(sys.stdin.read(), file=sys.stderr); sys.exit(3)"
    )
    words = ["a b", "$HOME", "*", "'", '"; touch /tmp/no', "", "-o", "ü"]
    done = SshConnection("me@pi").run([sys.executable, "-c", script, *words], 30, "typed")
    assert (done.stdout, done.stderr, done.returncode) == (f"{words}\n", "typed\n", 3)
    (line,) = (fake / "log").read_text().split("\n", 1)[0:1]
    for option in (
        "BatchMode=yes",
        "ConnectTimeout=10",
        "ServerAliveInterval=5",
        "ServerAliveCountMax=3",
    ):
        assert f"-o {option}" in line
    assert "-- me@pi sh -c 'timeout -k 5 30 " in line


def test_files_go_there_and_back(fake, tmp_path):
    data = np.random.default_rng(0).bytes(100_000)
    (tmp_path / "to: it's").write_bytes(data)
    SshConnection("pi").upload(tmp_path / "to: it's", "there.bin")
    assert (fake / "home/there.bin").read_bytes() == data
    SshConnection("pi").fetch("there.bin", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data
    with pytest.raises(OSError, match=r"cannot copy to or from pi: .*No such file"):
        SshConnection("pi").fetch("none.bin", tmp_path / "none")


def test_a_temporary_folder_is_there_and_then_gone():
    with SshConnection("pi").folder() as path:
        assert os.stat(path).st_mode & 0o777 == 0o700
        Path(path, "file").touch()
        with SshConnection("pi").folder() as other:
            assert other != path
    assert not os.path.exists(path)


@pytest.mark.parametrize(
    "host",
    ["", "-oProxyCommand=x", "a b", "pi:22", "a@-b", "a@b@c", "pi\n", "$(x)", "pi;x", "[::1]"],
)
def test_a_host_that_is_none(host, fake):
    with pytest.raises(UserError, match=r"a host must be NAME or USER@NAME.*, got .*alias"):
        SshConnection(host)
    assert (fake / "log").read_text() == ""


@pytest.mark.parametrize("path", ["", "-r", "a b", "a;b", "$HOME", "a\n", "a:b", "*"])
def test_a_path_that_shells_would_read_differently(path, tmp_path, fake):
    for copy in (
        lambda: SshConnection("pi").upload(tmp_path / "x", path),
        lambda: SshConnection("pi").fetch(path, tmp_path / "x"),
    ):
        with pytest.raises(UserError, match=r"a path on pi must be .*: rename it"):
            copy()
    assert (fake / "log").read_text() == ""


def test_a_machine_without_ssh(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        UserError, match=r"needs ssh and scp on this machine: install an OpenSSH client"
    ):
        SshConnection("pi")


def test_a_command_that_takes_too_long_is_ended_there(fake):
    slow = program(fake / "slow", f"#!/bin/sh\nsleep 1000 & echo $! > {fake}/pid; wait\n")
    with pytest.raises(TimeoutError, match=r"slow on pi took longer than 0.5 s"):
        SshConnection("pi").run([str(slow)], 0.5)
    assert ends(int((fake / "pid").read_text()))


def test_a_connection_that_hangs_leaves_nothing_behind(fake, monkeypatch):
    monkeypatch.setattr(ssh_connection, "GRACE_S", 0.3)
    with pytest.raises(ConnectionError, match=r"hangs has not answered within 0\.5 s"):
        SshConnection("hangs").run(["true"], 0.2)
    assert ends(int((fake / "pid").read_text()))


# SshDevice


def network(channels=3):
    weight = numpy_helper.from_array(np.ones((3, channels, 3, 3), np.float32), "weight")
    nodes = [helper.make_node("Conv", ["image", "weight"], ["y"], pads=[1] * 4)]
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, 8, 8))]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    model = helper.make_model(
        helper.make_graph(nodes, "net", inputs, outputs, [weight]),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    model.ir_version = 9
    return model.SerializeToString()


def device(host="pi", python: str | Path = sys.executable, **settings):
    return SshDevice(host, str(python), **{"seconds": 0.01, **settings})


def measure(host="pi", python: str | Path = sys.executable, model=None, **settings):
    return device(host, python, **settings).measure(
        ExportedModel(network() if model is None else model, np.zeros(3, np.int32))
    )


def answering(fake, answer: str) -> Path:
    """A Python that answers so, and counts how often."""
    (fake / "answer").write_text(answer)
    return program(
        fake / "python", f"#!/bin/sh\ncat > /dev/null\necho >> {fake}/calls\ncat {fake}/answer\n"
    )


def left_there(fake) -> list[str]:
    """The temporary folders that were made there and still exist."""
    made = set(re.findall(r"/tmp/jaxnas\.\w{10}", (fake / "log").read_text()))
    assert made
    return [path for path in made if os.path.exists(path)]


@pytest.mark.parametrize("host", ["pi", "banner", "me@pi"])
def test_a_network_is_timed_there(fake, host, tmp_path):
    (tmp_path / "net.onnx").write_bytes(network())
    measurement = measure(host, model=tmp_path / "net.onnx", threads=2)
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
    assert (measurement.device, measurement.threads) == (f"ssh:{host}", 2)
    assert measurement.runtime == f"onnxruntime {onnxruntime.__version__}"
    assert measurement.processor == processor()
    assert left_there(fake) == [] and os.listdir(fake / "home") == []


def test_its_figures_are_those_of_the_answer(fake):
    times = [2_000_000, 1_000_000, *[3_000_000] * 8, 1_050_000, *[9_000_000] * 9]
    python = answering(
        fake,
        (
            f'{{"runtime": "onnxruntime 9", "processor": "Raspberry Pi 5", "clock": "2400 MHz", '
            f'"times_ns": {times}}}\n'
        ),
    )
    measurement = measure(python=python)
    assert (measurement.latency_ms, measurement.repeats, measurement.failure) == (1.0, 20, "")
    assert measurement.noise_floor == pytest.approx(0.05)
    assert (measurement.runtime, measurement.processor, measurement.clock) == (
        "onnxruntime 9",
        "Raspberry Pi 5",
        "2400 MHz",
    )


def test_a_machine_that_stays_noisy_is_asked_five_times(fake):
    times = [1_000_000] * 10 + [2_000_000] * 10
    python = answering(
        fake,
        f'{{"runtime": "onnxruntime 9", "processor": "Pi", "clock": "", "times_ns": {times}}}\n',
    )
    measurement = measure(python=python)
    assert measurement.failure.startswith("TooNoisy: ") and math.isnan(measurement.latency_ms)
    assert (measurement.runtime, measurement.processor) == ("onnxruntime 9", "Pi")
    assert len((fake / "calls").read_text().splitlines()) == 5
    assert (fake / "log").read_text().count("scp ") == 1


LOST = {
    "refused": "ssh: connect to host refused port 22: Connection refused",
    "stranger": "Host key verification failed.",
    "nowhere": "Could not resolve hostname",
    "fades": "closed by remote host",
    "pi-old": "lost connection",
    "pi-new": "Connection closed",
}


@pytest.mark.parametrize("host", LOST)
def test_a_machine_that_is_not_there_is_lost(host):
    measurement = measure(host)
    assert measurement.lost and LOST[host] in measurement.failure
    assert measurement.failure.startswith(f"ConnectionError: cannot reach {host}: ")
    assert math.isnan(measurement.latency_ms) and "\n" not in measurement.failure


def check_failure(measurement, *parts, lost=False, ambiguous=False):
    assert (measurement.lost, measurement.ambiguous) == (lost, ambiguous)
    assert measurement.failure and "\n" not in measurement.failure
    assert math.isnan(measurement.latency_ms) and measurement.repeats == 0
    for part in parts:
        assert part in measurement.failure


@pytest.mark.parametrize(
    ("model", "reason"), [(b"no model", "InvalidProtobuf"), (network(channels=4), "Conv")]
)
def test_a_model_that_does_not_run_there_is_a_result(fake, model, reason):
    check_failure(measure(model=model), "RuntimeError: pi: ", reason)
    assert left_there(fake) == []


def test_an_upload_that_is_damaged_or_finds_no_room(fake):
    check_failure(measure("pi-damaged"), "the upload is damaged", ambiguous=True)
    check_failure(measure("pi-full"), "No space left on device", ambiguous=True)
    assert left_there(fake) == []


def test_a_python_that_is_not_there_or_has_no_onnxruntime(fake):
    check_failure(
        measure(python="no-such-python"),
        "missing ONNX Runtime: no-such-python on pi",
        "o such file",
        lost=True,
    )
    bare = program(fake / "python", f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    check_failure(measure(python=bare), "ModuleNotFoundError: No module named 'numpy'", lost=True)
    assert left_there(fake) == []


@pytest.mark.parametrize(
    ("signal", "reason"),
    [("SEGV", "Segmentation fault"), ("ABRT", "Abort"), ("KILL", "out of time or memory")],
)
def test_a_network_that_brings_the_runtime_down_is_no_lost_device(fake, signal, reason):
    crashing = program(fake / "crashing", f"#!/bin/sh\nkill -{signal} $$\n")
    check_failure(measure(python=crashing), "crashing on pi", reason, ambiguous=True)
    assert left_there(fake) == []


def test_an_answer_that_is_cut_off(fake):
    check_failure(
        measure("cut"),
        'answer: the answer of cut is cut off or no JSON: \'{"runtime"',
        ambiguous=True,
    )
    assert left_there(fake) == []


GOOD = '"runtime": "r", "processor": "p", "clock": ""'


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "cut off or no JSON: ''"),
        ("Segmentation fault", "cut off or no JSON: 'Segmentation fault'"),
        ("[1, 2]", "no JSON"),
        ("{}", "must have the texts runtime, processor, clock"),
        ('{"runtime": 3, "processor": "p", "clock": ""}', "must have the texts"),
        (f"{{{GOOD}}}", "must have times_ns, 20 or more whole numbers above 0"),
        (f'{{{GOOD}, "times_ns": {[5] * 19}}}', "must have times_ns"),
        (f'{{{GOOD}, "times_ns": {[5] * 20 + [0]}}}', "must have times_ns"),
        (f'{{{GOOD}, "times_ns": {[5] * 20 + [-1]}}}', "must have times_ns"),
        (f'{{{GOOD}, "times_ns": {[5] * 20 + [1.5]}}}', "must have times_ns"),
        (f'{{{GOOD}, "times_ns": "fast"}}', "must have times_ns"),
        (f'{{{GOOD}, "times_ns": {[5] * 20 + [10**400]}}}', "must have times_ns"),
        (f'{{{GOOD}, "times_ns": {[5] * 20}, "x": {"[" * 100_000}', "no JSON"),
    ],
)
def test_an_answer_that_makes_no_sense(fake, answer, reason):
    check_failure(
        measure(python=answering(fake, answer)), "answer: the answer of pi ", reason, ambiguous=True
    )
    assert left_there(fake) == []


def test_texts_of_a_machine_are_short_and_printable(fake):
    texts = {"runtime": "onnxruntime\x1b[2J\ud800 9", "processor": "p" * 100_000, "clock": "1\n2"}
    measurement = measure(python=answering(fake, json.dumps({**texts, "times_ns": [5] * 20})))
    assert (measurement.runtime, measurement.clock) == ("onnxruntime [2J 9", "1 2")
    assert len(measurement.processor) == MAX_CHARACTERS and measurement.failure == ""


def test_a_machine_that_sends_without_end_is_stopped(fake, monkeypatch):
    monkeypatch.setattr(ssh_connection, "PRINTED_MIB", 1)
    monkeypatch.setattr(ssh_connection, "FETCHED_MIB", 1)
    endless = program(fake / "endless", "#!/bin/sh\nexec yes\n")
    check_failure(measure(python=endless), "OSError: pi sends more than 1 MiB", ambiguous=True)
    (fake / "home/large").write_bytes(bytes(2 << 20))
    with pytest.raises(OSError, match=r"pi sends more than 1 MiB|File size limit exceeded"):
        SshConnection("pi").fetch("large", fake / "large")
    assert (fake / "large").stat().st_size <= 1 << 20


def test_a_measurement_needs_one_connection(fake):
    assert {measure(host).failure for host in ("pi", "me@pi")} == {""}
    sockets = re.findall(
        r"-o ControlMaster=auto -o ControlPersist=60 -o (ControlPath=\S+) -- (\S+)",
        (fake / "log").read_text(),
    )
    assert len(sockets) == len((fake / "log").read_text().splitlines()) and len(sockets) >= 8
    by_host = {
        host.partition(":")[0]: socket for socket, host in sockets if not host.startswith("/")
    }
    assert {socket for socket, _ in sockets} == set(by_host.values()) and len(
        set(by_host.values())
    ) == 2
    folder = Path(by_host["pi"].removeprefix("ControlPath=")).parent
    assert folder.stat().st_mode & 0o777 == 0o700


def test_it_can_be_asked_whether_it_is_there(fake):
    check_reachable(device())
    for host, python in (
        ("nowhere", sys.executable),
        ("pi", "no-such-python"),
        ("pi", answering(fake, "{}")),
    ):
        with pytest.raises(
            UserError,
            match=(
                rf"the device ssh:{host} cannot measure \(.*\): `ssh {host}` must work .* "
                r"onnxruntime"
            ),
        ) as error:
            check_reachable(device(host, python))
        assert "\n" not in str(error.value)


def test_a_measurement_that_takes_too_long(fake):
    slow = program(fake / "slow", f"#!/bin/sh\nsleep 1000 & echo $! > {fake}/pid; wait\n")
    check_failure(
        measure(python=slow, timeout=0.5),
        "TimeoutError: slow on pi took longer than 0.5 s",
        ambiguous=True,
    )
    assert ends(int((fake / "pid").read_text())) and left_there(fake) == []


def test_a_model_file_that_is_not_there(tmp_path, fake):
    check_failure(measure(model=tmp_path / "none.onnx"), "none.onnx", ambiguous=True)
    assert (fake / "log").read_text() == ""


def test_it_is_known_by_name():
    settings = ProfileConfig(device="ssh:me@pi", threads=2, seconds=0.5)
    assert make_device(settings) == SshDevice("me@pi", "python3", 2, 0.5)
    assert make_device(ProfileConfig(device="ssh:pi:venv/bin/python")) == SshDevice(
        "pi", "venv/bin/python", 1, 0.1
    )
    for name in ("ssh", "ssh:", "ssh:-x"):
        with pytest.raises(UserError, match="a host must be"):
            make_device(ProfileConfig(device=name))


def test_a_measurement_there_is_stored_under_what_that_machine_says(fake):
    model = ExportedModel(network(), np.zeros(3, np.int32))
    first = Stored(device()).measure(model)
    asked = len((fake / "log").read_text().splitlines())
    again = Stored(device()).measure(model)
    assert first.failure == "" and (again.latency_ms, again.reused) == (first.latency_ms, True)
    assert len((fake / "log").read_text().splitlines()) == asked + 1  # what it is, no more
    assert not Stored(device("pi2")).measure(model).reused
    assert not Stored(device(threads=2)).measure(model).reused
    assert device("refused").identity() is None and Stored(device("refused")).measure(model).lost


def test_a_farm_of_remote_machines(fake):
    farm = Farm([device("pi1"), device("refused"), device("pi2")])
    models = [ExportedModel(network(channels), np.zeros(3, np.int32)) for channels in (3, 4, 3, 3)]
    found = list(farm.measure(models))
    assert [bool(one.failure) for one in found] == [False, True, False, False]
    assert {one.device for one in found} <= {"ssh:pi1", "ssh:pi2"}
    assert left_there(fake) == []


def test_the_script_is_where_a_wheel_puts_it_too(monkeypatch, tmp_path):
    source = export_script("measure_onnxruntime.py").read_bytes()
    for folder in ("jaxnas/tools/export", "tools/export"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "measure_onnxruntime.py").write_bytes(source)
    monkeypatch.setattr(export_scripts, "__file__", str(tmp_path / "jaxnas/hardware/x.py"))
    assert (
        export_script("measure_onnxruntime.py")
        == tmp_path / "jaxnas/tools/export/measure_onnxruntime.py"
    )
