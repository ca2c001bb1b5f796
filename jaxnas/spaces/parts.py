"""A part of a space: operators in a row, and the genes that decide their sizes.

From this one description follow what networks cost, the plain network of a genome (`assembled`),
and the supernet (`supernets.interpreter`, `supernets.switched`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from jaxnas.errors import UserError
from jaxnas.networks.activations import KEEP_ZERO
from jaxnas.networks.op import INPUT, PICK, Op
from jaxnas.networks.operators import OPERATORS
from jaxnas.networks.operators.operator import unmasked

IMAGE = "image"  # what the first part reads
COMBINATIONS = 1 << 14  # of the choices of a part's genes, all of which stand in tables
SIZES = ("height", "width", "c_in", "c_out", "kernel", "groups", "repeat", "choice")


class Part(NamedTuple):
    """A block or an edge of a network; its result is that of its last operator.

    `ops` takes the values of `genes`, ints or arrays of one shape, and gives the operators, always
    as many and of the same kinds: an operator that these values do without has `repeat` 0, and a
    `pick` takes what there is instead. The list begins with an `input` for each of `inputs`; that
    and all sizes may be arrays. Positions are those in the part's own list.
    """

    name: str  # where its weights lie: "mb2/block1"
    genes: tuple[int, ...]  # positions
    ops: Callable[..., tuple[Op, ...]]
    inputs: tuple[str, ...] = ()  # names of earlier parts, or "image"; () = the part before


def of_named(
    genes: Sequence[str], name: str, by: Sequence[str], ops: Callable[..., tuple[Op, ...]]
) -> Part:
    """A part whose genes are told by their names."""
    return Part(name, tuple(map(genes.index, by)), ops)


class Held(NamedTuple):
    """What is in memory; a value is an operator's result.

    `live` and `reads` are (*combinations, operators, values), `output` (*combinations, values).
    """

    live: np.ndarray  # bool: held while the operator runs
    reads: np.ndarray  # int: how often the operator reads it
    output: np.ndarray  # bool: it is the part's result


def inputs_of(parts: tuple[Part, ...]) -> list[tuple[str, ...]]:
    """Names of what each part reads."""
    before = [IMAGE, *(part.name for part in parts)]
    return [part.inputs or (name,) for part, name in zip(parts, before, strict=False)]


def reading(size: Any, channels: Any) -> Op:
    """The `input` that stands for a result of this size."""
    return Op(INPUT, "", (), size, size, channels, channels)


def of_every_choice(part: Part, choices: Sequence[Sequence[int]]) -> tuple[Op, ...]:
    """The part's operators with an int64 axis for each gene in every size."""
    ways = math.prod(map(len, choices))
    if ways > COMBINATIONS:
        raise UserError(
            f"part {part.name} has {ways} combinations of choices, more than {COMBINATIONS}: "
            "give its genes fewer"
        )
    shape = tuple(map(len, choices))
    grid = np.meshgrid(*(np.array(axis, np.int64) for axis in choices), indexing="ij")
    try:
        ops = part.ops(*grid)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"part {part.name}: its function must take arrays of values as it takes ints, with "
            f"repeat=(depth > 1) * 1 in place of an if: {error}"
        ) from error
    return tuple(_broadcast(op, shape) for op in ops)


def _broadcast(op: Op, shape: tuple[int, ...]) -> Op:
    sizes = {
        name: np.broadcast_to(np.asarray(getattr(op, name), np.int64), shape) for name in SIZES
    }
    return replace(op, **sizes)


def different(ops: Sequence[Op]) -> tuple[tuple[Op, ...], np.ndarray]:
    """The operators with one axis, an entry for each combination of sizes that occurs.

    And its position for each combination of the genes' choices.
    """
    shape = ops[0].repeat.shape
    every = [[getattr(op, name).reshape(-1) for name in SIZES] for op in ops]
    varying = [size for row in every for size in row if any(size.strides)]
    table = np.stack(varying or [np.zeros(math.prod(shape), np.int64)], axis=-1)
    _, first, position = np.unique(table, axis=0, return_index=True, return_inverse=True)
    found = (
        replace(op, **{name: size[first] for name, size in zip(SIZES, row, strict=True)})
        for op, row in zip(ops, every, strict=True)
    )
    return tuple(found), position.reshape(shape)


def at(ops: Sequence[Op], index: tuple) -> tuple[Op, ...]:
    """The operators of one combination, in ints."""
    return tuple(
        replace(op, **{name: int(getattr(op, name)[index]) for name in SIZES}) for op in ops
    )


def holds(ops: Sequence[Op]) -> Held:
    """Which values are held when, as far as the part itself needs them."""
    shape = ops[0].repeat.shape
    n = len(ops)
    value = made_by(ops)
    last = np.full((*shape, n), -1)
    reads = np.zeros((*shape, n, n), np.int64)
    for i, op in enumerate(ops):
        if op.kind in (INPUT, PICK):
            continue
        for j in op.inputs:
            read_here = (np.arange(n) == value[j][..., None]) & (op.repeat > 0)[..., None]
            last = np.where(read_here, i, last)
            reads[..., i, :] += read_here
    output = np.arange(n) == value[-1][..., None]
    last = np.where(output, n, last)
    made = np.array([-1 if op.kind == INPUT else i for i, op in enumerate(ops)])
    order = np.arange(n)[:, None]
    live = ((made < order) & (last[..., None, :] >= order)) | (made == order)
    return Held(live, reads, output)


def made_by(ops: Sequence[Op]) -> list[np.ndarray]:
    """Position of the operator that made each result, which of a pick is another's."""
    value: list[np.ndarray] = []
    for i, op in enumerate(ops):
        if op.kind == PICK:
            offered = np.stack([value[j] for j in op.inputs])
            chosen = np.asarray(op.choice)[None]
            value.append(np.asarray(np.take_along_axis(offered, chosen, axis=0)[0]))
        else:
            value.append(np.full(op.repeat.shape, i))
    return value


def assembled(
    parts: Sequence[Part], ops: Sequence[Sequence[Op]]
) -> tuple[tuple[Op, ...], tuple[str, ...]]:
    """The plain network of one genome, from the operators of each part, in ints; and their parts.

    Picks are made, and what the result does not depend on is left out, zeros that are added too.
    """
    joined, names, output = one_list(parts, ops)
    network, output = without_zeros(joined, output)
    network = [replace(op, repeat=1, transforms=(), own=()) for op in network]
    return needed(network, output), tuple(names[i] for i in kept(network, output))


def one_list(parts: Sequence[Part], ops: Sequence[Sequence[Op]]) -> tuple[list[Op], list[str], int]:
    """All operators of one genome, there or not, their parts, and the position of the result."""
    made: dict[str, int] = {IMAGE: -1}
    network: list[Op] = []
    names: list[str] = []
    before = IMAGE
    for part, row in zip(parts, ops, strict=True):
        position: list[int] = []
        sources = [made[name] for name in part.inputs or (before,)]
        for op in row:
            if op.kind == INPUT:
                position.append(sources[len(position)])
            elif op.kind == PICK:
                position.append(position[op.inputs[op.choice]])
            else:
                network.append(replace(op, inputs=tuple(position[j] for j in op.inputs)))
                names.append(part.name)
                position.append(len(network) - 1)
        before = part.name
        made[before] = position[-1]
    return network, names, made[before]


def without_zeros(network: Sequence[Op], output: int) -> tuple[list[Op], int]:
    """Sums that have but one term other than zero are that term; and where the result then is."""
    zeros: set[int] = set()
    same: dict[int, int] = {}  # a sum to its term
    left: list[Op] = []
    for i, op in enumerate(network):
        inputs = tuple(same.get(j, j) for j in op.inputs)
        terms = [j for j in inputs if j not in zeros]
        if op.kind == "zero" or (not terms and _keeps_zeros(op)):
            zeros.add(i)
        if op.kind == "add" and len(terms) < 2 and not op.act:
            same[i] = (terms or inputs)[0]
        left.append(replace(op, inputs=inputs))
    return left, same.get(output, output)


def _keeps_zeros(op: Op) -> bool:
    """Whether the result is 0 where the inputs are."""
    plain = not op.norm and not op.bias and op.act in KEEP_ZERO
    return plain and OPERATORS[op.kind].elastic is unmasked


def needed(network: Sequence[Op], output: int) -> tuple[Op, ...]:
    """The operators that the output depends on; what they read from outside (below 0) stays."""
    left = kept(network, output)
    place = {i: position for position, i in enumerate(left)}
    return tuple(
        replace(network[i], inputs=tuple(place.get(j, j) for j in network[i].inputs)) for i in left
    )


def kept(network: Sequence[Op], output: int) -> list[int]:
    """Positions of the operators that the output depends on."""
    needs = {output}
    for i in range(output, -1, -1):
        if i in needs:
            needs.update(network[i].inputs)
    return sorted(i for i in needs if i >= 0)
