"""The one exception that a user is meant to see."""

import errno
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from typing import TextIO, TypeVar

T = TypeVar("T")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class UserError(Exception):
    """A mistake or a state that the user can mend.

    What was expected, what came, what to do, in one line.

    The command line prints it without a traceback and exits with code 2.
    """


def printable(text: str) -> str:
    """A text that may hold what strangers wrote, as one line that no terminal obeys.

    Spaces where letters are not printable.
    """
    return "".join(letter if letter.isprintable() else " " for letter in text)


def one_line(text: str) -> str:
    """The same with single spaces."""
    return " ".join(printable(text).split())


def silence(stream: TextIO) -> None:
    """Let a stream that cannot be written any more write to nowhere."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def choose(kind: str, name: str, known: Mapping[str, T]) -> T:
    """`known[name]`, or a `UserError` that lists the known names."""
    if name not in known:
        names = sorted(known)
        raise UserError(f"unknown {kind} {name!r}; known: {', '.join(names)}{near(name, names)}")
    return known[name]


def near(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: which known ones are like it.

    >>> near("nsga", ["nsga2", "moead"]), near("sgd", ["nsga2", "moead"])
    ('; did you mean nsga2?', '')
    """
    found = get_close_matches(name, known)
    return f"; did you mean {' or '.join(found)}?" if found else ""


def cannot(verb: str, path: str | os.PathLike[str], error: OSError) -> UserError:
    """The error of a file that the system refuses.

    `cannot write PATH: No space left on device; free some space, ...`.
    """
    advice = "check the path and the disk"
    if error.errno in FULL:
        advice = "free some space"
    elif error.errno in _FORBIDDEN:
        advice = "check its permissions"
    elif error.errno == errno.ELOOP:
        advice = "it is a link: remove it"
    return UserError(
        f"cannot {verb} {os.fspath(path)}: {error.strerror}; {advice}, then run the same command "
        "again"
    )


def how_to_install(extra: str) -> str:
    """What brings an optional part of jaxnas, which lies on no package index."""
    return f"run `pip install -e '.[{extra}]'` in a checkout of jaxnas"


def check_path(what: str, path: str) -> None:
    """Refuses what no file can be named.

    Nothing, NUL, bytes that are not UTF-8, too long a name.
    """
    try:
        if path:
            path.encode()
            os.lstat(path)
            return
        reason = "it is empty"
    except UnicodeEncodeError:
        reason = "it is not UTF-8"
    except ValueError:
        reason = "it holds a NUL"
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.ELOOP):
            return
        reason = os.strerror(error.errno)
    shown = path if len(path) <= 60 else f"{path[:57]}..."
    raise UserError(f"{what} must be a path, got {shown!r} ({reason}): name another")
