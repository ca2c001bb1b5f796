"""What a family's parts must be: found where a space is made, and told by the part's name."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxnas.errors import UserError
from jaxnas.networks.op import INPUT, PICK, Op
from jaxnas.networks.operators import OPERATORS
from jaxnas.networks.operators.operator import no_weights
from jaxnas.spaces.parts import IMAGE, Part, kept, one_list

if TYPE_CHECKING:
    from jaxnas.spaces.space import Space

SOME = 4  # random networks that are looked at, beside the smallest and the largest
Shape = tuple[int, int, int]  # height, width, channels of a result


class _Wrong(Exception):
    """What is wrong with a part, without its name."""


def check_parts(space: "Space") -> None:
    """Refuses parts that do not fit each other, in the names and in some networks.

    Raises:
        UserError: it names the part.
    """
    if not space.parts:
        return
    if sum(gene.static for gene in space.genes) > 1:
        raise UserError(f"{space.name}: one gene alone may be static, the images' resolution")
    _check_names(space)
    for part, every in zip(space.parts, space.tabled, strict=True):
        _check_sizes(space, part, every)
    _check_paths(space)
    drawn = np.random.default_rng(0).integers(0, space.sizes, (SOME, len(space.genes)))
    for genome in np.unique([space.smallest, space.largest, *drawn], axis=0).astype(np.int32):
        _check_network(space, genome)
        _check_needs(space, genome)


def _check_names(space: "Space") -> None:
    known = [IMAGE]
    for part in space.parts:
        where = f"part {part.name} of {space.name}"
        if part.name in known:
            raise UserError(f"{where}: another part has this name: choose another")
        wrong = [i for i in part.genes if not 0 <= i < len(space.genes)]
        if wrong or len({*part.genes}) < len(part.genes):
            raise UserError(
                f"{where}: genes must be different positions below {len(space.genes)}, got "
                f"{part.genes}"
            )
        for name in part.inputs:
            if name not in known:
                raise UserError(
                    f"{where} reads {name!r}, which is no part before it; those are "
                    f"{', '.join(known)}"
                )
        known.append(part.name)


def _check_sizes(space: "Space", part: Part, every: Sequence[Op]) -> None:
    """Of maps: all programs but those of a static gene have them in common."""
    for axis, gene in enumerate(part.genes):
        varies = any(
            np.diff(side, axis=axis).any() for op in every for side in (op.height, op.width)
        )
        if varies and gene != space.static:
            raise UserError(
                f"part {part.name} of {space.name}: the size of its maps changes with gene "
                f"{space.genes[gene].name}, which is not static: pick among results of one size"
            )


def _check_paths(space: "Space") -> None:
    """Each operator with weights has a path of its own, at which they lie."""
    owners: dict[str, str] = {}
    for part, every in zip(space.parts, space.tabled, strict=True):
        for op in every:
            known = OPERATORS.get(op.kind)
            weights = op.norm or op.bias or (known is not None and known.fresh is not no_weights)
            if weights and not op.path:
                raise UserError(f"part {part.name} of {space.name}: {op.kind} needs a path")
            if op.path in owners:
                raise UserError(
                    f"part {part.name} of {space.name}: {_name(op)} has the path of an operator of "
                    f"part {owners[op.path]}: give it one of its own"
                )
            if op.path:
                owners[op.path] = part.name


def _check_needs(space: "Space", genome: np.ndarray) -> None:
    """Genes that do not matter change nothing."""
    parents, allowed, nesting = space.needs
    own = allowed[np.arange(len(genome)), genome[parents]]
    alive = own
    for _ in range(nesting):
        alive = own & alive[parents]
    if not alive.all() and space.ops(genome) != space.ops(np.where(alive, genome, 0)):
        dead = ", ".join(space.genes[i].name for i in np.flatnonzero(~alive))
        raise UserError(
            f"{space.name}: genes that do not matter by their needs change a network, one of "
            f"{dead}: mend their needs"
        )


def _check_network(space: "Space", genome: np.ndarray) -> None:
    values = list(space.decode(genome).values())
    rows = space.part_ops(genome)
    shapes: dict[str, Shape] = {}
    before = IMAGE
    if space.static is not None and rows[0][0].height != space.pixels(genome):
        raise UserError(
            f"part {space.parts[0].name} of {space.name} reads images of {rows[0][0].height} "
            f"pixels, got the resolution {space.pixels(genome)}: the static gene is the resolution"
        )
    for part, ops, every in zip(space.parts, rows, space.tabled, strict=True):
        try:
            _check_kinds(ops, every)
            _check_inputs(ops, part.inputs or (before,), shapes)
            shapes[part.name] = _result(ops)
        except _Wrong as wrong:
            genes = ", ".join(f"{space.genes[g].name} {values[g]}" for g in part.genes)
            raise UserError(f"part {part.name} of {space.name} ({genes}): {wrong}") from wrong
        before = part.name
    _check_readers(space, rows)


def _check_kinds(ops: Sequence[Op], every: Sequence[Op]) -> None:
    if [op.kind for op in ops] != [op.kind for op in every]:
        raise _Wrong(
            "its operators must be as many and of the same kinds for all values: give one that is "
            "not there repeat=0"
        )
    for op in every:
        if op.kind == "select" and np.ptp(op.c_out):
            raise _Wrong("a select must have one width")


def _check_inputs(ops: Sequence[Op], names: Sequence[str], shapes: dict[str, Shape]) -> None:
    """An input for each part that is read, of its result's size."""
    if [i for i, op in enumerate(ops) if op.kind == INPUT] != list(range(len(names))):
        raise _Wrong(f"its operators must begin with an input for each of {', '.join(names)}")
    for op, name in zip(ops, names, strict=False):
        shape = shapes.setdefault(name, _shape(op))
        if _shape(op) != shape:
            raise _Wrong(f"{name} is {_told(shape)}, but its input says {_told(_shape(op))}")


def _result(ops: Sequence[Op]) -> Shape:
    """The shape of the part's result; each operator's must follow from what it reads."""
    shapes: list[Shape] = []
    for i, op in enumerate(ops):
        if op.kind == INPUT:
            shapes.append(_shape(op))
            continue
        if not op.inputs or not all(0 <= j < i for j in op.inputs):
            raise _Wrong(f"{_name(op)} must read operators before it, got positions {op.inputs}")
        read = [shapes[j] for j in op.inputs]
        if op.kind == PICK:
            shapes.append(_picked(op, read))
        else:
            if op.repeat:
                _check_operator(op, read)
            shapes.append(_shape(op))
    return shapes[-1]


def _picked(op: Op, read: Sequence[Shape]) -> Shape:
    if not 0 <= op.choice < len(read):
        raise _Wrong(f"a pick of {len(read)} results has choice {op.choice}")
    if len({shape[:2] for shape in read}) > 1:
        raise _Wrong(f"a pick needs results of one size, got {', '.join(map(_told, read))}")
    if _shape(op) != read[op.choice]:
        raise _Wrong(f"a pick of {_told(read[op.choice])} says {_told(_shape(op))}")
    return read[op.choice]


def _check_operator(op: Op, read: Sequence[Shape]) -> None:
    if op.kind not in OPERATORS:
        raise _Wrong(f"unknown kind of operator {op.kind!r}; known: {', '.join(OPERATORS)}")
    channels = [shape[2] for shape in read]
    c_in = sum(channels) if op.kind == "concat" else channels[0]
    if op.c_in != c_in:
        raise _Wrong(f"{_name(op)} reads {c_in} channels, but says c_in {op.c_in}")
    if op.kind in ("add", "concat") and len({shape[:2] for shape in read}) > 1:
        raise _Wrong(f"{_name(op)} needs maps of one size, got {', '.join(map(_told, read))}")
    if op.kind in ("add", "mul") and len(read) != 2:
        raise _Wrong(f"{_name(op)} takes two results, got {len(read)}: append one for each more")
    if op.kind in ("add", "mul") and len({*channels, op.c_out}) > 1:
        raise _Wrong(f"{_name(op)} needs one width, got {channels} and c_out {op.c_out}")
    if op.kind in ("linear", "flatten") and read[0][:2] != (1, 1):
        raise _Wrong(f"{_name(op)} reads one pixel, got {_told(read[0])}: append a pool before it")
    _check_window(op)
    height, width = (OPERATORS[op.kind].side(side, op) for side in read[0][:2])
    if (op.height, op.width) != (height, width):
        raise _Wrong(f"{_name(op)} makes {height} x {width}, says {op.height} x {op.width}")
    if op.c_out < 1:
        raise _Wrong(f"{_name(op)} must have a channel at least, got c_out {op.c_out}")
    if min(height, width) < 1:
        raise _Wrong(f"{_name(op)} reads {_told(read[0])}, too few pixels: give larger images")


def _check_window(op: Op) -> None:
    pools = op.kind in ("maxpool", "avgpool")
    if op.kernel % 2 == 0 and (op.kind == "conv" or (pools and op.padding == "same")):
        raise _Wrong(f"{_name(op)} must have an odd kernel, got {op.kernel}")
    if op.kind == "conv" and op.padding == "ceil":
        raise _Wrong(f'{_name(op)} must have "same" or "valid" padding, got "ceil"')
    if pools and op.padding == "ceil" and op.stride > op.kernel:
        raise _Wrong(
            f'{_name(op)} with "ceil" padding must have a stride of its kernel, {op.kernel}, at '
            f"most, got {op.stride}: its last window could lie outside the map"
        )


def _check_readers(space: "Space", rows: Sequence[Sequence[Op]]) -> None:
    """What is there reads what is there, and the network's result depends on it.

    The latter not in a space that counts what is unread.
    """
    ops, owners, output = one_list(space.parts, rows)
    used = {*kept(ops, output)}
    for i, (op, owner) in enumerate(zip(ops, owners, strict=True)):
        if op.repeat and i not in used and not space.counts_unread:
            raise UserError(
                f"part {owner} of {space.name}: nothing reads {_name(op)} in some networks: give "
                "it repeat=0 in those, or leave it out"
            )
        if not op.repeat and i in used:
            raise UserError(
                f"part {owner} of {space.name}: {_name(op)} has repeat 0 in networks that read it: "
                "pick another result there"
            )


def _shape(op: Op) -> Shape:
    return (op.height, op.width, op.c_out)


def _told(shape: Shape) -> str:
    return " x ".join(map(str, shape))


def _name(op: Op) -> str:
    return f"{op.kind} {op.path}" if op.path else op.kind
