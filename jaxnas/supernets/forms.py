"""The forms of a part: every different plain network that it may be, and which one a genome has."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np

from jaxnas.networks.op import INPUT, PICK, Op
from jaxnas.spaces.parts import SIZES, inputs_of, needed
from jaxnas.spaces.space import Space
from jaxnas.supernets.interpreter import largest

OWN = "part"  # what stands for a part's name in the paths of its forms
MANY = 9  # forms from which those that differ in their output's width alone are one
Form = tuple[Op, ...]


class Forms(NamedTuple):
    """A part's forms, and which one each combination of its genes' choices takes."""

    name: str
    genes: tuple[int, ...]  # positions, without the static one
    inputs: tuple[str, ...]  # what the part reads
    forms: tuple[Form, ...]
    table: np.ndarray  # int: position of a form; behind the last where the part hands on an input
    widths: np.ndarray | None  # channels of the result, where a form may compute more of them
    width: int  # channels of the widest result
    absent: bool  # whether that occurs
    handed: int  # that input
    wider: tuple[int | None, ...]  # of each form: its first operator with such channels


def forms_of(space: Space, pixels: int) -> list[Forms]:
    """The forms of each part, for images of this size."""
    sources = inputs_of(space.parts)
    return [_part_forms(space, i, sources[i], pixels) for i in range(len(space.parts))]


def _part_forms(space: Space, i: int, sources: tuple[str, ...], pixels: int) -> Forms:
    part = space.parts[i]
    near = min(range(len(space.resolutions)), key=lambda j: abs(space.resolutions[j] - pixels))
    index = *(near if gene == space.static else slice(None) for gene in part.genes), ...
    ops = [
        replace(op, **{name: getattr(op, name)[index] for name in SIZES}) for op in space.tabled[i]
    ]
    rows, table = _different(ops)
    found = [_plain(_at(ops, row), part.name) for row in rows]
    handed = next((given for form, given in found if not form), None)
    every = [form or _copied(ops, given, handed) for form, given in found]
    forms = tuple(dict.fromkeys(form for form in every if form))
    position = {form: i for i, form in enumerate(forms)} | {(): len(forms)}
    at = np.array([position[form] for form in every])[table]
    width = int(ops[-1].c_out.max())
    genes = tuple(gene for gene in part.genes if gene != space.static)
    simple = Forms(
        name=part.name,
        genes=genes,
        inputs=sources,
        forms=forms,
        table=at,
        widths=None,
        width=width,
        absent=handed is not None,
        handed=handed or 0,
        wider=(None,) * len(forms),
    )
    return _merged(simple, ops[-1].c_out) if len(forms) > MANY else simple


def _different(ops: Sequence[Op]) -> tuple[np.ndarray, np.ndarray]:
    """Different rows of all operators' sizes, and which one each combination has."""
    sizes = [getattr(op, name) * _counts(op) for op in ops for name in SIZES]
    table = np.stack(sizes, axis=-1)
    rows, of = np.unique(table.reshape(-1, table.shape[-1]), axis=0, return_inverse=True)
    return rows, of.reshape(table.shape[:-1])


def _counts(op: Op) -> np.ndarray:
    """1 where the operator is there: sizes of absent ones make no difference."""
    return np.ones_like(op.repeat) if op.kind in (INPUT, PICK) else op.repeat


def _at(ops: Sequence[Op], row: np.ndarray) -> list[Op]:
    sizes = row.reshape(len(ops), len(SIZES)).tolist()
    return [
        replace(op, **dict(zip(SIZES, own, strict=True)))
        if _is_there(op, own)
        else replace(op, repeat=0)
        for op, own in zip(ops, sizes, strict=True)
    ]


def _is_there(op: Op, sizes: Sequence[int]) -> bool:
    return op.kind in (INPUT, PICK) or sizes[SIZES.index("repeat")] > 0


def _plain(ops: Sequence[Op], name: str) -> tuple[Form, int]:
    """The operators without stand-ins, and the input handed on; input number k is -1 - k."""
    position: list[int] = []
    found: list[Op] = []
    for i, op in enumerate(ops):
        if op.kind == INPUT:
            position.append(-1 - i)
        elif op.kind == PICK:
            position.append(position[op.inputs[op.choice]])
        elif isinstance(op.repeat, int) and op.repeat == 0:
            position.append(len(ops))  # nobody reads it
        else:
            path = op.path
            if path == name or path.startswith(f"{name}/"):
                path = OWN + path.removeprefix(name)
            inputs = tuple(position[j] for j in op.inputs)
            if op.kind == "concat":
                inputs = tuple(
                    _cut(found, i, ops[j]) for i, j in zip(inputs, op.inputs, strict=True)
                )
            found.append(replace(op, path=path, inputs=inputs, repeat=1, transforms=(), own=()))
            position.append(len(found) - 1)
    output = position[-1]
    return (needed(found, output), 0) if output >= 0 else ((), -1 - output)


def _cut(found: list[Op], position: int, op: Op) -> int:
    """Where a result stands in its own width: what a part reads from outside may be wider."""
    if position >= 0:
        return position
    found.append(Op("select", "", (position,), op.height, op.width, op.c_out, op.c_out))
    return len(found) - 1


def _copied(ops: Sequence[Op], given: int, handed: int | None) -> Form:
    """Of a part that hands on several inputs, all but the first are forms: an `identity` each."""
    if given == handed:
        return ()
    one = ops[given]
    height, width, channels = (int(size.max()) for size in (one.height, one.width, one.c_out))
    return (Op("identity", "", (-1 - given,), height, width, channels, channels),)


def _merged(forms: Forms, widths: np.ndarray) -> Forms:
    """Forms that compute the first channels of a wider one are that one, behind a mask."""
    alias = list(range(len(forms.forms)))
    first: list[int | None] = [None] * len(alias)
    for i, j in product(alias, alias):
        if i != j and _width(forms.forms[j]) == forms.width:
            differs = _first_wider(forms.forms[i], forms.forms[j])
            if differs is not None:
                alias[i] = j
                first[j] = differs
    kept = sorted(set(alias))
    place = np.array([kept.index(j) for j in alias])
    merged = tuple(forms.forms[j] for j in kept)
    wider = tuple(first[j] for j in kept)
    if len(kept) == len(alias):
        return forms
    table = np.append(place, len(kept))[forms.table]
    return forms._replace(forms=merged, table=table, widths=widths, wider=wider)


def _width(form: Form) -> int:
    return form[-1].c_out if form else 0


def _first_wider(form: Form, wide: Form) -> int | None:
    """The first operator in which `wide` has more channels, if it computes `form` otherwise."""
    if len(form) != len(wide) or not form:
        return None
    differ = [i for i, (a, b) in enumerate(zip(form, wide, strict=True)) if a != b]
    for i in differ:
        a, b = form[i], wide[i]
        channels = {"c_out": b.c_out, "c_in": b.c_in if a.kind == "add" else a.c_in}
        readers = [j for j, op in enumerate(form) if i in op.inputs]
        if a.groups > 1 or replace(a, **channels) != b:
            return None
        if any(form[j].kind != "add" or j not in differ for j in readers):
            return None
    return differ[0] if differ and len(form) - 1 in differ else None


class Segment(NamedTuple):
    """A part, or several in a row that have the same forms, each of which reads the one before."""

    forms: Forms  # of the first
    parts: tuple[Forms, ...]


def segments_of(space: Space, pixels: int) -> list[Segment]:
    """Parts in order; neighbours alike are one segment of stacked weights and shared forms."""
    found: list[Segment] = []
    every = forms_of(space, pixels)
    for i, forms in enumerate(every):
        if found and _alike(space, every, i):
            before = found[-1]
            order = [before.forms.forms.index(form) for form in forms.forms]
            table = np.array([*order, len(order)])[forms.table]
            same = forms._replace(forms=before.forms.forms, table=table)
            shared = before.forms._replace(absent=before.forms.absent or forms.absent)
            found[-1] = Segment(shared, (*before.parts, same))
        else:
            found.append(Segment(forms, (forms,)))
    return found


def _alike(space: Space, every: Sequence[Forms], i: int) -> bool:
    """Whether part `i` does what the part before it does, on that one's result alone."""
    one, other = every[i - 1], every[i]
    names = {one.name} if i else set()
    readers = [forms for forms in every if names & set(forms.inputs)]
    return (
        i > 0
        and other.inputs == (one.name,)
        and len(readers) == 1
        and len(one.inputs) == 1
        and set(one.forms) == set(other.forms)
        and one.widths is None
        and other.widths is None
        and _weights(space, i - 1) == _weights(space, i)
    )


def _weights(space: Space, i: int) -> list[tuple]:
    """Shapes of a part's weights, but for its name."""
    most = map(largest, space.tabled[i])
    name = space.parts[i].name
    return [
        (
            op.kind,
            op.path.removeprefix(name),
            op.c_in,
            op.c_out,
            op.kernel,
            op.groups,
            op.transforms,
            op.own,
        )
        for op in most
        if op.path
    ]
