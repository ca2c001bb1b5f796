"""Experiments as the command line names them: a file, a run directory, and settings over both."""

import importlib.util
import io
import os
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from types import ModuleType
from typing import Any

import tyro

from jaxnas.config import Config
from jaxnas.errors import UserError, check_path
from jaxnas.stages.bounds import check_types
from jaxnas.stages.settings import read_config

# Settings that have other names now.
FILE = "experiments/quickstart.py"
# Where a wheel puts it, else a checkout.
QUICKSTART = next(
    folder / FILE for folder in Path(__file__).parents[:2] if (folder / FILE).exists()
)
RENAMED = {"--search.also": "--search.objectives error latency_ms"}
SETTINGS = (
    "Settings of this experiment, all of which can be overridden as below; `--out DIR` names the "
    "run directory."
)


def load_config(experiment: str) -> Config:
    """The `config` of an experiment file, or the settings of a run directory.

    Of FILE.py:NAME its NAME.
    """
    path, name = _file_and_name(experiment)
    if path.is_dir():
        return read_config(path)
    config = getattr(_experiment(path), name, None)
    if type(config) is not Config:
        raise UserError(
            f"{path} must define `{name}`, a jaxnas.config.Config, got {type(config).__name__}"
        )
    check_types(config)
    return config


def _file_and_name(experiment: str) -> tuple[Path, str]:
    """
    >>> _file_and_name("a/b.py:paper"), _file_and_name("runs/b")
    ((PosixPath('a/b.py'), 'paper'), (PosixPath('runs/b'), 'config'))
    """
    check_path("an experiment", experiment)
    if experiment == QUICKSTART.stem and not os.path.exists(experiment):
        return QUICKSTART, "config"
    file, colon, name = experiment.rpartition(":")
    return (Path(file), name) if colon and file.endswith(".py") else (Path(experiment), "config")


def load_problem(experiment: str) -> Callable[[], Any] | None:
    """The function `problem` of an experiment file; it returns a `studies.compare.Problem`.

    None where there is none.
    """
    path, _ = _file_and_name(experiment)
    return None if path.is_dir() else getattr(_experiment(path), "problem", None)


def _experiment(path: Path) -> ModuleType:
    if path.suffix != ".py" or not path.is_file():
        raise UserError(
            "an experiment is a Python file that defines `config`, or the directory of a run, got "
            f"{str(path)!r}: no such file"
        )
    spec = importlib.util.spec_from_file_location("jaxnas_experiment", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where classes are known by
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # sys.exit() too: an experiment file defines settings, and does nothing else.
        raise UserError(f"{path} does not run: {type(error).__name__}: {error}") from error
    return module


def overridden(config: Config, overrides: list[str], prog: str) -> Config:
    """The settings with the overrides of the command line.

    Tyro's box of complaints becomes one line.
    """
    for text in overrides:
        if (name := text.partition("=")[0].replace("_", "-")) in RENAMED:
            raise UserError(f"{name} is now {RENAMED[name]}: write that, and the others after it")
    box = io.StringIO()
    try:
        with redirect_stderr(box):
            return tyro.cli(Config, default=config, args=overrides, prog=prog, description=SETTINGS)
    except SystemExit as stop:
        if not stop.code:  # --help
            raise
        _, *lines = (
            line.strip("│| ") if re.search(r"\w", line) else ""
            for line in box.getvalue().splitlines()
        )
        complaint, *rest = (
            part.replace("\n", " ") for part in re.split(r"\n{2,}", "\n".join(lines).strip())
        )
        meant = (
            [
                name
                for name in re.findall(r"--[a-z][\w.-]*", rest[0])
                if rest[0].startswith("Perhaps")
            ]
            if rest
            else []
        )
        hint = f"perhaps you meant {' or '.join(meant)}; " if meant else ""
        raise UserError(f"{complaint}; {hint}{prog} --help lists all settings") from None
