"""One decision of a network, and which decisions matter when others are made."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxnas.errors import UserError

CHIP = "chip"  # the kind of genes that decide the chip, not the network
Needs = tuple[str, tuple[int, ...]]  # the name of a gene, and some of its values
CHOICES = 1 << 16  # of a gene, at most: what the random bits of a mutation tell apart


@dataclass(frozen=True)
class Gene:
    """One decision: a name and its choices, smallest first, and what `kind` of decision it is.

    Kinds with a meaning: `resolution`, `width`, `depth`, `kernel`, `expand`, `operation`, whose
    choices have no order, and `chip`, a setting of the chip beside the network. A `static` gene
    changes array shapes: each choice is a program. A gene that `needs` (name, values) matters only
    where the gene of that name matters and has one of the values: the kernel of a stage's fourth
    block needs a depth of 4 or more. `labels` say in words what choices are whose numbers say
    nothing.
    """

    name: str
    choices: tuple[int, ...]
    kind: str = ""
    static: bool = False
    needs: Needs | None = None
    labels: tuple[str, ...] = ()

    def __post_init__(self):
        if self.labels and len(self.labels) != len(self.choices):
            raise UserError(
                f"gene {self.name} must have a label for each of its {len(self.choices)} choices, "
                f"or none, got {len(self.labels)}"
            )
        if len(self.choices) > CHOICES:
            raise UserError(
                f"gene {self.name} has {len(self.choices)} choices, more than {CHOICES}: give it "
                "fewer"
            )
        if not self.choices or len({*self.choices}) < len(self.choices):
            raise UserError(
                f"gene {self.name} must have one choice or more, all different, got {self.choices}"
            )

    @property
    def ordered(self) -> bool:
        """Whether choices are alike where they are near each other (widths, kernels)."""
        return self.kind != "operation"


def deeper_than(block: int, stage: str, depths: Sequence[int]) -> Needs | None:
    """What a gene needs that matters where a stage has more than so many blocks; None: always.

    None, too, where the stage never has as many.
    """
    deep = tuple(depth for depth in depths if depth > block)
    return (f"{stage}_depth", deep) if 0 < len(deep) < len(depths) else None


def shortcut_gene(stage: str, depths: Sequence[int], shortcuts: tuple[int, ...]) -> Gene:
    """Of the blocks behind a stage's first, where there are any."""
    choices = shortcuts if max(depths) > 1 else shortcuts[:1]
    return Gene(f"{stage}_shortcut", choices, "operation", needs=deeper_than(1, stage, depths))


def check_genes(space: str, genes: Sequence[Gene]) -> None:
    """Refuses genes of one name, and needs of what there is not."""
    names = [gene.name for gene in genes]
    choices = {gene.name: gene.choices for gene in genes}
    for gene in genes:
        if names.count(gene.name) > 1:
            raise UserError(f"{space}: two genes are named {gene.name}: rename one")
        if gene.needs is None:
            continue
        other, values = gene.needs
        if other not in choices or not {*values} & {*choices[other]}:
            raise UserError(
                f"{space}: gene {gene.name} needs {other} to be one of {values}, and no gene has "
                f"that name and such a choice; genes are {', '.join(names)}"
            )
    needs(space, genes)


def networks(genes: Sequence[Gene]) -> int:
    """Number of different networks, exact: genomes that differ in a dead gene count once."""

    def ways(gene: Gene) -> int:
        """Number of choices of a gene, each together with all choices of the genes it brings."""
        brought = [(g, g.needs[1]) for g in genes if g.needs and g.needs[0] == gene.name]
        return sum(
            math.prod(ways(g) for g, values in brought if value in values) for value in gene.choices
        )

    return math.prod(ways(gene) for gene in genes if gene.needs is None)


def needs(space: str, genes: Sequence[Gene]) -> tuple[np.ndarray, np.ndarray, int]:
    """Each gene's parent, whether it matters by the parent's choice, and how deep that nests.

    (genes,) int32, a gene without needs being its own parent; (genes, choices) bool.
    """
    names = [gene.name for gene in genes]
    parents = np.arange(len(names), dtype=np.int32)
    most = max((len(gene.choices) for gene in genes), default=0)
    allowed = np.ones((len(names), most), bool)
    for i, gene in enumerate(genes):
        if gene.needs is not None:
            parents[i] = names.index(gene.needs[0])
            choices = genes[parents[i]].choices
            allowed[i, : len(choices)] = np.isin(choices, gene.needs[1])
    depth = 0
    reached = parents
    while (reached[parents] != reached).any():
        reached = reached[parents]
        depth += 1
        if depth > len(names):
            raise UserError(f"{space}: a gene needs itself: mend the needs of its genes")
    return parents, allowed, depth
