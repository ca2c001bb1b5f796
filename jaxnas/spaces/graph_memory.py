"""Activations that a graph of parts holds while it runs: a result is kept until its last reader.

Which part made a result, and which reads it last, depends on the genome: a part may hand on what it
reads. What the parts themselves hold is tabled; parts of the same genes and numbers of inputs and
operators are computed together, so that networks of hundreds of parts compile in seconds.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxnas.networks.op import INPUT, PICK, Op
from jaxnas.spaces.parts import IMAGE, different, holds, inputs_of

if TYPE_CHECKING:
    from jaxnas.spaces.space import Space


class PartMemory(NamedTuple):
    """What a part holds, a row for each of its forms.

    `own` and `runs` are (rows, operators), `inputs` (rows, inputs, operators), `reads` (rows,
    inputs), the others (rows,).
    """

    own: np.ndarray  # activations of its own values that are held while an operator runs
    runs: np.ndarray  # bool: the operator is there
    inputs: np.ndarray  # bool: the input is held, as far as the part itself needs it
    reads: np.ndarray  # bool: an operator reads the input
    handed: np.ndarray  # the input that is the result, -1 where the result is its own
    size: np.ndarray  # activations of its own result


class Alike(NamedTuple):
    """Parts of the same genes and numbers of inputs and operators, whose rows are one table."""

    parts: tuple[int, ...]  # positions
    genes: tuple[int, ...]
    sources: np.ndarray  # (parts, inputs): 0 the image, i + 1 part i
    row: np.ndarray  # (parts, *choices of the genes)
    held: PartMemory


class Memory(NamedTuple):
    """What all parts hold."""

    groups: tuple[Alike, ...]
    image: np.ndarray  # activations, by the choices of the genes of the part that reads it first
    image_genes: tuple[int, ...]


def memory_of(space: "Space") -> Memory:
    """The tables of all parts of a space."""
    names = inputs_of(space.parts)
    groups: dict[tuple, list[int]] = {}
    for i, (part, ops, row) in enumerate(zip(space.parts, space.tabled, names, strict=True)):
        groups.setdefault((part.genes, len(row), len(ops)), []).append(i)
    first = next(i for i, row in enumerate(names) if IMAGE in row)
    image = space.tabled[first][names[first].index(IMAGE)]
    alike = tuple(_alike(space, names, parts) for parts in groups.values())
    return Memory(alike, _size(image), space.parts[first].genes)


def _alike(space: "Space", names: list[tuple[str, ...]], parts: list[int]) -> Alike:
    place = {IMAGE: 0} | {part.name: i for i, part in enumerate(space.parts, 1)}
    tables = [_tabled(space.tabled[i], len(names[i])) for i in parts]
    starts = np.cumsum([0, *(len(held.size) for _, held in tables)])
    row = np.stack([form + start for (form, _), start in zip(tables, starts, strict=False)])
    held = PartMemory(*map(np.concatenate, zip(*(held for _, held in tables), strict=True)))
    sources = np.array([[place[name] for name in names[i]] for i in parts])
    return Alike(tuple(parts), space.parts[parts[0]].genes, sources, row, held)


def _tabled(every: tuple[Op, ...], inputs: int) -> tuple[np.ndarray, PartMemory]:
    """The position of its form for each combination of a part's choices, and what each holds."""
    ops, position = different(every)
    held = holds(ops)
    sizes = np.stack([_size(op) for op in ops], axis=-1)
    made = held.output[:, :inputs]
    rows = PartMemory(
        own=(held.live[..., inputs:] * sizes[:, None, inputs:]).sum(-1),
        runs=np.stack([(op.repeat > 0) & (op.kind not in (INPUT, PICK)) for op in ops], axis=-1),
        inputs=np.moveaxis(held.live[..., :inputs], -1, -2),
        reads=np.asarray(held.reads[..., :inputs].any(-2)),
        handed=np.where(made.any(-1), made.argmax(-1), -1),
        size=(held.output * sizes).sum(-1),
    )
    return position, rows


def _size(op: Op) -> np.ndarray:
    return np.asarray(op.height * op.width * op.c_out)


def live_in_graph(memory: Memory, genome: Any) -> list[tuple[tuple[int, ...], Any, Any]]:
    """Activations held while each operator runs, and whether it does.

    A list of positions of parts, and both as (parts, operators). What no operator of this genome
    reads again is not held. Of a genome of NumPy's in its numbers.
    """
    xp: Any = np if isinstance(genome, np.ndarray) else jnp
    found = [_chosen(group, genome, xp) for group in memory.groups]
    order = np.argsort([part for group in memory.groups for part in group.parts])
    handed = xp.concatenate([held.handed for held in found])[order]
    values = _values(memory, handed, xp)
    image = xp.asarray(memory.image)[tuple(genome[g] for g in memory.image_genes)]
    sizes = xp.concatenate([image[None], xp.concatenate([held.size for held in found])[order]])
    read = [values[group.sources] for group in memory.groups]
    last = _last_readers(memory, read, [held.reads for held in found], xp)
    beside = _held_beside(sizes, last, xp)
    live = []
    for group, held, inputs in zip(memory.groups, found, read, strict=True):
        parts = np.array(group.parts)
        counts = sizes[inputs] * (last[inputs] <= parts[:, None])
        here = held.own + (_once(held.inputs, inputs, xp) * counts[..., None]).sum(1)
        live.append((group.parts, here + beside[parts][:, None], held.runs))
    return live


def _chosen(group: Alike, genome: Any, xp: Any) -> PartMemory:
    """The rows of a group's parts that a genome has."""
    row = xp.asarray(group.row)[(slice(None), *(genome[g] for g in group.genes))]
    return PartMemory(*(xp.asarray(x)[row] for x in group.held))


def _values(memory: Memory, handed: Any, xp: Any) -> Any:
    """What each part's result is: 0 the image, i + 1 what part i has made; (1 + parts)."""
    values: list[Any] = [0, *range(1, 1 + len(handed))]
    for part, inputs in sorted(_may_hand(memory).items()):
        for k, source in inputs:
            values[part + 1] = xp.where(handed[part] == k, values[source], values[part + 1])
    return xp.stack([xp.asarray(value) for value in values])


def _may_hand(memory: Memory) -> dict[int, list[tuple[int, int]]]:
    """Of each part the inputs that it hands on in some network, and their sources."""
    return {
        part: [(k, int(sources[k])) for k in np.unique(group.held.handed[row]).tolist() if k >= 0]
        for group in memory.groups
        for part, sources, row in zip(group.parts, group.sources, group.row, strict=True)
    }


def _last_readers(memory: Memory, read: list[Any], there: list[Any], xp: Any) -> Any:
    """The last part that reads each value, -1 where none does."""
    parts = [np.broadcast_to(np.array(g.parts)[:, None], g.sources.shape) for g in memory.groups]
    reader = [xp.where(reads, own, -1) for reads, own in zip(there, parts, strict=True)]
    values, readers = (xp.concatenate([x.ravel() for x in each]) for each in (read, reader))
    last = xp.full(1 + sum(len(g.parts) for g in memory.groups), -1)
    if xp is np:
        np.maximum.at(last, values, readers)
        return last
    return last.at[values].max(readers)


def _held_beside(sizes: Any, last: Any, xp: Any) -> Any:
    """Of each part, what is held for later ones and was made before it: a running sum."""
    kept = sizes * (last > np.arange(len(sizes)))  # from the part behind its maker on
    steps = xp.concatenate([kept, xp.zeros(1, kept.dtype)])
    if xp is np:
        np.subtract.at(steps, last, kept)
    else:
        steps = steps.at[last].add(-kept)
    return xp.cumsum(steps)


def _once(held: Any, inputs: Any, xp: Any) -> Any:
    """Which inputs are held, (parts, inputs, operators), two that are one value as the first."""
    count = inputs.shape[1]
    if count == 1:
        return held
    same = inputs[:, :, None] == inputs[:, None, :]
    first = xp.argmax(same, axis=-1) == np.arange(count)
    return first[..., None] & (same[..., None] & held[:, None]).any(2)
