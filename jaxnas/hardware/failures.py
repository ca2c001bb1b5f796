"""Why a measurement failed: because of the network, or because of the equipment.

A failure is one line, `kind: reason`; the kind is a word or two, or the name of a Python exception.
What the equipment did says nothing about a network, so nobody may record it as the network's: see
hardware/watched.py.
"""

import builtins

from jaxnas.errors import one_line

MAX_CHARACTERS = 600  # of a failure
# The device, or the software that drives it, was not there.
EQUIPMENT = (
    "no device",
    "no hailortcli",
    "missing SDK",
    "missing library",
    "missing ONNX Runtime",
    "version",
    "architecture",
    "machine",
)
# A network can be the cause of these, and so can a machine that hangs, is full, or loses its
# connection.
AMBIGUOUS = ("timeout", "crash", "memory", "firmware", "runtime", "csv", "answer")


class DeviceError(Exception):
    """What kept a device from measuring: `kind: reason`, one line."""


def is_equipment(failure: str) -> bool:
    """Whether the device was not there to run the network.

    >>> is_equipment("version: driver and library differ")
    True
    >>> is_equipment("ConnectionError: cannot reach pi"), is_equipment("")
    (True, False)
    """
    return _kind(failure) in EQUIPMENT or _is_exception(failure, ConnectionError)


def is_ambiguous(failure: str) -> bool:
    """Whether network or equipment may be the cause.

    >>> is_ambiguous("timeout: hailortcli run did not end")
    True
    >>> is_ambiguous("allocator: no successful assignments")
    False
    """
    return not is_equipment(failure) and (
        _kind(failure) in AMBIGUOUS or _is_exception(failure, OSError, MemoryError)
    )


def failure_line(text: str) -> str:
    """The text of another program as one printable line of at most 600 characters."""
    return one_line(text[: 2 * MAX_CHARACTERS])[:MAX_CHARACTERS]


def describe(error: Exception) -> str:
    """The failure that an exception is.

    >>> describe(ValueError("no\\n luck")), describe(DeviceError("crash: killed"))
    ('ValueError: no luck', 'crash: killed')
    """
    return failure_line(
        str(error) if isinstance(error, DeviceError) else f"{type(error).__name__}: {error}"
    )


def _kind(failure: str) -> str:
    return failure.partition(":")[0]


def _is_exception(failure: str, *kinds: type[Exception]) -> bool:
    """Whether the kind is the name of one of these exceptions or of a subclass."""
    found = getattr(builtins, _kind(failure), None)
    return isinstance(found, type) and issubclass(found, kinds)
