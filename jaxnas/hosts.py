"""Processes that compute together, on one machine or on many, through `jax.distributed`.

The first one leads: it runs the command, decides and writes. The others follow: they take part in
what is computed on the devices of all, and do nothing else. What is next, the leader says by the
key-value store of JAX's coordination service.
"""

import json
import os
import re
from collections.abc import Generator, Iterator
from contextlib import suppress
from time import monotonic
from typing import Any, TypeVar

from jaxnas.errors import UserError

T = TypeVar("T")
AUTO = "auto"
POLL_S = 1.0  # between looks at whether a follower was told to end
LONGEST_WAIT_S = 24 * 3600.0  # of a follower for what is next: a device is measured meanwhile
FAREWELL_S = 10.0
STEP, STOP, END = "step", "stop", "end"


class Ended(Exception):
    """The leader's command is over, with this exit code."""

    def __init__(self, code: int):
        super().__init__(code)
        self.code = code


class _Group:
    """This process's place among all, and how they talk."""

    def __init__(self, client: Any, index: int, count: int):
        self.client = client
        self.index = index
        self.count = count
        self.told = 0  # messages
        self.polled = monotonic()
        self.ended = False


_group: _Group | None = None


def join(text: str) -> None:
    """Take this process's place: `auto`, or HOST:PORT,COUNT,INDEX; before JAX computes anything.

    Raises:
        UserError: it is neither, JAX finds no cluster, or the others do not come.
    """
    global _group
    arguments = _arguments(text)
    import jax
    from jax._src import distributed

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # it takes SIGTERM for itself
    try:
        jax.distributed.initialize(**arguments)
    except (RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(
            f"--distributed {text}: the processes do not find each other ({reason}): start all of "
            "them, each with HOST:PORT of the first, their number and its own index"
        ) from error
    state = distributed.global_state
    if state.num_processes > 1:
        _group = _Group(state.client, state.process_id, state.num_processes)


def _arguments(text: str) -> dict[str, Any]:
    """
    >>> _arguments("10.0.0.1:1234,4,3")
    {'coordinator_address': '10.0.0.1:1234', 'num_processes': 4, 'process_id': 3}
    """
    if text == AUTO:
        return {}
    found = re.fullmatch(r"(\S+:[0-9]{1,5}),([0-9]{1,6}),([0-9]{1,6})", text)
    if found is None or not int(found[3]) < int(found[2]):
        raise UserError(
            f"--distributed must be auto or HOST:PORT,COUNT,INDEX, got {text[:60]!r}: write "
            "10.0.0.1:1234,2,0 for the first of two processes"
        )
    address, count, index = found.groups()
    return {
        "coordinator_address": address,
        "num_processes": int(count),
        "process_id": int(index),
    }


def count() -> int:
    """How many processes compute together."""
    return 1 if _group is None else _group.count


def follows() -> bool:
    """Whether another process leads."""
    return _group is not None and _group.index > 0


def tell(work: str, **facts: Any) -> None:
    """Say what is next: the leader, to all."""
    if _group is None or _group.ended:
        return
    _group.ended = work == END
    _heed_followers(_group)
    message = json.dumps({"work": work, **facts})
    _group.client.key_value_set(f"jaxnas/told/{_group.told}", message)
    _group.told += 1


def _heed_followers(group: _Group) -> None:
    """A follower that was told to end has the leader end: it saves, and tells all."""
    if monotonic() - group.polled < POLL_S:
        return
    group.polled = monotonic()
    asked = group.client.key_value_dir_get("jaxnas/asked")
    for key, number in asked:
        group.client.key_value_delete(key)
        os.kill(os.getpid(), int(number))


def heard(asked: Any = lambda: None) -> dict[str, Any]:
    """What is next: a follower, from the leader. `asked` is the signal that came meanwhile, if any.

    Raises:
        Ended: the leader's command is over.
        UserError: the leader is gone.
    """
    assert _group is not None
    message = json.loads(_awaited(f"jaxnas/told/{_group.told}", asked))
    _group.told += 1
    if message["work"] == END:
        raise Ended(message["code"])
    return message


def _awaited(key: str, asked: Any = lambda: None) -> str:
    assert _group is not None
    deadline = monotonic() + LONGEST_WAIT_S
    passed_on = False
    while monotonic() < deadline:
        try:
            return _group.client.blocking_key_value_get(key, int(1000 * POLL_S))
        except Exception as error:  # JAX's errors of all kinds are one class
            if "DEADLINE_EXCEEDED" not in str(error):
                raise gone(error) from error
        if asked() is not None and not passed_on:
            passed_on = True
            _group.client.key_value_set(f"jaxnas/asked/{_group.index}", str(asked()))
    raise gone(TimeoutError("it says nothing"))


def answer(reason: str) -> None:
    """Say that all is well, or why not: a follower, to the leader."""
    assert _group is not None
    _group.client.key_value_set(f"jaxnas/answer/{_group.index}", reason, allow_overwrite=True)


def check_answers() -> None:
    """Wait until each follower has answered; one that cannot follow is an error of all."""
    for index in range(1, count()):
        if reason := _awaited(f"jaxnas/answer/{index}"):
            raise UserError(f"process {index}: {reason}")


def share(tree: T) -> T:
    """The leader's arrays, on each host; followers give any of the same shapes and types."""
    from jax.experimental.multihost_utils import broadcast_one_to_all

    return broadcast_one_to_all(tree)


def led(steps: Iterator[T]) -> Generator[T, None, None]:
    """The leader's steps of what all compute, each of which it tells."""
    if _group is None:
        yield from steps
        return
    try:
        while True:
            tell(STEP)
            step = next(steps, None)
            if step is None:
                return
            yield step
    finally:
        tell(STOP)


def leave(code: int) -> None:
    """The leader's last word, which it waits for the others to hear."""
    if _group is None or _group.index > 0:
        return
    with suppress(Exception):  # they may be gone
        tell(END, code=code)
        _group.client.wait_at_barrier("jaxnas/end", int(1000 * FAREWELL_S))


def heard_the_end() -> None:
    """A follower's part in `leave`."""
    assert _group is not None
    with suppress(Exception):
        _group.client.wait_at_barrier("jaxnas/end", int(1000 * FAREWELL_S))


def gone(error: Exception) -> UserError:
    """The error of a computation in which another process takes no part any more."""
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return UserError(
        f"another process is gone, or cannot be reached ({reason}): start all of them again with "
        "the same commands, and they go on from the newest checkpoint"
    )
