import signal
import subprocess
import sys
import time

import pytest

from jaxnas import signals

PROGRAM = """
import hashlib, signal, sys
signal.signal(signal.SIGALRM, lambda *_: None)  # another's, which means nothing here
# What a shell starts in the background is deaf to Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
from jaxnas.cli import told
from jaxnas.signals import Saving, end

def busy():
    # As a compilation: minutes in which Python runs no handler.
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)

def train():
    with Saving(minutes=60) as saving:
        for step in range(10**9):
            saving.after(False, lambda: print("saved", step, flush=True))
            if step == 1:
                print("ready", flush=True)
            if step and sys.argv[1] == "compiles":
                busy()

def compile():
    print("ready", flush=True)
    busy()

end(told(compile if sys.argv[1] == "begins" else train))
"""


@pytest.fixture
def started():
    """Starts the program and waits until it is ready for signals."""
    processes = []

    def start(mode):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, mode],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        return process

    yield start
    for process in processes:
        process.kill()


def test_signals_save_first_and_end_what_does_not_answer(started):
    trains = started("trains")
    begins = started("begins")
    compiles = started("compiles")
    for process in (trains, begins, compiles):
        process.send_signal(signal.SIGALRM)
    time.sleep(0.1)
    trains.send_signal(signal.SIGTERM)
    out, errors = trains.communicate()
    assert trains.returncode == 143 and out.startswith("saved ") and out.count("saved") == 1
    assert errors.splitlines()[-1] == "jaxnas: terminated; the same command goes on from here"

    begins.send_signal(signal.SIGINT)  # nothing is to be saved, so nothing is waited for
    assert begins.communicate() == ("", "jaxnas: interrupted; the same command goes on from here\n")
    assert begins.returncode == 130

    compiles.send_signal(signal.SIGINT)
    assert compiles.stderr.readline() == "jaxnas: saving first; a second signal ends it at once\n"
    compiles.send_signal(signal.SIGTERM)
    assert compiles.communicate() == (
        "",
        "jaxnas: terminated; the same command goes on from here\n",
    )
    assert compiles.returncode == 143


def test_a_training_saves_by_time(monkeypatch):
    from jaxnas import signals

    now = [0.0]
    saved = []
    monkeypatch.setattr(signals, "monotonic", lambda: now[0])
    with signals.Saving(minutes=5) as saving:
        for minute in range(13):
            now[0] = 60.0 * minute
            saving.after(minute == 7, lambda minute=minute: saved.append(minute))
    assert saved == [5, 7, 12]


@pytest.mark.parametrize(
    "error, number", [(KeyboardInterrupt, signal.SIGINT), (signals.Terminated, signal.SIGTERM)]
)
def test_a_signal_that_a_callback_swallows_ends_the_command(monkeypatch, error, number):
    class Swallows:
        def __del__(self):
            raise error

    left = []
    monkeypatch.setattr(signals, "leave", left.append)
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: left.append("before"))
    with signals.listening():
        Swallows()
    assert left == [number, "before"]
