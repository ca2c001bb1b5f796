"""What the networks of a space cost, looked up: tables over the choices of a few genes each."""

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
from jaxnas.spaces.parts import COMBINATIONS, IMAGE, Held, Part, holds
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


class Around(NamedTuple):
    """Results that outlive the part that reads them, or that pass a part by; all by position."""

    kept: tuple[int, ...]  # inputs of the part that later parts read, too
    passing: tuple[str, ...]  # results of earlier parts that later ones read and this one does not


def around(space: "Space") -> tuple[Around, ...]:
    """What is held beside each part."""
    sources = inputs_of(space.parts)
    last = {name: i for i, row in enumerate(sources) for name in row}
    made = {IMAGE: -1} | {part.name: i for i, part in enumerate(space.parts)}
    found = []
    for i, row in enumerate(sources):
        kept = tuple(k for k, name in enumerate(row) if last[name] > i)
        passing = [n for n in last if made[n] < i and last[n] > i and n not in row]
        found.append(Around(kept, tuple(passing)))
    return tuple(found)


def inputs_of(parts: tuple[Part, ...]) -> list[tuple[str, ...]]:
    """Names of what each part reads."""
    before = [IMAGE, *(part.name for part in parts)]
    return [part.inputs or (name,) for part, name in zip(parts, before, strict=False)]


def counted(op: Op) -> bool:
    """Whether this is an operator, not a stand-in."""
    return op.kind not in (INPUT, PICK)


def _part_costs(space: "Space", i: int, kept: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """MACs, weights and activations of a part, and those of its result, by its genes' choices."""
    ops = space.tabled[i]
    held = holds(ops, kept)
    sizes = np.stack([op.height * op.width * op.c_out for op in ops], axis=-1)
    real = [j for j, op in enumerate(ops) if counted(op)]
    macs = sum((ops[j].repeat * ops[j].macs for j in real), np.int64(0))
    params = sum((ops[j].repeat * ops[j].params for j in real), np.int64(0))
    live = (held.live * sizes[..., None, :]).sum(-1)
    most = np.max([ops[j].repeat * live[..., j] for j in real], axis=0, initial=0)
    again = held.output[..., list(kept)].any(-1)
    result = np.where(again, 0, (held.output * sizes).sum(-1))
    shape = ops[0].repeat.shape
    return tuple(np.broadcast_to(x, shape) for x in (macs, params, most, result))


def terms(space: "Space") -> tuple[Term, ...]:
    """Neighbouring parts whose genes are nearly the same stand in one table."""
    beside = around(space)
    found: list[Term] = []
    for i, part in enumerate(space.parts):
        kept, passing = beside[i]
        macs, params, live, _ = _part_costs(space, i, kept)
        term = Term(part.genes, macs, params, live, (i,))
        together = found and not passing and _belong(space, found[-1], part)
        if together:
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
    parts = (*one.parts, *other.parts)
    return Term(genes, a[0] + b[0], a[1] + b[1], np.maximum(a[2], b[2]), parts)


def _spread(term: Term, genes: tuple[int, ...]) -> list[np.ndarray]:
    """The tables with axes for all of `genes`, in this order."""
    order = np.argsort(term.genes)
    shape = [slice(None) if gene in term.genes else None for gene in genes]
    return [np.transpose(x, order)[tuple(shape)] for x in (term.macs, term.params, term.live)]


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
    beside = around(space)
    results: dict[str, Array] = {}
    places = {part.name: i for i, part in enumerate(space.parts)}
    for term in space.terms:
        row = _row(space, term.genes, genomes)

        def of(table, row=row):
            return jnp.asarray(table.ravel(), jnp.int32)[row]

        high = high + of(term.macs >> 16)
        low = low + of(term.macs & 0xFFFF)
        params = params + of(term.params)
        live = of(term.live)
        for name in beside[term.parts[0]].passing:
            if name not in results:
                results[name] = _result(space, places.get(name), genomes, beside)
            live = live + results[name]
        peak = jnp.maximum(peak, live)
    most = sum(int(term.macs.max()) for term in space.terms)
    return Costs(joined_macs(high, low, most), params, peak)


def _row(space: "Space", genes: tuple[int, ...], genomes: Int[Array, "*n genes"]):
    """Position in a flattened table; the last gene changes fastest."""
    row = jnp.zeros(genomes.shape[:-1], jnp.int32)
    for i in genes:
        row = row * len(space.genes[i].choices) + genomes[..., i]
    return row


def _result(space: "Space", part: int | None, genomes, beside):
    """Activations of a part's result, or of the image."""
    if part is None:
        first = space.tabled[0][0]
        table = first.height * first.width * first.c_out
        return jnp.asarray(table.ravel(), jnp.int32)[_row(space, space.parts[0].genes, genomes)]
    table = _part_costs(space, part, beside[part].kept)[3]
    return jnp.asarray(table.ravel(), jnp.int32)[_row(space, space.parts[part].genes, genomes)]


def layers(space: "Space", genome: Genome | Int[np.ndarray, "genes"]) -> Layers:
    """The cost table of one genome, computed from the parts' operators."""
    host = isinstance(genome, np.ndarray)
    xp: Any = np if host else jnp
    values = list(space.decode(genome).values()) if host else space.values(genome)
    beside = around(space)
    names = inputs_of(space.parts)
    results: dict[str, Any] = {}
    rows = []
    for i, part in enumerate(space.parts):
        ops = part.ops(*(values[g] for g in part.genes))
        axes, held = space.held[i]
        live, reads, output = (xp.asarray(x)[tuple(genome[g] for g in axes)] for x in held)
        sizes = xp.stack([xp.asarray(op.height * op.width * op.c_out) for op in ops])
        for k, name in enumerate(names[i]):
            results.setdefault(name, sizes[k])
        passing = sum(results[name] for name in beside[i].passing)
        for j, op in enumerate(ops):
            if counted(op):
                reads_here = (reads[j] * sizes).sum()
                rows.append(layer(op, reads_here, (live[j] * sizes).sum() + passing))
        again = output[xp.asarray(beside[i].kept, int)].any() if beside[i].kept else False
        results[part.name] = xp.where(again, 0, (output * sizes).sum())
    columns = zip(*rows, strict=True)
    return Layers(*(jnp.asarray(xp.stack(column), jnp.int32) for column in columns))


def held_of(space: "Space", i: int) -> tuple[tuple[int, ...], Held]:
    """What part `i` holds, as a table over the genes that decide which operators it has."""
    ops = space.tabled[i]
    genes = space.parts[i].genes
    decisive = [
        axis
        for axis in range(len(genes))
        if any(_varies(x, axis) for op in ops for x in (op.repeat, op.choice))
    ]
    first = tuple(slice(None) if axis in decisive else 0 for axis in range(len(genes)))
    few = [_cut(op, first) for op in ops]
    return tuple(genes[axis] for axis in decisive), holds(few, around(space)[i].kept)


def _varies(x: np.ndarray, axis: int) -> bool:
    return bool((np.diff(x, axis=axis) != 0).any())


def _cut(op: Op, index: tuple) -> Op:
    return replace(op, repeat=op.repeat[index], choice=op.choice[index])


def part_layers(space: "Space", i: int) -> Layers:
    """The cost table of part `i` alone, (*choices of its genes, operators), int64 of NumPy."""
    kept = around(space)[i].kept
    ops = space.tabled[i]
    held = holds(ops, kept)
    sizes = np.stack([op.height * op.width * op.c_out for op in ops], axis=-1)
    reads = (held.reads * sizes[..., None, :]).sum(-1)
    live = (held.live * sizes[..., None, :]).sum(-1)
    rows = [layer(op, reads[..., j], live[..., j]) for j, op in enumerate(ops) if counted(op)]
    shape = ops[0].repeat.shape
    columns = zip(*rows, strict=True)
    return Layers(*(np.stack([np.broadcast_to(x, shape) for x in c], -1) for c in columns))  # type: ignore
