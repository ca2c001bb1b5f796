"""What a logger is: it takes the lines of metrics.jsonl as they are written."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

Line = Mapping[str, Any]


@runtime_checkable
class Writer(Protocol):
    """Shows figures of a run somewhere."""

    def write(self, line: Line) -> None:
        """Take a line: `stage`, `time` (seconds since 1970), perhaps an `event`, and figures."""
        ...


@dataclass(frozen=True)
class About:
    """The run that a logger shows; `settings` have dotted names."""

    name: str
    folder: Path
    settings: Mapping[str, Any]

    @property
    def identity(self) -> str:
        """The same for a resumed run in this folder."""
        return hashlib.sha256(str(self.folder.absolute()).encode()).hexdigest()[:16]


MakeWriter = Callable[[About], Writer]  # what a name of a logger stands for


@dataclass(frozen=True)
class Scalars:
    """The numbers of a line, by the names that they have in it."""

    group: str  # "train", "finetune/front_1"
    step: int
    values: dict[str, float]


def scalars(line: Line) -> Scalars:
    """The numbers of a line, and at which step, or epoch of a fine-tuning, they were taken.

    >>> scalars({"stage": "finetune", "time": 9.5, "name": "knee", "epoch": 2, "loss": 0.5})
    Scalars(group='finetune/knee', step=2, values={'loss': 0.5})
    """
    names = [str(line[key]) for key in ("stage", "event", "name", "label") if line.get(key)]
    step = line.get("step", line.get("epoch", 0))
    left_out = ("step", "epoch", "time")
    values = {
        name: float(value)
        for name, value in line.items()
        if type(value) in (int, float) and name not in left_out
    }
    return Scalars("/".join(names), step, values)
