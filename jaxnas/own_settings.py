"""Settings of one's own, written after the name: `moead:neighbours=10:locality=0.8`.

They are the fields of the dataclass that the name stands for, and of its parts (`Discrete`, the
operators).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from inspect import signature
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from jaxnas.errors import UserError
from jaxnas.plugins import find, unread

T = TypeVar("T", bound=Callable[..., Any])
OF_SEARCH = ("population", "objectives", "limits", "constraints")  # of all algorithms alike
LARGEST = 10**6  # of a number
EXPECTED = {
    bool: "True or False",
    int: f"a whole number up to {LARGEST}",
    int | None: f"a whole number up to {LARGEST}, or None",
    float: f"a number up to {LARGEST}",
    tuple[float, ...]: f"numbers up to {LARGEST}, as 2,1",
}


def find_with_settings(kind: str, text: str, known: Mapping[str, T]) -> tuple[T, dict[str, Any]]:
    """What a name of this kind stands for, and the settings that follow it.

    A word in their place is the setting `name`, where there is one: `evosax:PSO`.

    Raises:
        UserError: the name, or a setting of it, is unknown, or a value of another type.
    """
    name, *rest = re.split(r":(?=\w+=)", text)
    given = [setting.partition("=")[::2] for setting in rest]
    group, _, member = name.partition(":")
    if member and group in known and "name" in own_settings(known[group]):
        name = group
        given = [("name", member), *given]
    make = find(kind, name, known)
    kinds = own_settings(make)
    values = {}
    for setting, value in given:
        if setting not in kinds:
            others = ", ".join(f"search.{one}" for one in OF_SEARCH)
            raise UserError(
                f"unknown setting {setting!r} of {name}; known: {', '.join(kinds) or 'none'}"
                + f" ({others} are set for all)" * (kind == "algorithm")
            )
        if setting in values:
            raise UserError(f"{text} sets {setting} twice: leave one out")
        values[setting] = _read(f"{setting} of {name}", kinds[setting], value)
    return make, values


def own_settings(make: Any) -> dict[str, Any]:
    """The names and types of a dataclass's settings, without those that it leaves unread.

    A function has none.
    """
    if not is_dataclass(make):
        return {}
    found = {}
    kinds = get_type_hints(make)
    for field in fields(make):
        if is_dataclass(field.default_factory):
            found |= own_settings(field.default_factory)
        else:
            found[field.name] = kinds[field.name]
    left_out = (*OF_SEARCH, *unread(make))
    return {name: kind for name, kind in found.items() if name not in left_out}


def reads(make: Callable[..., Any], setting: str) -> bool:
    """Whether what is made so reads this setting of its own; a function may read any."""
    return setting in own_settings(make) if is_dataclass(make) else setting not in unread(make)


def takes(function: Callable[..., Any], parameter: str) -> bool:
    """Whether a function has a parameter of this name."""
    return parameter in signature(function).parameters


def build(make: Any, values: Mapping[str, Any]) -> Any:
    """The dataclass `make`, and its parts, with those of the values that are settings of them."""
    given = {}
    for field in fields(make):
        if field.name in values:
            given[field.name] = values[field.name]
        elif is_dataclass(field.default_factory):
            given[field.name] = build(field.default_factory, values)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise UserError(
                f"{make.__name__} needs the setting {field.name}, which has no default: write "
                f"{field.name}=VALUE after the name and a colon"
            )
    return make(**given)


def _read(what: str, kind: Any, text: str) -> Any:
    try:
        return _converted(kind, text)
    except (ValueError, KeyError):
        expected = EXPECTED.get(kind, kind)
        raise UserError(f"{what} must be {expected}, got {text[:60]!r}: choose one") from None


def _converted(kind: Any, text: str) -> Any:
    """
    >>> _converted(int | None, "None"), _converted(tuple[float, ...], "2,1")
    (None, (2.0, 1.0))
    """
    first, *others = get_args(kind) or (kind,)
    if text == "None" and type(None) in others:
        return None
    if get_origin(kind) is tuple:
        return tuple(_converted(first, item) for item in text.split(","))
    if first is bool:
        return {"True": True, "False": False}[text]
    if first not in (int, float, str):
        raise ValueError(text)
    value: Any = first(text)
    if first is not str and not abs(value) <= LARGEST:
        raise ValueError(text)
    return value
