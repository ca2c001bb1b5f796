import os
import pty
import re
import subprocess
import sys
import time
from time import strftime

import jax.numpy as jnp
import pytest

from jaxnas import progress as module
from jaxnas.progress import log, progress


class Clock:
    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        return self.seconds


STAMP = "2026-11-29 21:12:20 "


@pytest.fixture(autouse=True)
def stamp(monkeypatch):
    """The time of day stands still."""
    monkeypatch.setattr(
        module, "strftime", lambda form: strftime(form, (2026, 11, 29, 21, 12, 20, 0, 0, 0))
    )


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    return clock


def lines_of(captured):
    lines = captured.err.splitlines()
    assert all(line.startswith(STAMP) for line in lines)
    return [line.removeprefix(STAMP) for line in lines]


def test_a_log_has_a_first_line_then_one_in_ten_seconds_and_a_last(clock, capsys):
    with progress("train", 4000, start=1000) as advance:
        for step in range(1000, 4000):
            clock.seconds += 5.0 if step == 1000 else 1 / 64  # the first step compiles
            advance(loss=jnp.float32(1 / (step + 1)), lr=0.1)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert lines_of(captured) == [
        "train  1000/4000",
        "train  1321/4000  64/s  ETA 0:42  loss=0.000757  lr=0.1",
        "train  1961/4000  64/s  ETA 0:32  loss=0.0005099  lr=0.1",
        "train  2601/4000  64/s  ETA 0:22  loss=0.0003845  lr=0.1",
        "train  3241/4000  64/s  ETA 0:12  loss=0.0003085  lr=0.1",
        "train  3881/4000  64/s  ETA 0:02  loss=0.0002577  lr=0.1",
        "train  4000/4000  64/s  ETA 0:00  loss=0.00025  lr=0.1",
    ]


def test_slow_steps_text_figures_and_steps_of_more_than_one(clock, capsys):
    with progress("measure", 300) as advance:
        for front in (7, 12345678):
            clock.seconds += 20
            advance(50, device="cpu", front=front)
        advance()
    lines = lines_of(capsys.readouterr())
    assert lines[1:3] == [
        "measure  50/300  device=cpu  front=7",
        "measure  100/300  2.5/s  ETA 1:20  device=cpu  front=12345678",
    ]
    assert lines[3:] == ["measure  101/300  2.55/s  ETA 1:18  device=cpu  front=12345678"]


def test_a_loop_with_nothing_to_do_prints_one_line(capsys):
    with progress("train", 4000, start=4000):
        pass
    assert lines_of(capsys.readouterr()) == ["train  4000/4000"]


def test_an_error_shows_how_far_the_loop_came_and_passes(clock, capsys):
    with pytest.raises(KeyboardInterrupt), progress("train", 10) as advance:
        advance(3)
        raise KeyboardInterrupt
    assert lines_of(capsys.readouterr()) == ["train  0/10", "train  3/10"]


def test_a_log_says_how_long_the_first_step_compiles(clock, monkeypatch, capsys):
    monkeypatch.setattr(module, "_WAIT_SECONDS", 0.02)
    with progress("train", 10) as advance:
        clock.seconds += 5
        time.sleep(0.2)
        advance()
        time.sleep(0.1)
    lines = lines_of(capsys.readouterr())
    assert lines[0] == "train  0/10" and lines[-1] == "train  1/10"
    assert len(lines) > 3 and set(lines[1:-1]) == {"train  0/10  compiling 0:05"}


def test_what_is_awaited_has_a_name_of_its_own(clock, monkeypatch, capsys):
    monkeypatch.setattr(module, "_WAIT_SECONDS", 0.02)
    with progress("profile", 300, 100, "measuring"):
        time.sleep(0.1)
    assert set(lines_of(capsys.readouterr())) == {
        "profile  100/300",
        "profile  100/300  measuring 0:00",
    }


def test_log_is_one_line_on_stderr(capsys):
    log("[bold] stays as it is")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"{STAMP}[bold] stays as it is\n")


ON_A_TERMINAL = """
import time
from jaxnas.progress import log, progress
with progress("train [a]", 40, start=10) as advance:
    time.sleep(1.2)
    for step in range(10, 40):
        time.sleep(0.02)
        advance(loss=1 / (step + 1))
        if step == 20:
            log("half way")
"""


def test_a_terminal_gets_a_bar():
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "120"}
    with subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL],
        stderr=theirs,
        stdout=subprocess.PIPE,
        env=environment,
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                chunk = os.read(ours, 4096)
            except OSError:  # the terminal is closed
                break
            if not chunk:
                break
            shown += chunk
        assert process.stdout is not None and process.stdout.read() == b""
    os.close(ours)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert process.returncode == 0
    assert "━" in plain and "half way" in plain and "Traceback" not in plain
    assert re.search(r"train \[a\] ━+\S* *40/40  \S+/s  ETA 0:00  loss=0\.025", plain)
    assert "10/40  compiling 0:01" in plain
    assert plain.index("10/40") < plain.index("half way") < plain.index("40/40")


def test_what_strangers_wrote_stays_one_printable_line(capsys):
    log("weights of \x1b]0;owned\x07 classes\r\nas\u2028named")
    assert capsys.readouterr().err == f"{STAMP}weights of  ]0;owned  classes  as named\n"


@pytest.mark.parametrize("where", ["a full disk", "a reader that has gone"])
def test_a_log_that_cannot_be_written_stops_nothing(monkeypatch, where):
    reading, writing = os.pipe()
    os.close(reading)
    with open("/dev/full" if where == "a full disk" else writing, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        log("one")
        log("two")


def test_files_do_not_take_the_place_of_streams_that_are_closed(tmp_path):
    program = """
import sys
from jaxnas.cli import _open_streams
_open_streams()
from jaxnas.progress import log
log("one")
with open(sys.argv[1], "w") as file:
    file.write(str(file.fileno()))
"""
    command = 'exec "$@" <&- >&- 2>&-'
    assert (
        subprocess.run(
            ["sh", "-c", command, "sh", sys.executable, "-c", program, tmp_path / "file"]
        ).returncode
        == 0
    )
    assert int((tmp_path / "file").read_text()) > 2
