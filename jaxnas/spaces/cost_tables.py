"""What the networks of a space cost, looked up: tables over the choices of a few genes each."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jaxnas.errors import UserError
from jaxnas.networks.costs import LIMITS, Costs, Layers, joined_macs, layer
from jaxnas.networks.op import INPUT, PICK, Op
from jaxnas.spaces.graph_memory import live_in_graph
from jaxnas.spaces.parts import COMBINATIONS, IMAGE, Held, Part, different, holds, inputs_of
from jaxnas.types import Genome

if TYPE_CHECKING:
    from jaxnas.spaces.space import Space


class Term(NamedTuple):
    """Costs of parts together, int64 with an axis for each of `genes`."""

    genes: tuple[int, ...]  # positions
    macs: np.ndarray
    params: np.ndarray
    live: np.ndarray  # the most activations that the parts themselves hold at once
    parts: tuple[int, ...]  # positions


class Counted(NamedTuple):
    """A part under one genome: its operators, and activations for each."""

    ops: tuple[Op, ...]
    live: Any  # held while it runs
    reads: Any  # of its inputs


def is_chain(space: "Space") -> bool:
    """Whether each part reads the one before, and nothing else."""
    before = [IMAGE, *(part.name for part in space.parts)]
    return all(row == (name,) for row, name in zip(inputs_of(space.parts), before, strict=False))


def counted(op: Op) -> bool:
    """Whether this is an operator, not a stand-in."""
    return op.kind not in (INPUT, PICK)


def _part_costs(every: Sequence[Op]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """MACs, weights and activations of a part by its genes' choices."""
    ops, position = different(every)
    held = holds(ops)
    sizes = np.stack([op.height * op.width * op.c_out for op in ops], axis=-1)
    real = [j for j, op in enumerate(ops) if counted(op)]
    macs = sum((ops[j].repeat * ops[j].macs for j in real), np.int64(0))
    params = sum((ops[j].repeat * ops[j].params for j in real), np.int64(0))
    live = (held.live * sizes[..., None, :]).sum(-1)
    most = np.max([ops[j].repeat * live[..., j] for j in real], axis=0, initial=0)
    shape = ops[0].repeat.shape
    rows = (np.broadcast_to(x, shape) for x in (macs, params, most))
    macs, params, most = (np.asarray(row[position]) for row in rows)
    return macs, params, most


def terms(space: "Space") -> tuple[Term, ...]:
    """Neighbouring parts whose genes are nearly the same stand in one table."""
    found: list[Term] = []
    for i, part in enumerate(space.parts):
        term = Term(part.genes, *_part_costs(space.tabled[i]), (i,))
        if found and _belong(space, found[-1], part):
            found[-1] = _merged(space, found[-1], term)
        else:
            found.append(term)
    return tuple(found)


def _belong(space: "Space", term: Term, part: Part) -> bool:
    """Whether a part's table may join a term: parts of one stage that share all genes but one."""
    genes = {*term.genes, *part.genes}
    before = space.parts[term.parts[-1]].name.split("/")[0]
    same = before == part.name.split("/")[0]
    few = len(genes) <= max(len(term.genes), len(part.genes)) + 1
    ways = np.prod([len(space.genes[g].choices) for g in genes])
    return bool(same and few and ways <= COMBINATIONS)


def _merged(space: "Space", one: Term, other: Term) -> Term:
    genes = tuple(sorted({*one.genes, *other.genes}))
    a, b = (_spread(term, genes) for term in (one, other))
    macs, params, live = map(np.asarray, (a[0] + b[0], a[1] + b[1], np.maximum(a[2], b[2])))
    return Term(genes, macs, params, live, (*one.parts, *other.parts))


def _spread(term: Term, genes: tuple[int, ...]) -> list[np.ndarray]:
    """The tables with axes for all of `genes`, in this order."""
    order = np.argsort(term.genes)
    shape = [slice(None) if gene in term.genes else None for gene in genes]
    return [np.transpose(x, order)[(*shape, ...)] for x in (term.macs, term.params, term.live)]


def check(space: "Space") -> None:
    """Refuses a space whose networks cannot be counted."""
    names = ("multiply-adds", "weights", "activations")
    totals = [
        sum(int(table.max()) for table in column)
        for column in zip(*(term[1:4] for term in space.terms), strict=True)
    ]
    for what, limit, most in zip(names, LIMITS, totals, strict=False):
        if most >= limit:
            raise UserError(
                f"a network of space {space.name} may have {most} {what}, more than {limit - 1}: "
                "give it smaller choices"
            )


@partial(jax.jit, static_argnames="space")
def looked_up(space: "Space", genomes: Int[Array, "*n genes"]) -> Costs:
    """Costs of many networks."""
    high = low = params = peak = jnp.zeros(genomes.shape[:-1], jnp.int32)
    for term in space.terms:
        row = _row(space, term.genes, genomes)

        def of(table, row=row):
            return jnp.asarray(table.ravel(), jnp.int32)[row]

        high = high + of(term.macs >> 16)
        low = low + of(term.macs & 0xFFFF)
        params = params + of(term.params)
        peak = jnp.maximum(peak, of(term.live))
    if not is_chain(space):
        peak = _peak_of_graph(space, genomes)
    most = sum(int(term.macs.max()) for term in space.terms)
    return Costs(joined_macs(high, low, most), params, peak)


def _peak_of_graph(space: "Space", genomes: Int[Array, "*n genes"]) -> Int[Array, "*n"]:
    """What is held beside a part depends on genes of other parts, so that no table has it."""
    each = jax.vmap(partial(_peak, space))
    return each(genomes.reshape(-1, len(space.genes))).reshape(genomes.shape[:-1])


def _peak(space: "Space", genome: Genome) -> Int[Array, ""]:
    live = [jnp.max(live * runs) for _, live, runs in live_in_graph(space.memory, genome)]
    return jnp.max(jnp.stack(live)).astype(jnp.int32)


def _row(space: "Space", genes: tuple[int, ...], genomes: Int[Array, "*n genes"]):
    """Position in a flattened table; the last gene changes fastest."""
    row = jnp.zeros(genomes.shape[:-1], jnp.int32)
    for i in genes:
        row = row * len(space.genes[i].choices) + genomes[..., i]
    return row


def layers(space: "Space", genome: Genome | Int[np.ndarray, "genes"]) -> Layers:
    """The cost table of one genome, computed from the parts' operators."""
    xp: Any = np if isinstance(genome, np.ndarray) else jnp
    rows = [
        layer(op, part.reads[j], part.live[j])
        for part in _counted(space, genome)
        for j, op in enumerate(part.ops)
        if counted(op)
    ]
    columns = zip(*rows, strict=True)
    return Layers(*(jnp.asarray(xp.stack(column), jnp.int32) for column in columns))


def _counted(space: "Space", genome: Genome | Int[np.ndarray, "genes"]) -> list[Counted]:
    """All parts under a genome; of one of NumPy's in its numbers."""
    host = isinstance(genome, np.ndarray)
    xp: Any = np if host else jnp
    values: Any = list(space.decode(genome).values()) if host else space.values(genome)
    parts = []
    for i, part in enumerate(space.parts):
        ops = part.ops(*(values[g] for g in part.genes))
        axes, held = space.held[i]
        live, reads = (xp.asarray(x)[tuple(genome[g] for g in axes)] for x in held[:2])
        sizes = xp.stack([xp.asarray(op.height * op.width * op.c_out) for op in ops])
        parts.append(Counted(ops, (live * sizes).sum(-1), (reads * sizes).sum(-1)))
    return parts if is_chain(space) else _in_graph(space, genome, parts)


def _in_graph(space: "Space", genome: Any, parts: list[Counted]) -> list[Counted]:
    """With what is held beside each part, too."""
    found = list(parts)
    for positions, live, _ in live_in_graph(space.memory, genome):
        for i, own in zip(positions, live, strict=True):
            found[i] = found[i]._replace(live=own)
    return found


def held_of(space: "Space", i: int) -> tuple[tuple[int, ...], Held]:
    """What part `i` holds, as a table over the genes that decide which operators it has."""
    ops = space.tabled[i]
    genes = space.parts[i].genes
    decisive = [
        axis
        for axis in range(len(genes))
        if any(_varies(x, axis) for op in ops for x in (op.repeat, op.choice))
    ]
    first = *(slice(None) if axis in decisive else 0 for axis in range(len(genes))), ...
    few = [_cut(op, first) for op in ops]
    return tuple(genes[axis] for axis in decisive), holds(few)


def _varies(x: np.ndarray, axis: int) -> bool:
    return bool((np.diff(x, axis=axis) != 0).any())


def _cut(op: Op, index: tuple) -> Op:
    return replace(op, repeat=op.repeat[index], choice=op.choice[index])


def part_layers(space: "Space", i: int) -> Layers:
    """The cost table of part `i` alone, (*choices of its genes, operators), int64 of NumPy."""
    ops = space.tabled[i]
    held = holds(ops)
    sizes = np.stack([op.height * op.width * op.c_out for op in ops], axis=-1)
    reads = (held.reads * sizes[..., None, :]).sum(-1)
    live = (held.live * sizes[..., None, :]).sum(-1)
    rows = [layer(op, reads[..., j], live[..., j]) for j, op in enumerate(ops) if counted(op)]
    shape = ops[0].repeat.shape
    columns = zip(*rows, strict=True)
    return Layers(*(np.stack([np.broadcast_to(x, shape) for x in c], -1) for c in columns))  # type: ignore
