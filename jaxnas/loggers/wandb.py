"""Weights & Biases: a run of the project `jaxnas`, or of that which WANDB_PROJECT names."""

import os
from importlib import import_module
from typing import Any

from jaxnas.errors import UserError, how_to_install
from jaxnas.loggers.writer import About, Line, scalars


class WeightsAndBiases:
    """Each group of figures has an axis of its own; a resumed run goes on in the same place."""

    def __init__(self, about: About):
        try:
            package = import_module("wandb")
        except ImportError as error:
            raise UserError(
                f"loggers wandb needs wandb ({error}): {how_to_install('wandb')}"
            ) from error
        self._start = package.init
        self._about = about
        self._run: Any = None
        self._groups: set[str] = set()

    def write(self, line: Line) -> None:
        self._run = self._run or self._started()
        found = scalars(line)
        axis = f"{found.group}/step"
        if found.group not in self._groups:
            self._groups.add(found.group)
            self._run.define_metric(f"{found.group}/*", step_metric=axis)
        figures = {f"{found.group}/{name}": value for name, value in found.values.items()}
        self._run.log({**figures, axis: found.step})

    def _started(self) -> Any:
        about = self._about
        return self._start(
            project=os.environ.get("WANDB_PROJECT", "jaxnas"),
            id=about.identity,
            name=about.name,
            dir=str(about.folder),
            config=dict(about.settings),
            resume="allow",
        )
