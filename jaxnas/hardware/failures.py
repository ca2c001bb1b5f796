"""Why a measurement failed: because of the network, or because of the equipment.

A failure is one line, `kind: reason`; the kind is a word or two, or the name of a Python exception.
What the equipment did says nothing about a network, so nobody may record it as the network's: see
hardware/watched.py.
"""

import builtins

from jaxnas import errors

LONGEST = 600  # characters of a failure
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
DOUBTFUL = ("timeout", "crash", "memory", "firmware", "runtime", "csv", "answer")


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


def is_doubtful(failure: str) -> bool:
    """Whether network or equipment may be the cause.

    >>> is_doubtful("timeout: hailortcli run did not end")
    True
    >>> is_doubtful("allocator: no successful assignments")
    False
    """
    return not is_equipment(failure) and (
        _kind(failure) in DOUBTFUL or _is_exception(failure, OSError, MemoryError)
    )


def one_line(text: str) -> str:
    """A text that a foreign program wrote, as one line of printable characters.

    It is not endless.
    """
    return errors.one_line(text[: 2 * LONGEST])[:LONGEST]


def describe(error: Exception) -> str:
    """The failure that an exception is.

    >>> describe(ValueError("no\\n luck")), describe(DeviceError("crash: killed"))
    ('ValueError: no luck', 'crash: killed')
    """
    return one_line(
        str(error) if isinstance(error, DeviceError) else f"{type(error).__name__}: {error}"
    )


def _kind(failure: str) -> str:
    return failure.partition(":")[0]


def _is_exception(failure: str, *kinds: type[Exception]) -> bool:
    """Whether the kind is the name of one of these exceptions or of a subclass."""
    found = getattr(builtins, _kind(failure), None)
    return isinstance(found, type) and issubclass(found, kinds)
