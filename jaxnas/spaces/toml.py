"""A user's own space, from a TOML file.

The file sets the fields of `MobileNet` but for channels and classes, which the images decide; `resolutions` are the images'
own size unless given, in pixels. `stages` is an array of tables that set the fields of `Stage`.
"""

import tomllib
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

from jaxnas.errors import UserError
from jaxnas.spaces.mobilenet import mobilenet_space
from jaxnas.spaces.space import Space
from jaxnas.spaces.stage import MobileNet, Stage

EXPECTED = {int: "a whole number", bool: "true or false", str: "a string", tuple[int, ...]: "a list of whole numbers"}
T = TypeVar("T", MobileNet, Stage)


def load(path: str, image_size: int, channels: int, classes: int) -> Space:
    """The space that a file describes, named after the file, for images of this size.

    A `UserError` names the file, the setting, and what was expected.
    """
    settings = _read(path)
    stages = settings.pop("stages", None)
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        raise UserError(f"{path}: stages must be a list of tables like {{widths = [16, 24], depths = [1, 2], ...}}, got {stages}")
    images = {"channels": channels, "classes": classes}
    settings = {"resolutions": [image_size], **settings}
    built = tuple(_made(Stage, f"{path}: stage {i}", stage, {}) for i, stage in enumerate(stages, 1))
    net = _made(MobileNet, path, settings, {"stages": built, **images})
    try:
        return mobilenet_space(Path(path).stem, net)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise UserError(f"cannot read the space {path}: {error.strerror}; name a .toml file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no TOML file: {error}") from error


def _made(kind: type[T], where: str, settings: dict[str, Any], given: dict[str, Any]) -> T:
    """A `MobileNet` or `Stage` from a file's settings, each of the type of its field, and from what is given beside them."""
    known = {field.name: field for field in fields(kind) if field.name not in given}
    if unknown := [name for name in settings if name not in known]:
        raise UserError(f"{where}: unknown setting {unknown[0]}; known: {', '.join(known)}")
    if missing := [field for field in known.values() if field.name not in settings and field.default is MISSING]:
        raise UserError(f"{where}: {missing[0].name} is missing, expected {EXPECTED[missing[0].type]}")
    values = {name: _value(f"{where}: {name}", known[name].type, value) for name, value in settings.items()}
    try:
        return kind(**values, **given)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _value(what: str, kind: Any, value: Any) -> Any:
    if kind == tuple[int, ...] and type(value) is list and all(type(item) is int for item in value):
        return tuple(value)
    if type(value) is not kind:
        raise UserError(f"{what} must be {EXPECTED[kind]}, got {value!r}")
    return value
