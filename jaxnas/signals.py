"""Ctrl-C and SIGTERM.

A loop that trains saves first, everything else ends at once, and nothing is lost.

Python tells the main thread of a signal between two of its steps only, and one of them may compile
for minutes. So a thread listens as well: it ends a command that does not answer, and one that is
told twice.
"""

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from types import FrameType
from typing import Any

WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
ANSWER_S = 1.0  # after which the main thread is taken to compile
UNWIND_S = 10.0  # that what it has begun may take to be put in order


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does."""


class _Command:
    """What the running command knows of signals."""

    def __init__(self) -> None:
        self.unsaved = False  # a loop has done what no file holds yet
        self.asked: int | None = None  # the signal for which that loop is to end
        self.answered = threading.Event()

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The handler, in the main thread."""
        self.answered.set()
        if not self.unsaved:
            raise _exception(number)
        self.asked = number

    def listen(self, pipe: int) -> None:
        """The thread: every signal is a byte in the pipe, which ends with the command."""
        first = _next(pipe)
        patience_s = None
        if first is not None and self.unsaved:
            print(
                "jaxnas: saving first; a second signal ends it at once", file=sys.stderr, flush=True
            )
        elif first is not None:
            if not self.answered.wait(ANSWER_S):
                leave(first)
            patience_s = UNWIND_S
        try:
            second = None if first is None else _next(pipe, patience_s)
        except TimeoutError:  # a library's callback has swallowed the exception
            second = first
        if second is not None:
            leave(second)
        os.close(pipe)


def _next(pipe: int, timeout_s: float | None = None) -> int | None:
    """The next signal that ends a command, for programs may handle others.

    None when the command is over.
    """
    while True:
        if not select.select([pipe], [], [], timeout_s)[0]:
            raise TimeoutError
        byte = os.read(pipe, 1)
        if not byte or byte[0] in WORDS:
            return byte[0] if byte else None


_command = _Command()


@contextmanager
def listening() -> Iterator[None]:
    """While a command runs, its signals become `KeyboardInterrupt` and `Terminated`.

    After a loop under `Saving` has saved.

    A signal that the process is told to ignore (nohup) stays ignored. Only the main thread can
    listen.
    """
    global _command
    before = {number: signal.getsignal(number) for number in WORDS}
    taken = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    if threading.current_thread() is not threading.main_thread() or not taken:
        yield
        return
    _command = _Command()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    unraisable = sys.unraisablehook
    sys.unraisablehook = _ending_if_swallowed(unraisable)
    threading.Thread(target=_command.listen, args=(reading,), name="signals", daemon=True).start()
    for number in taken:
        signal.signal(number, _command.handle)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])
        signal.set_wakeup_fd(wakeup)
        sys.unraisablehook = unraisable
        os.close(writing)


def _ending_if_swallowed(before: Callable[[Any], object]) -> Callable[[Any], object]:
    """The hook of exceptions that a library's callback swallows.

    A signal's ends the process there.
    """

    def hook(unraisable: Any) -> None:
        error = unraisable.exc_value
        if isinstance(error, KeyboardInterrupt):
            leave(signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)
        before(unraisable)

    return hook


# A child's signals are not its parent's.
os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))


class Saving:
    """When a loop saves.

    When a step is due, every so many minutes, and before a signal ends the loop.
    """

    def __init__(self, minutes: float):
        self._seconds = 60 * minutes
        self._saved = monotonic()

    def __enter__(self) -> "Saving":
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        _command.unsaved = False
        if kind is None and _command.asked is not None:
            raise _exception(_command.asked)

    def after(self, due: bool, save: Callable[[], None]) -> None:
        """To be called after each step, with the function that saves what it has led to."""
        _command.unsaved = True
        asked = _command.asked
        if due or asked is not None or monotonic() - self._saved >= self._seconds:
            save()
            self._saved = monotonic()
            _command.unsaved = False
        if asked is not None:
            raise _exception(asked)


@contextmanager
def left_to_another() -> Iterator[Callable[[], int | None]]:
    """A first signal ends nothing here; yields what tells which one has come.

    For a process whose work another one directs.
    """
    _command.unsaved = True
    try:
        yield lambda: _command.asked
    finally:
        _command.unsaved = False


def ending(number: int) -> str:
    """What a command that a signal ends says."""
    return f"jaxnas: {WORDS[signal.Signals(number)]}; the same command goes on from here"


def leave(number: int) -> None:
    """End the process now, as a signal asks for.

    Files are whole at every moment, and threads of libraries cannot fail on the way out.
    """
    if sys.stderr.isatty():
        print("\x1b[?25h", file=sys.stderr)  # a bar hides the cursor
    print(ending(number), file=sys.stderr)
    end(128 + number)


def end(code: int) -> None:
    """Leave with this exit code, without taking the interpreter apart.

    A thread that still computes then ends with SIGSEGV.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(code)


def _exception(number: int) -> KeyboardInterrupt:
    return Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
