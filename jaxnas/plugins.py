"""Names of a user's own things: `file.py:name`, or `package.module:name` of what is installed.

Wherever a setting takes a name of jaxnas's, it takes one of these: a space, an algorithm, a device,
a predictor, an objective, a training method, a source of data. In an experiment file the thing
itself stands in its place (`Config(space=my_space)`); it is then known by the file and its name, so
that a run's config.json says where it came from, and a resumed run finds it again.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, TypeVar

from tyro.constructors import PrimitiveConstructorSpec

from jaxnas.errors import UserError, near

T = TypeVar("T")
# A setting's type: a name, or in an experiment's file the user's own function.
Name = Annotated[
    Any,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="STR",
        instance_from_str=lambda given: given[0],
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda value: [value],
    ),
]


def find(kind: str, name: str, known: Mapping[str, T], others: str = "") -> T:
    """`known[name]`, or the thing that `file.py:name` or `package.module:name` is.

    `others` tells the user what else a name may be.

    Raises:
        UserError: it is neither; the message lists the known names.
    """
    if name in known:
        return known[name]
    place, colon, attribute = name.rpartition(":")
    if not colon or not is_place(place):
        names = sorted(written(known))
        more = f"{others}, " if others else ""
        raise UserError(
            f"unknown {kind} {name!r}; known: {', '.join(names)}, {more}and your own as "
            f"file.py:name{near(name, names)}"
        )
    module = _of_file(place) if place.endswith(".py") else _of_package(kind, place)
    if not hasattr(module, attribute):
        raise UserError(f"{place} has no {attribute!r}, which {kind} {name!r} names: mend the name")
    return getattr(module, attribute)


def written(known: Mapping[str, T]) -> dict[str, T]:
    """Known things by names as settings write them: those that need an argument with it."""
    return {f"{name}{argument_of(thing)}": thing for name, thing in known.items()}


def with_argument(form: str) -> Callable[[T], T]:
    """Marks what a name stands for with the argument that must follow it: `:HOST`."""

    def marked(thing: T) -> T:
        setattr(thing, "argument", form)  # noqa: B010, for types know no attributes of functions
        return thing

    return marked


def argument_of(thing: Any) -> str:
    """The argument that must follow a name, as far as what it stands for says so."""
    return getattr(thing, "argument", "")


def is_place(text: str) -> bool:
    """Whether this is a file or a module, as stands before the colon of a name."""
    return text.endswith(".py") or (
        "." in text and all(part.isidentifier() for part in text.split("."))
    )


def named(thing: Any) -> str:
    """The name of a user's function or class: the file that defines it, and its name there.

    A name stays as it is.

    Raises:
        UserError: it has no name at the top of a file, by which a resumed run could find it.
    """
    if isinstance(thing, str):
        return thing
    name = getattr(thing, "__qualname__", "")
    module = sys.modules.get(getattr(thing, "__module__", ""))
    code = getattr(thing, "__code__", None)
    path = code.co_filename if code is not None else getattr(module, "__file__", None)
    if not name.isidentifier() or not path or not Path(path).is_file():
        raise UserError(
            f"a setting takes a function or a class at the top of a file, got {thing!r:.80}: "
            "define it there, so that a resumed run finds it again"
        )
    return f"{path}:{name}"


def leaves_unread(*settings: str) -> Callable[[T], T]:
    """Marks what a name stands for with the settings that it does not read."""

    def marked(thing: T) -> T:
        setattr(thing, "unread", settings)  # noqa: B010, for types know no attributes of functions
        return thing

    return marked


def unread(thing: Any) -> tuple[str, ...]:
    """The settings that a function or class leaves unread, as far as it says so."""
    return getattr(thing, "unread", ())


@lru_cache(maxsize=64)
def _of_file(path: str) -> ModuleType:
    if not Path(path).is_file():
        raise UserError(f"there is no file {path}: write the path of a .py file, a colon, a name")
    spec = importlib.util.spec_from_file_location(f"jaxnas_plugin:{path}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look up their types
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{path} does not run: {type(error).__name__}: {error}") from error
    return module


def _of_package(kind: str, place: str) -> ModuleType:
    try:
        return importlib.import_module(place)
    except ImportError as error:
        raise UserError(f"{kind}: cannot import {place}: {error}") from error
