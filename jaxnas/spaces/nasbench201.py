"""NAS-Bench-201's cells.

Six edges between four nodes, one of five operations each (Dong & Yang, ICLR 2020).

A genome is the operation of each edge in the order of the published string
`|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`, where `op~i` comes from node i and `+` goes on to the next
node: edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3. Node 0 is the cell's input, node 3 its output, and a node
is the sum of what reaches it. Published accuracies and latencies are looked up: `hardware.tables`;
the network itself (`nasbench201_network`) is counted and trained as any other.
"""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache, partial

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Int32

from jaxnas.errors import UserError
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.nasbench201_network import EDGES, OPERATIONS, NasBench201, network_parts
from jaxnas.spaces.space import Space
from jaxnas.types import Genome

NONE, SKIP, CONV1, CONV3, POOL = range(5)
SHAPE = (len(OPERATIONS),) * len(EDGES)

# The input, (), or a convolution (name, operation, Value that it reads); and how often it is
# pooled.
Term = tuple[tuple, int]
Value = tuple[Term, ...]  # what a node holds: a sum


@cache
def nasbench201(
    image_size: int = 32, channels: int = 3, classes: int = 10, cells: int = 5, width: int = 16
) -> Space:
    """15,625 cells, all different to this space: a published table has each one's own measurements.

    See `canonical`. `cells` of a stage, of `width` channels in the first. 8 to 220 MMACs.
    """
    return cell_space("nasbench201", NasBench201(3, cells, width, image_size, channels, classes))


def cell_space(name: str, net: NasBench201) -> Space:
    """The space of a network of these sizes."""
    genes = tuple(
        Gene(f"edge_{source}_{target}", tuple(range(len(OPERATIONS))), "operation")
        for source, target in EDGES
    )
    small = NasBench201(2, 1, 4, 4, net.channels, 4)
    smaller = partial(cell_space, name, small)
    return Space(name, genes, network_parts(net), net, smaller, counts_unread=True)


def to_string(genome: Genome | np.ndarray) -> str:
    """The published string of a cell.

    >>> to_string(np.array([3, 0, 1, 4, 2, 0]))
    '|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|'
    """
    chosen = nasbench201().decode(genome).values()
    words = [
        f"{OPERATIONS[operation]}~{source}|"
        for operation, (source, _) in zip(chosen, EDGES, strict=True)
    ]
    return "+".join(f"|{''.join(words[at])}" for at in (slice(0, 1), slice(1, 3), slice(3, 6)))


def from_string(text: str) -> Int32[np.ndarray, "6"]:
    """The genome of a published string.

    Raises:
        UserError: the string has another form, or an operation that the space lacks.
    """
    pattern = r"\+".join(
        r"\|" + "".join(rf"(\w+)~{source}\|" for source in range(target)) for target in (1, 2, 3)
    )
    found = re.fullmatch(pattern, text.strip())
    if found is None:
        raise UserError(
            f"a cell of nasbench201 is written |op~0|+|op~0|op~1|+|op~0|op~1|op~2|, got {text!r}; "
            "write it so"
        )
    if unknown := sorted(set(found.groups()) - set(OPERATIONS)):
        raise UserError(
            f"operations of nasbench201 are {', '.join(OPERATIONS)}, got {', '.join(unknown)}; use "
            "those"
        )
    return np.array([OPERATIONS.index(operation) for operation in found.groups()], np.int32)


def index(genomes: Int[Array | np.ndarray, "*n 6"]) -> Int[Array, "*n"]:
    """Row of each genome among all 15,625 in counting order, the last edge fastest.

    Not the benchmark's own numbers.

    Those are a shuffle that only the benchmark's list of cells knows; `hardware.tables` reads a
    table in any order.
    """
    places = jnp.asarray([math.prod(SHAPE[i + 1 :]) for i in range(len(SHAPE))], jnp.int32)
    return jnp.sum(jnp.asarray(genomes, jnp.int32) * places, axis=-1, dtype=jnp.int32)


def canonical(genomes: Int[Array | np.ndarray, "*n 6"]) -> Int[Array, "*n 6"]:
    """Cells that compute the same function become one: the first of them in the order of `index`.

    Jits and vmaps.

    Two cells are one if a renaming of convolutions, weights and all, gives both the same output for
    every input, by these rules and no others: `none` is zero, and what is made of zeros alone is
    zero (a convolution's norm would shift it to a learned constant, which the benchmark leaves out
    of account, too); what does not reach the output does not count; `skip_connect` is the identity;
    a sum has no order; the average pool is linear, so that a sum may be pooled term by term. Two
    convolutions are two even where they are alike, because each has weights of its own, and one
    that is read twice is one. 5,044 cells are left. (The benchmark's own merging leaves 6,466: it
    does not open a pooled sum and misses some sums of zeros, but takes a convolution that is read
    twice for two alike.)
    """
    return jnp.asarray(_representatives())[index(genomes)]


@cache
def _representatives() -> Int32[np.ndarray, "15625 6"]:
    """The canonical genome of every genome, in the order of `index`."""
    genomes = np.array(list(itertools.product(*(range(n) for n in SHAPE))), np.int32)
    first: dict[object, int] = {}
    return genomes[
        [
            first.setdefault(_function(tuple(genome)), row)
            for row, genome in enumerate(genomes.tolist())
        ]
    ]


def _function(genome: tuple[int, ...]) -> Value:
    """What a cell computes.

    Equal for two cells exactly if their functions are, under one naming of convolutions or another.

    Names are 0, 1, ... in order of what the convolutions compute, and of those alike in it each
    order is tried: the least value of all is the one. So convolutions that are alike stay two, and
    one that is read twice stays one.
    """
    output = _output(genome)
    alike: dict[tuple[int, Value], list[int]] = {}
    for edge, operation, value in _convolutions(output):
        alike.setdefault((operation, _named(value, [0] * len(EDGES))), []).append(edge)
    namings = itertools.product(*(itertools.permutations(alike[tree]) for tree in sorted(alike)))
    orders = [list(itertools.chain(*naming)) for naming in namings]
    return min(_named(output, {edge: name for name, edge in enumerate(order)}) for order in orders)


def _output(genome: tuple[int, ...]) -> Value:
    """The sum that node 3 holds; its convolutions are named by their edges."""
    nodes: list[Value] = [(((), 0),)]
    for target in range(1, 4):
        terms: list[Term] = []
        for edge, (operation, (source, into)) in enumerate(zip(genome, EDGES, strict=True)):
            if into != target or operation == NONE or not nodes[source]:
                continue
            if operation in (SKIP, POOL):
                terms += [(base, pools + (operation == POOL)) for base, pools in nodes[source]]
            else:
                terms.append(((edge, operation, nodes[source]), 0))
        nodes.append(tuple(terms))
    return nodes[3]


def _convolutions(value: Value) -> set[tuple]:
    """All that a sum is made of."""
    bases = {base for base, _ in value if base}
    return bases.union(*(_convolutions(base[2]) for base in bases))


def _named(value: Value, names: Sequence[int] | Mapping[int, int]) -> Value:
    """A sum in order, with the names of its convolutions replaced."""
    return tuple(
        sorted(
            ((names[base[0]], base[1], _named(base[2], names)) if base else (), pools)
            for base, pools in value
        )
    )
