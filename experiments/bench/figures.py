"""What benches share.

Contenders timed in interleaved rounds, medians with their spread, bars, and how all of it is shown.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import tyro

from jaxnas.errors import UserError
from jaxnas.progress import progress
from jaxnas.records.environment import environment


class Contender(NamedTuple):
    """Something to be timed; `run` returns when its work is done, and what it has found."""

    name: str
    run: Callable[[], Any]


@dataclass(frozen=True)
class Figure:
    """One quantity, measured once in every round."""

    name: str
    unit: str
    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.rounds)


@dataclass(frozen=True)
class Bar:
    """What the median of a figure must reach; a figure that was not measured misses its bar."""

    figure: str
    at_least: float


@dataclass(frozen=True)
class Report:
    """All that a bench has to say."""

    bench: str
    notes: dict[str, str]
    figures: list[Figure] = field(default_factory=list)
    bars: Sequence[Bar] = ()

    def add(self, name: str, unit: str, *rounds: float) -> None:
        self.figures.append(Figure(name, unit, tuple(map(float, rounds))))

    def judged(self) -> list[tuple[Bar, float | None, bool]]:
        """Every bar, the median reached (None = not measured) and whether that is enough."""
        medians = {figure.name: figure.median for figure in self.figures}
        reached = [(bar, medians.get(bar.figure)) for bar in self.bars]
        return [(bar, value, value is not None and value >= bar.at_least) for bar, value in reached]

    def exit_code(self) -> int:
        """1 if a bar is missed, else 0."""
        return int(not all(met for _, _, met in self.judged()))

    def text(self) -> str:
        """For a person: notes, a line a figure, a line a bar."""
        wide = max((len(figure.name) for figure in self.figures), default=0)
        lines = [f"{name}: {note}" for name, note in self.notes.items()] + [
            "",
            "Median of the rounds (least to most)",
        ]
        for figure in self.figures:
            spread = (
                f" ({_short(min(figure.rounds))} to {_short(max(figure.rounds))})"
                if len(figure.rounds) > 1
                else ""
            )
            lines.append(f"{figure.name:{wide}}  {_short(figure.median):>9} {figure.unit}{spread}")
        lines += ["", "Bars"] if self.bars else []
        for bar, value, met in self.judged():
            got = "not measured" if value is None else _short(value)
            lines.append(
                f"{'met   ' if met else 'MISSED'}  {bar.figure}: at least {bar.at_least:,g}, got "
                f"{got}"
            )
        return "\n".join(lines)

    def json(self) -> str:
        """The same figures for a program, with the machine and the versions."""
        figures = [
            {
                **asdict(figure),
                "median": figure.median,
                "least": min(figure.rounds),
                "most": max(figure.rounds),
            }
            for figure in self.figures
        ]
        bars = [{**asdict(bar), "median": value, "met": met} for bar, value, met in self.judged()]
        report = {
            "bench": self.bench,
            "environment": environment(),
            "notes": self.notes,
            "figures": figures,
            "bars": bars,
        }
        return json.dumps(report, indent=2) + "\n"


def race(
    description: str, contenders: Sequence[Contender], rounds: int
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Seconds of every contender in every round, and what each found last.

    The contenders take turns, and each round another one begins, so that a machine's slow phases
    hit all alike.
    """
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    found = {}
    with progress(description, rounds * len(contenders)) as advance:
        for r in range(rounds):
            for i in range(len(contenders)):
                contender = contenders[(r + i) % len(contenders)]
                taken, found[contender.name] = timed(contender.run)
                seconds[contender.name].append(taken)
                advance(latest=f"{contender.name} {taken:.3g} s")
    return seconds, found


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that a call takes, and its result."""
    start = perf_counter()
    result = run()
    return perf_counter() - start, result


def _short(value: float) -> str:
    """
    >>> _short(0.51234), _short(12.3456), _short(5123456.0)
    ('0.512', '12.3', '5,120,000')
    """
    return (
        f"{float(f'{value:.3g}'):,g}"
        if not abs(value) >= 1e6
        else f"{int(float(f'{value:.3g}')):,}"
    )


def run_bench(
    name: str,
    description: str,
    settings: type,
    bench: Callable[[Any], Report],
    arguments: Sequence[str] | None,
) -> int:
    """Measure as the arguments say, show the report and, where `--json` names a file, write it.

    Returns the exit code.
    """
    chosen = tyro.cli(
        settings, args=arguments, prog=f"jaxnas bench {name}", description=description
    )
    try:
        report = bench(chosen)
    except UserError as error:
        print(f"jaxnas: {error}", file=sys.stderr)
        return 2
    print(report.text())
    if chosen.json is not None:
        chosen.json.write_text(report.json(), encoding="utf-8")
    return report.exit_code()


def check_json(path: Path | None) -> None:
    """The file of `--json` can be written, said before hours are spent."""
    if path is not None and not path.parent.is_dir():
        raise UserError(f"--json {path}: no such directory: make it, or name another file")
