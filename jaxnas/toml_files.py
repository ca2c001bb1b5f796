"""Descriptions that users write: a TOML file whose settings are the fields of a dataclass."""

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_args, get_origin

from jaxnas.errors import UserError

EXPECTED = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a string",
    tuple[int, ...]: "a list of whole numbers",
    tuple[str, ...]: "a list of strings",
    tuple[float, float]: "a list of two numbers",
    tuple[float, ...]: "a list of numbers",
    tuple[tuple[float, ...], ...]: "a list of lists of numbers",
    tuple[tuple[str, float, float], ...]: "a list of lists of a string and two numbers",
}
T = TypeVar("T")


def read(path: str, what: str) -> dict[str, Any]:
    """The settings of a file; a `UserError` names the file and what it was to describe."""
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise UserError(
            f"cannot read the {what} {path}: {error.strerror}; name a .toml file"
        ) from error
    except (ValueError, RecursionError) as error:
        # Numbers of thousands of digits, thousands of brackets.
        raise UserError(f"{path} is no TOML file: {error}") from error


def made(kind: type[T], where: str, settings: Mapping[str, Any], given: Mapping[str, Any]) -> T:
    """A dataclass from a file's settings, each of the type of its field.

    And from what is given beside them.

    A `UserError` begins with `where`, and names the setting and what was expected.
    """
    known: dict[str, Any] = {field.name: field for field in fields(kind) if field.name not in given}  # pyright: ignore[reportArgumentType]
    if unknown := [name for name in settings if name not in known]:
        raise UserError(f"{where}: unknown setting {unknown[0]}; known: {', '.join(known)}")
    if missing := [
        field for field in known.values() if field.name not in settings and field.default is MISSING
    ]:
        raise UserError(
            f"{where}: {missing[0].name} is missing, expected {EXPECTED[missing[0].type]}"
        )
    values = {
        name: _value(f"{where}: {name}", known[name].type, value)
        for name, value in settings.items()
    }
    try:
        return kind(**values, **given)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _value(what: str, kind: Any, value: Any) -> Any:
    try:
        return _converted(kind, value)
    except ValueError:
        raise UserError(f"{what} must be {EXPECTED[kind]}, got {value!r}") from None


def _converted(kind: Any, value: Any) -> Any:
    """The value as `kind`, lists as tuples; a `ValueError` where it is of another type."""
    if get_origin(kind) is tuple and type(value) is list:
        item, *others = get_args(kind)
        kinds = [item] * len(value) if others[-1:] == [...] else [item, *others]
        return tuple(_converted(*pair) for pair in zip(kinds, value, strict=True))
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ValueError(value)
    return value
