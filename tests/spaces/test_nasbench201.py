"""NAS-Bench-201's cells: strings, numbers, and which of them compute the same."""

import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.spaces import nasbench201 as nb201
from jaxnas.spaces.nasbench201 import (
    CONV1,
    CONV3,
    EDGES,
    NONE,
    OPERATIONS,
    POOL,
    SKIP,
    canonical,
    from_string,
    index,
    nasbench201,
    to_string,
)

TABLE = Path(__file__).parents[2].parent / "shared" / "data" / "nb201_tables.npz"
EVERY = np.array(list(itertools.product(range(5), repeat=6)), np.int32)
# The first cell of the benchmark's list, and number 6,111, the best on CIFAR-10.
FIRST = (
    "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|"
    "+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
)
BEST = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
)


@pytest.fixture(scope="module")
def representatives():
    """The row of the canonical cell of each cell."""
    return np.asarray(jax.jit(lambda genomes: index(canonical(genomes)))(EVERY))


@pytest.fixture(scope="module")
def published():
    if not TABLE.exists():
        pytest.skip(f"needs {TABLE.name} in ../shared/data")
    return np.load(TABLE, allow_pickle=False)


def test_the_space():
    space = nasbench201()
    assert space.size() == 15625
    assert [gene.name for gene in space.genes] == [
        "edge_0_1",
        "edge_0_2",
        "edge_1_2",
        "edge_0_3",
        "edge_1_3",
        "edge_2_3",
    ]
    assert space == nasbench201() and hash(space) == hash(nasbench201())  # one compiled program


def test_strings_of_published_cells():
    np.testing.assert_array_equal(from_string(FIRST), [POOL, CONV1, SKIP, CONV1, SKIP, SKIP])
    np.testing.assert_array_equal(
        from_string(f" {BEST}\n"), [CONV3, CONV3, CONV3, SKIP, CONV3, CONV1]
    )
    assert from_string(FIRST).dtype == np.int32
    assert to_string(jnp.asarray(from_string(BEST))) == BEST


def test_strings_are_the_inverse_of_genomes():
    strings = [to_string(genome) for genome in EVERY[::7]]
    assert len(set(strings)) == len(strings)
    np.testing.assert_array_equal([from_string(text) for text in strings], EVERY[::7])


@pytest.mark.parametrize(
    "text",
    ["", FIRST[:-1], FIRST + "+|none~0|", FIRST.replace("~1", "~2", 1), FIRST.replace("+", "")],
)
def test_a_malformed_string_is_refused(text):
    with pytest.raises(UserError, match=r"a cell of nasbench201 is written \|op~0\|\+.* got "):
        from_string(text)


def test_an_unknown_operation_is_named():
    with pytest.raises(
        UserError,
        match=r"operations of nasbench201 are none, .*, got nor_conv_7x7, zero; use those",
    ):
        from_string(FIRST.replace("avg_pool_3x3", "nor_conv_7x7").replace("nor_conv_1x1", "zero"))


def test_a_wrong_genome_has_no_string():
    with pytest.raises(UserError, match="a genome of nasbench201 has 6 indices"):
        to_string(np.array([0, 0, 0, 0, 0, 5]))


def test_index_counts_the_genomes():
    rows = jax.jit(index)(EVERY)
    assert rows.dtype == jnp.int32
    np.testing.assert_array_equal(rows, np.arange(15625))
    assert int(index(EVERY[77])) == 77


def test_the_published_list_is_in_the_order_of_these_operations_and_edges(published):
    assert tuple(published["op_names"]) == OPERATIONS
    assert tuple(map(tuple, published["edges"].tolist())) == EDGES
    assert [to_string(published["arch"][row]) for row in (0, 6111)] == [FIRST, BEST]
    np.testing.assert_array_equal(np.sort(index(published["arch"])), np.arange(15625))


# Canonical cells.


def cell(*edges):
    """A genome of {(source, target): operation}, the rest none."""
    return [dict(edges).get(edge, NONE) for edge in EDGES]


SAME = {
    "edges out of an empty node": (cell(((1, 3), CONV3), ((0, 3), SKIP)), cell(((0, 3), SKIP))),
    "edges into an unused node": (cell(((0, 2), CONV3), ((0, 3), SKIP)), cell(((0, 3), SKIP))),
    "nodes 1 and 2 swapped": (
        cell(((0, 1), CONV3), ((1, 3), POOL)),
        cell(((0, 2), CONV3), ((2, 3), POOL)),
    ),
    "skips": (cell(((0, 1), SKIP), ((1, 3), CONV1)), cell(((0, 3), CONV1))),
    "a chain": (
        cell(((0, 1), CONV3), ((1, 2), CONV1), ((2, 3), SKIP)),
        cell(((0, 1), CONV3), ((1, 3), CONV1)),
    ),
    "a pooled sum": (
        cell(((0, 1), CONV3), ((1, 2), SKIP), ((0, 2), SKIP), ((2, 3), POOL)),
        cell(((0, 1), CONV3), ((1, 3), POOL), ((0, 3), POOL)),
    ),
    "nothing": (cell(((0, 1), CONV3), ((1, 2), CONV3)), cell()),
}
OTHER = {
    "kernels": (cell(((0, 3), CONV1)), cell(((0, 3), CONV3))),
    "one convolution read twice is not two": (
        cell(((0, 1), CONV3), ((1, 3), SKIP), ((1, 2), POOL), ((2, 3), SKIP)),
        cell(((0, 1), CONV3), ((0, 2), CONV3), ((1, 3), SKIP), ((2, 3), POOL)),
    ),
    "twice is not once": (
        cell(((0, 1), SKIP), ((1, 3), SKIP), ((0, 3), SKIP)),
        cell(((0, 3), SKIP)),
    ),
    "a convolution of a sum": (
        cell(((0, 1), CONV3), ((1, 2), SKIP), ((0, 2), SKIP), ((2, 3), CONV1)),
        cell(((0, 1), CONV3), ((1, 3), CONV1), ((0, 3), CONV1)),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_cells_that_compute_the_same_are_one(name, representatives):
    one, other = representatives[index(np.array(SAME[name]))]
    assert one == other


@pytest.mark.parametrize("name", OTHER)
def test_cells_that_compute_something_else_are_not(name, representatives):
    one, other = representatives[index(np.array(OTHER[name]))]
    assert one != other


def test_canonical_is_idempotent_the_first_of_its_kind_and_vmaps(representatives):
    np.testing.assert_array_equal(representatives[representatives], representatives)
    assert (representatives <= np.arange(15625)).all()
    np.testing.assert_array_equal(
        jax.vmap(canonical)(EVERY[5000:5009]), EVERY[representatives[5000:5009]]
    )
    assert canonical(EVERY).dtype == jnp.int32


def outputs(genome):
    """The cell computed with numbers, under every assignment of six fixed convolutions to its own.

    The set of outputs.

    The pool is a circulant average; a convolution is a relu, then a matrix, which of a 1x1 is
    diagonal.
    """
    draw = np.random.default_rng(0)
    x = draw.normal(size=5)
    full = draw.normal(size=(6, 5, 5))
    weights = {CONV3: full, CONV1: full * np.eye(5)}
    pool = sum(np.roll(np.eye(5), shift, axis=1) for shift in (-1, 0, 1)) / 3
    convolutions = [edge for edge, operation in enumerate(genome) if operation in weights]
    assigned = np.array(list(itertools.permutations(range(6), len(convolutions))), int)
    nodes = [np.tile(x, (len(assigned), 1)), *np.zeros((3, len(assigned), 5))]
    for edge, ((source, target), operation) in enumerate(zip(EDGES, genome, strict=True)):
        value = nodes[source] * (operation != NONE)
        if operation == POOL:
            value = value @ pool
        if operation in weights:
            value = np.einsum(
                "nij,nj->ni",
                weights[operation][assigned[:, convolutions.index(edge)]],
                np.maximum(value, 0),
            )
        nodes[target] = nodes[target] + value
    return frozenset(map(bytes, np.round(nodes[3], 6) + 0.0))


def tree_of(genome):
    """What a cell computes, convolutions that are alike being one."""
    return nb201._named(nb201._output(tuple(genome)), [0] * 6)


def partition(rows):
    """Which positions hold equal things, as a set of groups."""
    groups = {}
    for position, row in enumerate(rows):
        groups.setdefault(row, []).append(position)
    return {tuple(group) for group in groups.values()}


@pytest.fixture(scope="module")
def computed():
    """Cells of at most three convolutions, and what each computes with numbers."""
    few = np.isin(EVERY, (CONV1, CONV3)).sum(axis=1) <= 3
    rows = np.random.default_rng(1).permutation(np.flatnonzero(few))[:1500]
    return rows, [outputs(genome) for genome in EVERY[rows].tolist()]


def test_canonical_agrees_with_what_cells_compute(representatives, computed):
    rows, values = computed
    groups = partition(values)
    assert sum(len(group) > 1 for group in groups) > 100
    assert partition(representatives[rows].tolist()) == groups


def test_cells_taken_for_one_wrongly_are_seen(computed):
    """The comparison above, of a canonical form by the benchmark's rules.

    Convolutions that are alike are taken for one.
    """
    rows, values = computed
    assert partition(map(tree_of, EVERY[rows].tolist())) != partition(values)


def test_how_many_cells_there_are(representatives, published):
    """Against the benchmark's own merging.

    What it holds for one is one here, if convolutions that are alike are taken for one.
    """
    own = representatives[np.asarray(index(published["arch"]))]
    theirs = published["unique_cell_id"]
    numbers: dict = {}
    trees = [
        numbers.setdefault(tree, len(numbers)) for tree in map(tree_of, published["arch"].tolist())
    ]

    def classes(*names):
        return len(np.unique(np.stack(names), axis=1).T)

    assert (classes(theirs), classes(own), classes(trees)) == (6466, 5044, 4660)
    assert (classes(theirs, trees), classes(own, trees)) == (6466, 5044)
