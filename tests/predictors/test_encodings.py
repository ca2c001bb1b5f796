import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.spaces.box import Box
from jaxnas.spaces.encodings import (
    PATHS,
    cell_counts,
    cell_operations,
    cell_paths,
    cell_shape,
    gene_features,
    gene_values,
    group_scales,
    grouped,
    one_hot,
    standardisation,
)
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.nasbench201 import EDGES, nasbench201
from jaxnas.spaces.space import Space


def test_genes_are_seen_by_value(space):
    values = jax.jit(lambda genomes: gene_values(space, genomes))(
        jnp.stack([space.smallest, space.largest])
    )
    assert values.dtype == jnp.float32
    np.testing.assert_array_equal(values[0], [gene.choices[0] for gene in space.genes])
    np.testing.assert_array_equal(values[1], [gene.choices[-1] for gene in space.genes])


def test_genes_that_do_not_matter_are_0():
    genes = (
        Gene("depth", (1, 2)),
        Gene("first", (3, 5)),
        Gene("second", (3, 5), needs=("depth", (2,))),
    )
    values = gene_values(Space("toy", genes), jnp.array([[0, 1, 1], [1, 1, 1], [1, 0, 0]]))
    assert values.tolist() == [[1, 5, 0], [2, 5, 5], [2, 3, 3]]


def test_choices_without_an_order_have_columns_of_their_own():
    genes = (
        Gene("edge", (0, 1, 2), "operation"),
        Gene("skip", (0, 1), "operation"),
        Gene("kernel", (3, 5), "kernel", needs=("edge", (1,))),
    )
    features = gene_features(Space("toy", genes), jnp.array([[2, 1, 1], [1, 0, 1]]))
    assert features.tolist() == [[1, 0, 0, 0, 1], [0, 5, 0, 1, 0]]


def test_of_genes_in_order_the_features_are_the_values(space):
    genomes = space.sample(jax.random.key(0), 20)
    np.testing.assert_array_equal(gene_features(space, genomes), gene_values(space, genomes))


def test_standardised_genes_have_mean_0_and_deviation_1(space):
    values = gene_values(space, space.sample(jax.random.key(0), 200))
    mean, deviation = standardisation(values)
    standard = np.asarray((values - mean) / deviation)
    one_choice = space.sizes == 1
    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(standard.std(axis=0)[~one_choice], 1, rtol=1e-5)
    assert (standard[:, one_choice] == 0).all()
    assert (np.asarray(deviation)[one_choice] == 1).all()


def test_one_column_for_each_choice():
    genes = (
        Gene("depth", (1, 2)),
        Gene("first", (3, 5, 7)),
        Gene("second", (3, 5), needs=("depth", (2,))),
    )
    columns = jax.jit(lambda genomes: one_hot(Space("toy", genes), genomes))(
        jnp.array([[0, 2, 1], [1, 0, 1]])
    )
    assert columns.dtype == jnp.float32
    assert columns.tolist() == [[1, 0, 0, 0, 1, 0, 0], [0, 1, 1, 0, 0, 0, 1]]


def test_edges_where_nothing_runs_are_none():
    """Every cell, against a walk over its paths from the input to the output."""
    cells = np.array(list(np.ndindex(*[5] * 6)), np.int32)[::7]
    paths = [(3,), (0, 4), (1, 5), (0, 2, 5)]  # edges 0-3; 0-1, 1-3; 0-2, 2-3; 0-1, 1-2, 2-3
    runs = np.zeros(cells.shape, bool)
    for path in paths:
        runs[:, path] |= (cells[:, path] != 0).all(axis=1, keepdims=True)
    live = np.where(runs, cells, 0)
    found = np.asarray(jax.jit(lambda cells: cell_operations(nasbench201(), cells))(cells))
    np.testing.assert_array_equal(found[:, :30], one_hot(nasbench201(), cells))
    np.testing.assert_array_equal(found[:, 30:], one_hot(nasbench201(), live))
    assert (found[:, :30] != found[:, 30:]).any()
    counts = np.asarray(cell_counts(nasbench201(), jnp.asarray(cells)))
    np.testing.assert_array_equal(counts[:, :5], [np.bincount(row, minlength=5) for row in cells])
    np.testing.assert_array_equal(counts[:, 5:], [np.bincount(row, minlength=5) for row in live])


def test_paths_are_those_of_a_walk_through_the_cell():
    cells = np.array(list(np.ndindex(*[5] * 6)), np.int32)[3::13]
    found = np.asarray(jax.jit(lambda cells: cell_paths(nasbench201(), cells))(cells))
    shape = np.asarray(cell_shape(nasbench201(), jnp.asarray(cells)))
    for row, (cell, counts) in enumerate(zip(cells.tolist(), found, strict=True)):
        walks = list(walked(dict(zip(EDGES, cell, strict=True)), 0))
        assert counts.sum() == len(walks)
        for path, count in zip(PATHS, counts, strict=True):
            assert walks.count(path) == count
        convolutions = [sum(one in (2, 3) for one in walk) for walk in walks]
        np.testing.assert_allclose(
            shape[row] * [4, 3, 3, 6, 1],
            [
                len(walks),
                max(map(len, walks), default=0),
                max(convolutions, default=0),
                sum(convolutions),
                any(3 in walk for walk in walks),
            ],
            rtol=1e-6,
        )


def walked(cell, node):
    """What each way from a node to the output computes."""
    if node == 3:
        yield ()
    for (source, target), operation in cell.items():
        if source == node and operation != 0:
            for rest in walked(cell, target):
                yield rest if operation == 1 else (operation, *rest)


def test_groups_of_features_have_a_variance_of_1():
    genes = (Gene("a", (0, 1, 2), "operation"), Gene("b", (16, 24), "width"), Gene("c", (1,)))
    for space in (nasbench201(), Space("toy", genes), Box("box", (0.0, -1.0), (1.0, 5.0))):
        group, mean, scale = group_scales(space)
        features = jax.jit(lambda key, space=space: grouped(space, space.sample(key, 4000)))(
            jax.random.key(1)
        )
        assert features.shape[1] == len(group) == len(mean) == len(scale)
        found = [features[:, group == i].var(axis=0).sum() for i in range(group.max() + 1)]
        expected = [1, 1, 0] if space.name == "toy" else 1
        np.testing.assert_allclose(found, expected, atol=0.15)


def test_genes_that_do_not_matter_have_no_features():
    genes = (Gene("a", (0, 1, 2), "operation"), Gene("b", (3, 5), "kernel", needs=("a", (1,))))
    found = jax.jit(lambda genomes: grouped(Space("toy", genes), genomes))(
        jnp.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    )
    assert (found[0] == found[1]).all() and (found[2] != found[3]).any()
