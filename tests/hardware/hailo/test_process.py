"""Programs in a scratch folder: whatever ends first, nothing is left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from jaxnas.hardware.hailo import process
from jaxnas.hardware.hailo.process import run

# Says who it is and where, has a child, and hangs.
HANGS = """
import os, subprocess, sys, time
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", deaf])
open("out/result.json", "w").write("half a result")
facts = f"{os.getpid()} {child.pid} {os.getcwd()}"
open(os.environ["FACTS"] + ".partial", "w").write(facts)
os.rename(os.environ["FACTS"] + ".partial", os.environ["FACTS"])
print("hanging", flush=True)
time.sleep(600)
"""
# What we are, where a test kills us; without the package, whose import takes seconds.
US = f"""
import signal, sys
# What a shell starts in the background is deaf to Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {str(Path(process.__file__).parent)!r})
import process
process.run(sys.executable, ["-c", {HANGS!r}], {{}}, 600)
"""


@pytest.fixture
def facts(monkeypatch, tmp_path):
    """Waits for what the hanging program says of itself: its process, its child's, its folder."""
    path = tmp_path / "facts"
    monkeypatch.setenv("FACTS", str(path))
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setattr(process.tempfile, "tempdir", str(tmp_path / "scratch"))

    def wait() -> tuple[int, int, Path]:
        assert until(path.exists)
        pid, child, folder = path.read_text().split()
        return int(pid), int(child), Path(folder)

    return wait


def until(happens) -> bool:
    """Whether something happens soon."""
    end = time.monotonic() + 60
    while not happens() and time.monotonic() < end:
        time.sleep(0.02)
    return happens()


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended but is not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def watchers() -> list[str]:
    """The watchers of this test's folder."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(path.read_text(errors="replace"))
    return [line for line in lines if "process.py" in line and os.environ["TMPDIR"] in line]


def nothing_is_left(pid: int, child: int, folder: Path) -> bool:
    gone = until(
        lambda: not alive(pid) and not alive(child) and not folder.exists() and not watchers()
    )
    return gone and os.listdir(os.environ["TMPDIR"]) == []


def test_files_go_in_and_come_out(facts):
    program = (
        "open('out/model.hef', 'wb').write(open('a', 'rb').read()[::-1]); print('so', flush=True); "
        "raise SystemExit('far')"
    )
    ended = run(sys.executable, ["-c", program], {"a": b"\x01\x00"}, 60)
    assert (ended.code, ended.output, ended.files) == (1, "so\nfar\n", {"model.hef": b"\x00\x01"})
    assert os.listdir(os.environ["TMPDIR"]) == []


def test_settings_of_our_interpreter_do_not_leak(monkeypatch, facts):
    for name in ("PYTHONPATH", "PYTHONHOME", "XLA_FLAGS", "JAX_PLATFORMS"):
        monkeypatch.setenv(name, "/nowhere")
    ended = run("/usr/bin/env", [], {}, 60)
    assert "/nowhere" not in ended.output
    assert "FACTS=" in ended.output


def test_a_program_that_takes_too_long_is_stopped_with_its_children(facts):
    ended = run(sys.executable, ["-c", HANGS], {}, 3)
    assert (ended.code, ended.output, ended.files) == (
        None,
        "hanging\n",
        {"result.json": b"half a result"},
    )
    assert nothing_is_left(*facts())


def test_a_program_that_is_killed_takes_its_children_along(facts):
    ends = []
    thread = threading.Thread(
        target=lambda: ends.append(run(sys.executable, ["-c", HANGS], {}, 600))
    )
    thread.start()
    pid, child, folder = facts()
    assert alive(child)
    assert len(watchers()) == 1
    os.kill(pid, signal.SIGKILL)
    thread.join()
    assert ends[0].code == -9
    assert nothing_is_left(pid, child, folder)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_our_own_death_leaves_nothing(facts, number):
    us = subprocess.Popen([sys.executable, "-c", US], stderr=subprocess.DEVNULL)
    pid, child, folder = facts()
    assert folder.exists()
    assert alive(child)
    us.send_signal(number)
    assert us.wait() != 0
    assert nothing_is_left(pid, child, folder)


def test_an_interpreter_that_is_not_there(facts):
    with pytest.raises(OSError, match="none"):
        run("/none", [], {}, 60)
    assert os.listdir(os.environ["TMPDIR"]) == []


@pytest.mark.parametrize("name", ["authorized_keys", "Model.hef", ".profile", "model.hef "])
def test_results_of_other_names_are_refused(facts, name):
    with pytest.raises(OSError, match=r"the results may be result.json, .*, got "):
        run(sys.executable, ["-c", f"open('out/{name}', 'w').close()"], {}, 60)
    assert os.listdir(os.environ["TMPDIR"]) == []


def test_what_a_killed_script_leaves_is_no_result(facts):
    ended = run(sys.executable, ["-c", "open('out/result.json.partial', 'w').close()"], {}, 60)
    assert (ended.code, ended.files) == (0, {})
