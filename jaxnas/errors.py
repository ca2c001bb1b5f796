"""The one exception that a user is meant to see."""

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


class UserError(Exception):
    """A mistake or a state that the user can mend: what was expected, what came, what to do, in one line.

    The command line prints it without a traceback and exits with code 2.
    """


def choose(kind: str, name: str, known: Mapping[str, T]) -> T:
    """`known[name]`, or a `UserError` that lists the known names."""
    if name not in known:
        raise UserError(f"unknown {kind} {name!r}; known: {', '.join(sorted(known))}")
    return known[name]
