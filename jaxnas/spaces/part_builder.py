"""The operators of a part written one after the other: sizes follow from what an operator reads."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from jaxnas.networks.op import INPUT, PICK, Op
from jaxnas.networks.operators import OPERATORS
from jaxnas.types import Size


class PartBuilder:
    """Collects operators behind an `input` of this size; each reads the one before by default.

    With `repeat`, the part has its operators only where that is 1.
    """

    def __init__(self, size: Size, channels: Size, repeat: Size = 1):
        self.ops: list[Op] = []
        self.repeat = repeat
        self.input(size, channels)

    @property
    def channels(self) -> Size:
        """Of the last result."""
        return self.ops[-1].c_out

    def input(self, size: Size, channels: Size) -> int:
        """One more result that the part reads; returns its position. Inputs stand first."""
        self.ops.append(Op(INPUT, "", (), size, size, channels, channels))
        return len(self.ops) - 1

    def append(
        self,
        kind: str,
        c_out: Size | None = None,
        path: str = "",
        inputs: tuple[int, ...] = (),
        stride: int = 1,
        repeat: Size | None = None,
        **rest: Any,
    ) -> int:
        """An operator, as wide as what it reads without `c_out`; returns its position."""
        inputs = inputs or (len(self.ops) - 1,)
        first = self.ops[inputs[0]]
        c_in = first.c_out
        for i in inputs[1:] if kind == "concat" else ():
            c_in = c_in + self.ops[i].c_out
        width = c_in if c_out is None else c_out
        repeat = self.repeat if repeat is None else self.repeat * repeat
        sides = (first.height, first.width, c_in, width)
        op = Op(kind, path, inputs, *sides, stride=stride, repeat=repeat, **rest)
        known = OPERATORS.get(kind)  # spaces.checked refuses another
        if known is not None:
            height = known.side(op.height, op)
            width = height if op.width is op.height else known.side(op.width, op)
            op = replace(op, height=height, width=width)
        self.ops.append(op)
        return len(self.ops) - 1

    def conv(self, path: str, c_out: Size, act: str = "", **rest: Any) -> int:
        """Convolution, norm and activation."""
        return self.append("conv", c_out, path, norm=True, act=act, **rest)

    def pick(self, inputs: tuple[int, ...], choice: Size) -> int:
        """The result of one of the inputs, all of one size."""
        first = self.ops[inputs[0]]
        width = first.c_out
        for at, i in enumerate(inputs):
            width = width + (self.ops[i].c_out - width) * (choice == at)
        sides = (first.height, first.width, first.c_out, width)
        self.ops.append(Op(PICK, "", inputs, *sides, repeat=0, choice=choice))
        return len(self.ops) - 1

    @contextmanager
    def only_where(self, there: Size) -> Iterator[None]:
        """What is appended within is there where `there` is 1, besides."""
        before = self.repeat
        self.repeat = before * there
        yield
        self.repeat = before

    def done(self) -> tuple[Op, ...]:
        """All of them."""
        return tuple(self.ops)


def classifier(width: Size, classes: int) -> tuple[Op, ...]:
    """A part: a linear layer of one pixel."""
    ops = PartBuilder(1, width)
    ops.append("linear", classes, "classifier", bias=True)
    return ops.done()


def squeeze_excite(ops: PartBuilder, path: str, squeezed: Size, gate: str = "hard_sigmoid") -> int:
    """Gates of all channels from their global averages (Hu et al., CVPR 2018)."""
    x = len(ops.ops) - 1
    channels = ops.channels
    ops.append("pool")
    ops.append("conv", squeezed, f"{path}/squeeze", bias=True, act="relu")
    gates = ops.append("conv", channels, f"{path}/excite", bias=True, act=gate)
    return ops.append("mul", inputs=(x, gates))
