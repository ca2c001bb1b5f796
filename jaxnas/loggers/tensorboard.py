"""TensorBoard's event files, in the folder `tensorboard` of a run."""

from importlib import import_module
from typing import Any

from jaxnas.errors import UserError, how_to_install
from jaxnas.loggers.writer import About, Line, scalars


class TensorBoard:
    """Through tensorboardX, which needs no TensorFlow; `tensorboard --logdir RUN` shows it."""

    def __init__(self, about: About):
        try:
            package = import_module("tensorboardX")
        except ImportError as error:
            raise UserError(
                f"loggers tensorboard needs tensorboardX ({error}): {how_to_install('tensorboard')}"
            ) from error
        self._open = lambda: package.SummaryWriter(str(about.folder / "tensorboard"))
        self._file: Any = None

    def write(self, line: Line) -> None:
        self._file = self._file or self._open()
        found = scalars(line)
        for name, value in found.values.items():
            self._file.add_scalar(f"{found.group}/{name}", value, found.step, line["time"])
        self._file.flush()
