"""What the user sees while a stage runs: a bar on a terminal, a line now and then in a log.

All of it on stderr.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic, strftime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from jaxnas.errors import printable, silence

_BAR_SECONDS = 0.2
_LINE_SECONDS = 10.0
_WAIT_SECONDS = 30.0  # between lines while the first step is awaited


def log(message: str) -> None:
    """Print one plain line; above the bar, where there is one.

    Elsewhere than on a terminal it begins with date and time.
    """
    stamp = "" if sys.stderr.isatty() else strftime("%Y-%m-%d %H:%M:%S ")
    try:
        print(stamp + printable(message), file=sys.stderr, flush=True)
    except OSError:  # nobody reads it any more, or its disk is full: no reason to stop
        silence(sys.stderr)


@contextmanager
def progress(
    description: str, total: int, start: int = 0, first: str = "compiling"
) -> Iterator[Callable[..., None]]:
    """Show how far a loop of `total` steps is.

    Yields `advance(n=1, **figures)`, to be called after every step.

    Figures are numbers or strings; the latest are shown. They are looked at only when shown, so a
    JAX scalar makes the loop wait for the device no more than a few times a second. A loop that was
    resumed begins at `start`. Rates leave out the first call, which compiles; until it is
    there, `first` says so, with a clock.
    """
    count = _Count(total, start, first)
    with (_bar if sys.stderr.isatty() else _lines)(description, count) as show:
        every = _BAR_SECONDS if sys.stderr.isatty() else _LINE_SECONDS
        shown = monotonic()
        show(start, count.status())
        count.begin()

        def advance(n: int = 1, /, **figures: Any) -> None:
            nonlocal shown
            count.advance(n, figures)
            if monotonic() - shown >= every:
                shown = monotonic()
                show(count.done, count.status())

        try:
            yield advance
        finally:
            if count.first is not None:
                show(count.done, count.status())


class _Count:
    """How far the loop is, how fast it goes, and its latest figures."""

    def __init__(self, total: int, start: int, waiting: str):
        self.total = total
        self.done = start
        self.waiting = waiting
        self.begun: float | None = None  # time at which the first call was awaited
        # Steps done and time at the end of the first call.
        self.first: tuple[int, float] | None = None
        self.figures: dict[str, Any] = {}

    def begin(self) -> None:
        self.begun = monotonic() if self.done < self.total else None

    @property
    def awaited(self) -> bool:
        """Whether the first step has begun and is not there yet."""
        return self.begun is not None and self.first is None

    def advance(self, n: int, figures: dict[str, Any]) -> None:
        self.done += n
        self.figures.update(figures)
        if self.first is None:
            self.first = (self.done, monotonic())

    def status(self) -> str:
        parts = [f"{self.done}/{self.total}"]
        if self.begun is not None and self.first is None:
            parts.append(f"{self.waiting} {_clock(monotonic() - self.begun)}")
        if self.first is not None and self.done > self.first[0]:
            rate = (self.done - self.first[0]) / max(monotonic() - self.first[1], 1e-9)
            parts += [
                f"{rate:.3g}/s" if rate < 100 else f"{rate:.0f}/s",
                f"ETA {_clock((self.total - self.done) / rate)}",
            ]
        return "  ".join(
            parts + [f"{name}={_figure(value)}" for name, value in self.figures.items()]
        )


class _Status(ProgressColumn):
    """How far the loop is.

    Redrawn by the bar's own thread, so that a clock runs while the first step is awaited.
    """

    def __init__(self, count: _Count):
        super().__init__()
        self.count = count

    def render(self, task: Task) -> Text:
        return Text(self.count.status() if self.count.awaited else task.fields["status"])


@contextmanager
def _bar(description: str, count: _Count) -> Iterator[Callable[[int, str], None]]:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), _Status(count))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=count.total, completed=count.done, status="")
        yield lambda done, status: bar.update(task, completed=done, status=status)


@contextmanager
def _lines(description: str, count: _Count) -> Iterator[Callable[[int, str], None]]:
    over = Event()

    def tell() -> None:
        while not over.wait(_WAIT_SECONDS):
            if count.awaited:
                log(f"{description}  {count.status()}")

    Thread(target=tell, daemon=True).start()
    try:
        yield lambda done, status: log(f"{description}  {status}")
    finally:
        over.set()


def _figure(value: Any) -> str:
    return str(value) if isinstance(value, str | int) else f"{float(value):.4g}"


def _clock(seconds: float) -> str:
    """
    >>> _clock(80.0), _clock(3700.0)
    ('1:20', '1:01:40')
    """
    minutes, second = divmod(max(round(seconds), 0), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
