"""What the user sees while a stage runs: a bar on a terminal, a line now and then in a log. All of it on stderr."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

_BAR_SECONDS = 0.2
_LINE_SECONDS = 10.0


def log(message: str) -> None:
    """Print one plain line; above the bar, where there is one."""
    print(message, file=sys.stderr, flush=True)


@contextmanager
def progress(description: str, total: int, start: int = 0) -> Iterator[Callable[..., None]]:
    """Show how far a loop of `total` steps is; yields `advance(n=1, **figures)`, to be called after every step.

    Figures are numbers or strings; the latest are shown. They are looked at only when shown, so a JAX scalar makes
    the loop wait for the device no more than a few times a second. A loop that was resumed begins at `start`. Rates
    leave out the first call, which compiles.
    """
    count = _Count(total, start)
    with _bar(description, total, start) if sys.stderr.isatty() else _lines(description) as show:
        every, shown = (_BAR_SECONDS if sys.stderr.isatty() else _LINE_SECONDS), monotonic()
        show(start, count.status())

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

    def __init__(self, total: int, start: int):
        self.total, self.done = total, start
        self.first: tuple[int, float] | None = None  # steps done and time at the end of the first call
        self.figures: dict[str, Any] = {}

    def advance(self, n: int, figures: dict[str, Any]) -> None:
        self.done += n
        self.figures.update(figures)
        if self.first is None:
            self.first = (self.done, monotonic())

    def status(self) -> str:
        parts = [f"{self.done}/{self.total}"]
        if self.first is not None and self.done > self.first[0]:
            rate = (self.done - self.first[0]) / max(monotonic() - self.first[1], 1e-9)
            parts += [f"{rate:.3g}/s" if rate < 100 else f"{rate:.0f}/s", f"ETA {_clock((self.total - self.done) / rate)}"]
        return "  ".join(parts + [f"{name}={_figure(value)}" for name, value in self.figures.items()])


@contextmanager
def _bar(description: str, total: int, start: int) -> Iterator[Callable[[int, str], None]]:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[status]}", markup=False))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total, completed=start, status="")
        yield lambda done, status: bar.update(task, completed=done, status=status)


@contextmanager
def _lines(description: str) -> Iterator[Callable[[int, str], None]]:
    yield lambda done, status: log(f"{description}  {status}")


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
