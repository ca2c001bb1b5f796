"""The pickle of a PyTorch state dict as plain data: nothing in it is executed.

A pickle is a program for a stack machine. `pickletools` decodes it, and the machine here knows only
what a state dict needs: numbers, text, lists, dicts, and a few functions and classes by name, each
replaced by a record of ours. Any other name is never looked up: it becomes an `Inert` record, and
so does whatever the file would make of it. No operation takes more memory or time than its bytes in
the file account for.
"""

import io
import pickletools
import sys
from collections.abc import Callable
from math import prod
from types import FunctionType
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np


class Refused(Exception):
    """What is wrong with the file, for the user."""


class Storage(NamedTuple):
    """A flat array in the file."""

    dtype: np.dtype
    key: str
    size: int


class Tensor(NamedTuple):
    """A view of a storage; offset and strides in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Inert:
    """An object of an unknown class or function: its name, and nothing of what it holds."""

    def __init__(self, name: str):
        self.name = name


def short(key: object) -> str:
    """A key from the file, whose type and size are anyone's choice, in one line."""
    return repr(key[:80]) if isinstance(key, str) else type(key).__name__


def kind_of(value: object) -> str:
    """What a value of the file is, in one line: an unknown object's own name, else its type."""
    return short(value.name) if isinstance(value, Inert) else type(value).__name__


def _ordered_dict() -> dict:
    return {}


def _rebuild_tensor(
    storage, offset, shape, strides, requires_grad=False, hooks=None, metadata=None
) -> Tensor | Inert:
    if isinstance(storage, Inert):
        return storage
    tuples = (
        isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides) <= 32
    )
    if (
        not isinstance(storage, Storage)
        or not tuples
        or not all(type(n) is int for n in (offset, *shape, *strides))
    ):
        raise Refused(
            "expected a tensor's storage, offset, shape and strides, got something else: fetch it "
            "anew"
        )
    if min(offset, *shape, *strides, 0) < 0 or prod(shape) > storage.size:
        raise Refused(
            f"a tensor of shape {str(shape)[:80]} does not fit its storage of {storage.size} "
            "numbers: fetch it anew"
        )
    return Tensor(storage, offset, shape, strides)


def _rebuild_parameter(tensor, requires_grad=True, hooks=None) -> Tensor | Inert:
    if not isinstance(tensor, Tensor | Inert):
        raise Refused(f"expected a parameter's tensor, got {type(tensor).__name__}: fetch it anew")
    return tensor


_DTYPES = {
    "Double": np.float64, "Float": np.float32, "Half": np.float16, "BFloat16": jnp.bfloat16,
    "Long": np.int64, "Int": np.int32, "Short": np.int16, "Char": np.int8,
    "Byte": np.uint8, "Bool": np.bool_,
}  # fmt: skip
_GLOBALS: dict[str, Any] = {
    "collections OrderedDict": _ordered_dict,
    "torch._utils _rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils _rebuild_parameter": _rebuild_parameter,
    **{
        f"{module} {name}Storage": np.dtype(dtype)
        for module in ("torch", "torch.cuda")
        for name, dtype in _DTYPES.items()
    },
}


class Machine:
    """Runs pickles of protocol 2, as torch.save writes them.

    `storages` are those they mention, by key.
    """

    def __init__(self):
        self.storages: dict[str, Storage] = {}
        self.clear()

    def clear(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, file: io.BytesIO) -> Any:
        """The value of the pickle that starts here; leaves the file at its end."""
        self.clear()
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name not in _OPERATIONS:
                raise Refused(
                    "expected a state dict's pickle of protocol 2, got its operation "
                    f"{opcode.name}: save the state_dict alone"
                )
            _OPERATIONS[opcode.name](self, argument)
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def pop_tuple(self, size: int) -> None:
        start = len(self.stack) - size
        if start < 0:
            raise Refused("its description is damaged: fetch it anew")
        self.stack[start:] = [tuple(self.stack[start:])]

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def look_up(self, name: str) -> None:
        self.stack.append(_GLOBALS[name] if name in _GLOBALS else Inert(name.replace(" ", ".")))

    def call(self) -> None:
        arguments = self.stack.pop()
        function = self.stack.pop()
        if not isinstance(function, FunctionType | Inert) or not isinstance(arguments, tuple):
            raise Refused(
                f"expected only tensors, got a call of {type(function).__name__}: save the "
                "state_dict alone"
            )
        self.stack.append(function if isinstance(function, Inert) else function(*arguments))

    def new(self) -> None:
        """An object of a class; those known here are never made so."""
        arguments = self.stack.pop()
        made = self.stack.pop()
        if not isinstance(made, Inert) or not isinstance(arguments, tuple):
            raise Refused(
                f"expected only tensors, got an object of {type(made).__name__}: save the "
                "state_dict alone"
            )
        self.stack.append(made)

    def build(self) -> None:
        """The attributes of a state dict, which are its modules' versions, are left out.

        So are those of unknown objects.
        """
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Inert):
            return
        if (
            not isinstance(target, dict)
            or not isinstance(state, dict)
            or state.keys() != {"_metadata"}
        ):
            raise Refused(
                "expected only tensors, got an object with a state of its own: save the state_dict "
                "alone"
            )

    def append(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list | Inert):
            raise Refused("its description is damaged: fetch it anew")
        if isinstance(target, list):
            target.extend(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict | Inert) or len(values) % 2:
            raise Refused("its description is damaged: fetch it anew")
        if isinstance(target, dict):
            target.update(zip(map(_as_key, values[::2]), values[1::2], strict=True))

    def storage(self) -> None:
        """A tensor's numbers.

        Named by ("storage", type, key, device, size), in older files with None for no view.
        """
        match self.stack.pop():
            # The plain form has a whole model's classes so.
            case ("storage" | "module", Inert() as unknown, *_):
                self.stack.append(unknown)
                return
            case ("storage", np.dtype() as dtype, str(key), str(), int(size)) if (
                0 <= size <= sys.maxsize
            ):
                pass
            case ("storage", np.dtype() as dtype, str(key), str(), int(size), None) if (
                0 <= size <= sys.maxsize
            ):
                pass
            case _:
                raise Refused(
                    "expected only tensors, got a storage of another kind: save the state_dict "
                    "alone"
                )
        storage = Storage(dtype, key, size)
        if self.storages.setdefault(key, storage) != storage:
            raise Refused(f"storage {short(key)} is of two sizes or types: fetch it anew")
        self.stack.append(storage)


def _as_key(key: Any) -> Any:
    """A key of a dict.

    One that is no text or number becomes a record, because hashing nested tuples can take for ever.
    """
    return key if type(key) in (str, int, float, bool) else Inert(type(key).__name__)


_OPERATIONS: dict[str, Callable[[Machine, Any], None]] = {
    "PROTO": lambda machine, _: None,
    "STOP": lambda machine, _: None,
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    **dict.fromkeys(
        ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"),
        lambda machine, value: machine.stack.append(value),
    ),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "EMPTY_TUPLE": lambda machine, _: machine.pop_tuple(0),
    "TUPLE1": lambda machine, _: machine.pop_tuple(1),
    "TUPLE2": lambda machine, _: machine.pop_tuple(2),
    "TUPLE3": lambda machine, _: machine.pop_tuple(3),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.pop_to_mark())),
    "APPEND": lambda machine, _: machine.append([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.pop_to_mark()),
    "SETITEM": lambda machine, _: machine.set_items([machine.stack.pop(-2), machine.stack.pop()]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_to_mark()),
    "BINPUT": Machine.put,
    "LONG_BINPUT": Machine.put,
    "BINGET": lambda machine, index: machine.stack.append(machine.memo[index]),
    "LONG_BINGET": lambda machine, index: machine.stack.append(machine.memo[index]),
    "GLOBAL": Machine.look_up,
    "REDUCE": lambda machine, _: machine.call(),
    "NEWOBJ": lambda machine, _: machine.new(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.storage(),
}
