"""Pruned spaces: fewer choices of some genes, and only the operators that those still need.

A network means the same in both spaces, its genome does not: choices are counted anew.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from jaxnas.errors import UserError
from jaxnas.networks.op import INPUT, PICK, Op
from jaxnas.spaces.gene import Gene, networks
from jaxnas.spaces.parts import Part, of_every_choice
from jaxnas.spaces.space import Space, Structure

Choices = Mapping[str, Sequence[int]]  # values that are left, by the name of a gene
Kept = Bool[np.ndarray, "genes choices"]


@dataclass(frozen=True)
class Pruned:
    """A family's structure with the choices that are left, of genes that have lost some."""

    structure: Structure
    choices: tuple[tuple[str, tuple[int, ...]], ...]  # by the name of a gene

    def settings(self) -> dict[str, Any]:
        """As it is saved."""
        choices = {name: list(values) for name, values in self.choices}
        return {**self.structure.settings(), "choices": choices}

    def completed(self, saved: dict[str, Any]) -> dict[str, Any]:
        """What a file says, in today's form."""
        whole = {name: value for name, value in saved.items() if name != "choices"}
        return {**self.structure.completed(whole), "choices": saved["choices"]}


def prune(space: Space, choices: Choices) -> Space:
    """The space with these values alone of the genes that are named, and all of the others.

    Genes that can no longer matter keep one value. Operators that no network has any longer are
    gone, with their weights; where parts are without a gene's choice, they are without the gene.

    Raises:
        UserError: there is no such gene or value, or a gene is left without any.
    """
    _check(space, choices)
    genes = _left(space.genes, choices)
    changed = {new.name: new.choices for new, old in _pairs(genes, space) if new != old}
    if not changed:
        return space
    structure = space.structure
    if isinstance(structure, Pruned):
        changed = {**dict(structure.choices), **changed}
        structure = structure.structure
    if structure is not None:
        structure = Pruned(structure, tuple(changed.items()))
    parts = tuple(_pruned_part(part, genes) for part in space.parts)
    return replace(space, genes=genes, parts=parts, structure=structure, smaller=None)


def networks_left(space: Space, kept: Kept) -> int:
    """Number of different networks with the choices that a mask leaves, exact."""
    return networks(_left(space.genes, kept_choices(space, kept)))


def kept_choices(space: Space, kept: Kept) -> dict[str, tuple[int, ...]]:
    """The values that a mask leaves of the genes from which it takes some."""
    found = {}
    for gene, row in zip(space.genes, kept, strict=True):
        left = tuple(value for value, stays in zip(gene.choices, row, strict=False) if stays)
        if len(left) < len(gene.choices):
            found[gene.name] = left
    return found


def to_pruned(
    space: Space, pruned: Space, genomes: Int[np.ndarray, "n genes"]
) -> Int[np.ndarray, "n genes"]:
    """The genomes of networks of a space in a space pruned of it; -1 for a choice that is gone.

    Genes that do not matter are 0.
    """
    alive = np.asarray(space.alive(genomes))
    found = np.zeros(genomes.shape, np.int32)
    for column, (new, old) in enumerate(_pairs(pruned.genes, space)):
        place = {value: i for i, value in enumerate(new.choices)}
        table = np.array([place.get(value, -1) for value in old.choices], np.int32)
        found[:, column] = np.where(alive[:, column], table[genomes[:, column]], 0)
    return found


def _check(space: Space, choices: Choices) -> None:
    genes = {gene.name: gene for gene in space.genes}
    for name, values in choices.items():
        if name not in genes:
            raise UserError(
                f"{space.name} has no gene {name!r} to prune; genes are {', '.join(genes)}"
            )
        known = genes[name].choices
        if not values or not {*values} <= {*known}:
            raise UserError(
                f"what is left of {space.name}.{name} must be some of {known}, got {tuple(values)}"
            )


def _left(genes: Sequence[Gene], choices: Choices) -> tuple[Gene, ...]:
    """The genes with what is left of them; one value of those that can no longer matter."""
    left: dict[str, Gene] = {}
    waiting = list(genes)
    while waiting:
        gene = waiting.pop(0)
        if gene.needs is not None and gene.needs[0] not in left:
            waiting.append(gene)  # behind the gene that it needs
            continue
        left[gene.name] = _gene(gene, choices.get(gene.name, gene.choices), left)
    return tuple(left[gene.name] for gene in genes)


def _gene(gene: Gene, values: Iterable[int], left: Mapping[str, Gene]) -> Gene:
    stay = {*values}
    needs = gene.needs
    if needs is not None and not {*needs[1]} & {*left[needs[0]].choices}:
        stay = {next(value for value in gene.choices if value in stay)}
        needs = None
    at = [i for i, value in enumerate(gene.choices) if value in stay]
    chosen = tuple(gene.choices[i] for i in at)
    labels = tuple(gene.labels[i] for i in at) if gene.labels else ()
    return replace(gene, choices=chosen, labels=labels, needs=needs)


def _pairs(genes: Sequence[Gene], space: Space) -> Iterable[tuple[Gene, Gene]]:
    return zip(genes, space.genes, strict=True)


def _pruned_part(part: Part, genes: Sequence[Gene]) -> Part:
    """The part without genes that have one value, and without what no network of it has."""
    free = tuple(i for i in part.genes if len(genes[i].choices) > 1 or genes[i].static)
    fixed = {i: genes[i].choices[0] for i in part.genes if i not in free}
    every = partial(_of_free_genes, part, fixed)
    with_all = Part(part.name, free, every, part.inputs)
    ops = of_every_choice(with_all, [genes[i].choices for i in free])
    offered = {i: np.unique(op.choice).tolist() for i, op in enumerate(ops) if op.kind == PICK}
    places = _needed(ops, offered)
    return with_all._replace(ops=partial(_those, every, places, offered, _largest_kernels(ops)))


def _of_free_genes(part: Part, fixed: Mapping[int, int], *values: Any) -> tuple[Op, ...]:
    """The part's operators for values of the genes that are left to choose."""
    rest = iter(values)
    given = [fixed[i] if i in fixed else next(rest) for i in part.genes]
    return part.ops(*given)


def _needed(ops: Sequence[Op], offered: Mapping[int, list[int]]) -> dict[int, int]:
    """Old positions to new ones: of inputs, of what is there in a network, and what that reads."""
    needed = {len(ops) - 1} | {i for i, op in enumerate(ops) if op.kind == INPUT}
    needed |= {i for i, op in enumerate(ops) if op.kind != PICK and op.repeat.any()}
    for i in reversed(range(len(ops))):
        if i in needed:
            read = ops[i].inputs
            needed.update(read[j] for j in offered.get(i, range(len(read))))
    return {old: new for new, old in enumerate(sorted(needed))}


def _largest_kernels(ops: Sequence[Op]) -> tuple[int, ...]:
    return tuple(int(op.kernel.max()) for op in ops)


def _those(
    every: Any,
    places: Mapping[int, int],
    offered: Mapping[int, list[int]],
    kernels: Sequence[int],
    *values: Any,
) -> tuple[Op, ...]:
    """The operators at these places, which say of each other where they are now."""
    ops = every(*values)
    return tuple(_moved(ops, i, places, offered.get(i), kernels[i]) for i in places)


def _moved(
    ops: Sequence[Op],
    i: int,
    places: Mapping[int, int],
    offered: list[int] | None,
    kernel: int,
) -> Op:
    op = ops[i]
    if offered is not None:
        read = [op.inputs[j] for j in offered]
        choice = sum((op.choice > one) * 1 for one in offered[:-1])
        inputs = tuple(places[j] for j in read)
        return replace(op, inputs=inputs, c_in=ops[read[0]].c_out, choice=choice)
    smaller = {
        name: tuple(size for size in getattr(op, name) if size < kernel)
        for name in ("transforms", "own")
    }
    return replace(op, inputs=tuple(places[j] for j in op.inputs), **smaller)
