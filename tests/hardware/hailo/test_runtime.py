"""hailortcli: what it says is understood, and every way in which it fails has a reason."""

import json
import math
import sys
from pathlib import Path

import pytest

from jaxnas.hardware.failures import DeviceError
from jaxnas.hardware.hailo import runtime
from jaxnas.hardware.hailo.process import Ended
from jaxnas.hardware.hailo.runtime import Run, Runtime, explain, read_board, read_hef, read_run

PYTHON = str(Path(__file__).parent / "fakes" / "python")
FACTS = {
    "name": "net",
    "architecture": "HAILO8L",
    "contexts": 3,
    "input": [12, 10, 3],
    "classes": 5,
}
FIGURES = {"latency_ms": {"1": 2.5, "8": 6.25}, "fps": {"1": 300.5, "8": 1200.25}}
HEF = b"simulated HEF\n" + json.dumps(FACTS | FIGURES).encode()
HEADER = (
    "net_name,status,status_description,fps,num_of_frames,send_rate,recv_rate,hw_latency,"
    "overall_latency,min_power,average_power,max_power,min_current,average_current,max_current,"
    "min_temp,average_temp,max_temp\n"
)


@pytest.fixture(autouse=True)
def fakes(monkeypatch):
    """The stand-ins run on this Python; `HAILO_FAKE` is empty."""
    monkeypatch.setenv("HAILO_FAKE_BASE", sys.executable)
    monkeypatch.delenv("HAILO_FAKE", raising=False)


def measure(hef=HEF, **settings):
    return Runtime(PYTHON, **{"seconds": 2, **settings}).measure(hef)


def test_four_runs_of_a_hef():
    runs = measure()
    assert runs.contexts == 3
    assert (runs.board.architecture, runs.board.version, runs.board.clock) == (
        "HAILO8L",
        "4.23.0",
        "400MHz",
    )
    assert (runs.runs["streaming", 1].fps, runs.runs["streaming", 1].frames) == (300.5, 601)
    assert runs.runs["streaming", 8].fps == 1200.25
    assert math.isnan(runs.runs["streaming", 1].latency_ms)  # an empty cell is missing, not zero
    assert [runs.runs["latency", batch].latency_ms for batch in (1, 8)] == [2.5, 6.25]
    assert runs.runs["latency", 1].overall_ms == pytest.approx(2.8)
    assert {run.failure for run in runs.runs.values()} == {""}


def test_a_hef_that_is_none():
    with pytest.raises(
        DeviceError, match=r"^hef: hailortcli parse-hef: HEF file length does not match$"
    ):
        measure(b"\x01HEF of something else")


def test_a_machine_without_hailortcli(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        DeviceError, match=r"^no hailortcli: install HailoRT 4.x on the device's machine"
    ):
        Runtime(sys.executable).measure(HEF)


def test_a_program_that_is_no_python():
    with pytest.raises(DeviceError, match=r"^crash: hailo_measure.py ended with exit code 1: "):
        Runtime("/bin/false").measure(HEF)
    with pytest.raises(OSError, match="none"):
        Runtime("/none").measure(HEF)


def test_after_a_run_that_hangs_there_is_none(monkeypatch):
    answers = [
        {"name": "identify", "code": 0, "output": "Device Architecture: HAILO8L\n", "csv": ""},
        {
            "name": "parse-hef",
            "code": 0,
            "output": "Architecture HEF was compiled for: HAILO8L\n",
            "csv": "",
        },
        {
            "name": "streaming-1",
            "code": 0,
            "output": "",
            "csv": row("net", "0", "HAILO_SUCCESS", "9.5"),
        },
        {"name": "latency-1", "code": None, "output": "", "csv": ""},
    ]
    monkeypatch.setattr(
        runtime, "run", lambda *_: Ended(0, "", {"result.json": json.dumps(answers).encode()})
    )
    runs = measure()
    assert runs.runs["streaming", 1].fps == 9.5
    assert {name: run.failure for name, run in runs.runs.items()} == {
        ("streaming", 1): "",
        ("latency", 1): "timeout: hailortcli run (latency-1) did not end",
        ("streaming", 8): "timeout: not run, for a command before streaming-8 did not end",
        ("latency", 8): "timeout: not run, for a command before latency-8 did not end",
    }


def test_the_board_can_be_asked_without_a_hef(monkeypatch):
    assert Runtime(PYTHON).board().architecture == "HAILO8L"
    monkeypatch.setenv("HAILO_FAKE", "no-device")
    with pytest.raises(DeviceError, match=r"^no device: "):
        Runtime(PYTHON).board()


NONE = [
    b"",
    b"[{",
    b"{}",
    b"[3]",
    b'[{"code": 0}]',
    b"[" * 100_000,
    b'[{"name": "identify", "code": 0, "output": 3, "csv": ""}]',
]


@pytest.mark.parametrize("answer", NONE)
def test_answers_that_are_none(monkeypatch, answer):
    monkeypatch.setattr(
        runtime, "run", lambda *_: Ended(1, "Traceback\nKilled\n", {"result.json": answer})
    )
    with pytest.raises(
        DeviceError,
        match=r"^(crash: hailo_measure.py ended with exit code 1: Killed|no hailortcli: .*)$",
    ):
        measure()


# What the files say


def row(*cells):
    return HEADER + ",".join([*cells, *[""] * (18 - len(cells))]) + "\n"


def test_a_row_of_figures():
    run = read_run(
        row("net", "0", "HAILO_SUCCESS", "1150.02", "5750", "1384.9", "9.2", "2.4446", "2.53")
    )
    assert run == Run(1150.02, 5750, 2.4446, 2.53)


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        (HEADER + "net,4,HAILO_TIMEOUT(4)", "runtime: hailortcli run: status 4 HAILO_TIMEOUT(4)"),
        (
            HEADER + "net,18,HAILO_FW_CONTROL_FAILURE(18)",
            "firmware: hailortcli run: status 18 HAILO_FW_CONTROL_FAILURE(18)",
        ),
        (HEADER + "net,26", "runtime: hailortcli run: status 26"),
        (HEADER + "net,0,HAILO_SUCCESS,115", "csv: cut off after 4 of 18 cells"),
        (row("net", "0", "HAILO_SUCCESS", "1150.02")[:-1], "csv: cut off after 18 of 18 cells"),
        (HEADER, "csv: a header with status and one row are needed, got 1 lines"),
        ("fps\n3\n", "csv: a header with status and one row are needed, got 2 lines"),
        (
            row("net", "0", "HAILO_SUCCESS", "fast"),
            "csv: could not convert string to float: 'fast'",
        ),
        (HEADER + "net", "runtime: hailortcli run: status"),
        (
            row("net", "0", "HAILO_SUCCESS", "1e999"),
            "csv: figures must be finite and at least 0, got inf, 0, nan, nan",
        ),
        (
            row("net", "0", "HAILO_SUCCESS", "1", "-5"),
            "csv: figures must be finite and at least 0, got 1.0, -5, nan, nan",
        ),
        (row("net" * 50_000, "0"), "runtime: hailortcli run: status"),
    ],
)
def test_rows_that_say_nothing(text, failure):
    run = read_run(text)
    assert run.failure == failure
    assert math.isnan(run.fps)
    assert math.isnan(run.latency_ms)


def test_every_beginning_of_a_csv_file_is_a_failure():
    whole = row("net", "0", "HAILO_SUCCESS", "1150.02", "5750", "1384.9", "9.2", "2.4446", "2.53")
    assert read_run(whole).failure == ""
    assert all(read_run(whole[:n]).failure for n in range(len(whole)))


def test_the_board_is_told_by_its_architecture_not_its_name():
    text = (
        "Executing on device: 0001:01:00.0\n"
        "Board Name: Hailo-8\n"
        "Device Architecture: HAILO8L\n"
        "Part Number: \0\0\n"
        "Product Name: M.2\0\n"
    )
    board = read_board(text)
    assert (board.architecture, board.product, board.version, board.clock) == (
        "HAILO8L",
        "M.2",
        "",
        "",
    )
    with pytest.raises(DeviceError, match=r"no device: .* it says Board Name: Hailo-8"):
        read_board("Board Name: Hailo-8\n")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "Architecture HEF was compiled for: HAILO8L\nNetwork group name: net, Single Context\n",
            ("HAILO8L", 1),
        ),
        (
            (
                "HEF Compatible for: HAILO15H, HAILO10H\n"
                "\n"
                "Network group name: a, Multi Context - Number of contexts: 9\n"
            ),
            ("HAILO15H, HAILO10H", 9),
        ),
        ("Architecture HEF was compiled for: HAILO8L\n", ("HAILO8L", None)),
    ],
)
def test_what_a_hef_is_for(text, found):
    assert read_hef(text) == found


def test_a_hef_that_says_nothing():
    with pytest.raises(DeviceError, match=r"hef: .* it says nothing"):
        read_hef("")


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("", "runtime: hailortcli x: it said nothing"),
        ("Segmentation fault\n", "runtime: hailortcli x: Segmentation fault"),
        (
            (
                "[HailoRT] [error] a\n"
                "[HailoRT CLI] [error] CHECK_SUCCESS failed with "
                "status=HAILO_HEF_NOT_COMPATIBLE_WITH_DEVICE(93)"
            ),
            "hef: hailortcli x: a",
        ),
        (
            "[HailoRT] [error] Can't find hailo pcie class, this may happen",
            "no device: hailortcli x: Can't find hailo pcie class",
        ),
        (
            "[HailoRT] [error] Failed to open device file /dev/hailo0",
            "no device: hailortcli x: Failed to open device file ",
        ),
        (
            "[HailoRT] [error] Ioctl failed\nHAILO_DRIVER_INVALID_IOCTL(86)",
            "version: hailortcli x: Ioctl failed",
        ),
        (
            "x: error while loading shared libraries: libhailort.so.4.20.0: cannot",
            "missing library: hailortcli x: x: error ",
        ),
        ("[HailoRT] [error] a\x1b[2J" + 5000 * "b", "runtime: hailortcli x: a [2Jbbb"),
    ],
)
def test_the_first_error_is_the_cause(output, reason):
    assert explain("x", output).startswith(reason) and len(explain("x", output)) < 700
