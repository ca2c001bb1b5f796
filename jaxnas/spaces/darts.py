"""DARTS's cells (Liu, Simonyan & Yang, "DARTS", ICLR 2019): a normal and a reduction cell.

A cell has two inputs, the results of the two cells before it, and four nodes. Each node is the sum
of two edges, from two different ones of the inputs and the nodes before it, with an operation each;
the cell's result is its nodes, concatenated. All normal cells of a network are alike in their
operations, and so are all reduction cells, which halve the map and double the width.

Genome: of each cell and node (2 to 5, the inputs are 0 and 1) which two sources it reads, but for
the first, which has no choice, and the operations of the two edges.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Int32

from jaxnas.errors import UserError, choose
from jaxnas.networks.op import Op
from jaxnas.networks.sizes import strided
from jaxnas.spaces.cells import edge, factorised_reduction, node, relu_conv_norm
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.part_builder import PartBuilder, classifier
from jaxnas.spaces.parts import Part
from jaxnas.spaces.space import Space
from jaxnas.types import Size

OPERATIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
CELLS = ("normal", "reduce")
INPUTS = 2  # of a cell
STEM = 3  # times the width of the first cell


@dataclass(frozen=True)
class Darts:
    """Sizes of the network, and the positions of its reduction cells."""

    cells: int = 8
    width: int = 16  # of the first cell's nodes
    pixels: int = 32
    channels: int = 3  # of the images
    classes: int = 10
    nodes: int = 4  # of a cell
    reductions: tuple[int, ...] = (2, 5)

    def __post_init__(self):
        for name in ("cells", "width", "pixels", "channels", "classes", "nodes"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} of darts must be at least 1, got {getattr(self, name)}")
        normal = set(range(self.cells)) - {*self.reductions}
        if not normal or len(normal) + len(self.reductions) != self.cells or not self.reductions:
            raise UserError(
                f"reductions of darts must be some, not all, of its {self.cells} cells, from 0 on, "
                f"got {self.reductions}"
            )
        if self.width % 2 or self.pixels % 2 ** len(self.reductions):
            raise UserError(
                f"darts halves widths and maps: it needs an even width, got {self.width}, and "
                f"pixels that are a multiple of {2 ** len(self.reductions)}, got {self.pixels}"
            )

    def settings(self) -> dict[str, Any]:
        """As it is saved."""
        return asdict(self)

    def completed(self, saved: dict[str, Any]) -> dict[str, Any]:
        """What a file says, in today's form."""
        return asdict(Darts()) | saved


@cache
def darts(
    image_size: int = 32, channels: int = 3, classes: int = 10, cells: int = 8, width: int = 16
) -> Space:
    """The space of CIFAR-10, of the size that is searched; without the auxiliary head.

    The cells a third and two thirds of the way are reduction cells.
    """
    reductions = (cells // 3, 2 * cells // 3)
    net = Darts(cells, width, image_size, channels, classes, reductions=reductions)
    return darts_space("darts", net)


def darts_20(image_size: int = 32, channels: int = 3, classes: int = 10) -> Space:
    """The same of the size in which the cells found are trained: 20 cells of 36 channels."""
    return darts(image_size, channels, classes, 20, 36)


def darts_space(name: str, net: Darts) -> Space:
    """The space of a network of these sizes."""
    genes = tuple(gene for cell in CELLS for gene in _genes(cell, net.nodes))
    small = Darts(2, 4, 4, net.channels, 4, 2, (0,))
    smaller = partial(darts_space, name, small)
    return Space(name, genes, network_parts(net), net, smaller, counts_unread=True)


def pairs(target: int) -> list[tuple[int, int]]:
    """The choices of two sources of a node."""
    return list(combinations(range(target), 2))


Edges = Sequence[tuple[str, int]]  # operation and source; two for each node, in order


def from_genotype(space: Space, normal: Edges, reduce: Edges) -> Int32[np.ndarray, "genes"]:
    """The genome of a published genotype, which has the nodes of a cell concatenated.

    `[("sep_conv_3x3", 0), ("skip_connect", 1), ...]`. Raises `UserError` for a node that reads one
    source twice, and for unknown operations.
    """
    network: dict[str, int] = {}
    for cell, edges in zip(CELLS, (normal, reduce), strict=True):
        for target, pair in enumerate(zip(edges[::2], edges[1::2], strict=True), INPUTS):
            one, other = sorted(pair, key=lambda edge: edge[1])
            sources, *names = _names(cell, target)
            if (one[1], other[1]) not in pairs(target):
                raise UserError(f"node {target} of darts reads two results before it, got {pair}")
            if target > INPUTS:
                network[sources] = pairs(target).index((one[1], other[1]))
            for name, (operation, _) in zip(names, (one, other), strict=True):
                known = {name: i for i, name in enumerate(OPERATIONS)}
                network[name] = choose("operation of darts", operation, known)
    return space.encode(network)


def _genes(cell: str, nodes: int) -> list[Gene]:
    operations = tuple(range(len(OPERATIONS)))
    genes = []
    for target in range(INPUTS, INPUTS + nodes):
        sources, *edges = _names(cell, target)
        if target > INPUTS:
            genes.append(Gene(sources, tuple(range(len(pairs(target)))), "operation"))
        genes += [Gene(name, operations, "operation") for name in edges]
    return genes


def _names(cell: str, target: int) -> list[str]:
    return [f"{cell}_{target}_{decision}" for decision in ("sources", "first", "second")]


def network_parts(net: Darts) -> tuple[Part, ...]:
    """The stem, every cell, and the head."""
    parts = [Part("stem", (), partial(_stem, net))]
    width = net.width
    before = [("stem", net.pixels, STEM * width)] * INPUTS  # results: part, size, width
    for position in range(net.cells):
        reduces = position in net.reductions
        width = 2 * width if reduces else width
        parts += _cell(net, f"cell{position}", reduces, before, width)
        size = strided(before[1][1], 2 if reduces else 1)
        before = [before[1], (parts[-1].name, size, net.nodes * width)]
    _, size, width = before[1]
    parts.append(Part("last", (), partial(_last, size, width)))
    parts.append(Part("classifier", (), partial(classifier, width, net.classes)))
    return tuple(parts)


def _cell(
    net: Darts, name: str, reduces: bool, before: list[tuple[str, int, int]], width: int
) -> list[Part]:
    """Inputs of one size and width; edges, each node behind those of its sum; the result."""
    size = before[1][1]
    inputs = [f"{name}/input_{i}" for i in range(INPUTS)]
    parts = [
        Part(own, (), partial(_input, own, *sides, size, width), (part,))
        for own, (part, *sides) in zip(inputs, before, strict=True)
    ]
    after = strided(size, 2) if reduces else size
    nodes = inputs
    for target in range(INPUTS, INPUTS + net.nodes):
        edges = tuple(f"{name}/edge_{source}_{target}" for source in range(target))
        for source, own in enumerate(edges):
            sides = (size, width, 2) if reduces and source < INPUTS else (after, width, 1)
            ops = partial(_edge, own, source, target, *sides)
            genes = _genes_of_edge(net, "reduce" if reduces else "normal", source, target)
            parts.append(Part(own, genes, ops, (nodes[source],)))
        nodes = [*nodes, f"{name}/node_{target}"]
        parts.append(Part(nodes[-1], (), partial(node, after, width, target), edges))
    output = partial(_output, after, width, net.nodes)
    return [*parts, Part(f"{name}/output", (), output, tuple(nodes[INPUTS:]))]


def _genes_of_edge(net: Darts, cell: str, source: int, target: int) -> tuple[int, ...]:
    """The first node always has both inputs: an operation of its own decides on each edge."""
    every = [gene.name for own in CELLS for gene in _genes(own, net.nodes)]
    names = _names(cell, target)
    return tuple(map(every.index, names[1 + source : 2 + source] if target == INPUTS else names))


def _edge(
    name: str, source: int, target: int, size: int, width: int, stride: int, *values: Size
) -> tuple[Op, ...]:
    """An edge that its node does not read has the operation `none`."""
    choice = values[0]
    if target > INPUTS:
        sources, *operations = values
        choice = sources * 0
        for k, pair in enumerate(pairs(target)):
            if source in pair:
                choice = choice + (sources == k) * operations[pair.index(source)]
    return edge(name, OPERATIONS, size, width, stride, choice)


def _stem(net: Darts) -> tuple[Op, ...]:
    ops = PartBuilder(net.pixels, net.channels)
    ops.conv("stem", STEM * net.width, kernel=3)
    return ops.done()


def _input(path: str, size: int, width: int, wanted: int, c_out: int) -> tuple[Op, ...]:
    """A result of a cell before, at the size and width of this cell's."""
    ops = PartBuilder(size, width)
    if size == wanted:
        relu_conv_norm(ops, path, c_out)
    else:
        factorised_reduction(ops, path, c_out)
    return ops.done()


def _output(size: int, width: int, nodes: int) -> tuple[Op, ...]:
    ops = PartBuilder(size, width)
    others = [ops.input(size, width) for _ in range(nodes - 1)]
    ops.append("concat", inputs=(0, *others))
    return ops.done()


def _last(size: int, width: int) -> tuple[Op, ...]:
    ops = PartBuilder(size, width)
    ops.append("pool")
    return ops.done()
