"""Means over the genomes that a soft genome draws, against all of them one by one."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.spaces import soft
from jaxnas.spaces.encodings import (
    cell_operations,
    gene_features,
    gene_values,
    one_hot,
)
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space

# `inner` matters where `outer` is 2 or 3, and `innermost` where `inner` matters and is 5.
SPACE = Space(
    "nested",
    (
        Gene("innermost", (1, 4), needs=("inner", (5,))),
        Gene("outer", (1, 2, 3), "depth"),
        Gene("inner", (3, 5), "kernel", needs=("outer", (2, 3))),
        Gene("alone", (7, 8, 9), "operation"),
    ),
)
GENOMES = np.array(list(itertools.product(*map(range, SPACE.sizes))), np.int32)


@pytest.fixture(scope="module")
def genome():
    rows = np.zeros((4, 3), np.float32)
    for row, size in zip(rows, SPACE.sizes, strict=True):
        row[:size] = np.random.default_rng(size).dirichlet(np.ones(size))
    return jnp.asarray(rows)


@pytest.fixture(scope="module")
def mean(genome):
    """The mean of a figure of all genomes."""
    chance = np.prod(np.asarray(genome)[np.arange(4), GENOMES], axis=1)
    return lambda figures: np.tensordot(chance, np.asarray(figures, np.float64), 1)


def test_means_over_all_genomes(genome, mean):
    close = partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-7)
    close(soft.alive(SPACE, genome), mean(SPACE.alive(GENOMES)))
    for features in (gene_values, one_hot, gene_features):
        found = soft.expected_features(features, SPACE, genome)
        close(found, mean(features(SPACE, GENOMES)))
    table = np.random.default_rng(0).normal(size=(2, 3, 2))
    found = soft.expected(SPACE, genome, (2, 3), table)
    close(found, mean(table[GENOMES[:, 2], GENOMES[:, 3]]))


def test_a_table_of_canonical_genomes(genome, mean):
    table = np.random.default_rng(0).normal(size=(2, 3))  # of innermost and alone
    canonical = np.asarray(SPACE.canonical(GENOMES))
    found = soft.expected_canonical(SPACE, genome, (0, 3), table)
    assert found == pytest.approx(mean(table[canonical[:, 0], canonical[:, 3]]), rel=1e-6)
    assert found != pytest.approx(mean(table[GENOMES[:, 0], GENOMES[:, 3]]), rel=1e-2)


def test_a_genome_is_the_one_hot_case():
    rows = soft.softened(SPACE, GENOMES)
    values = jax.vmap(lambda row: soft.expected_values(SPACE, row))(rows)
    columns = jax.vmap(lambda row: soft.expected_one_hot(SPACE, row))(rows)
    assert jnp.array_equal(values, gene_values(SPACE, GENOMES))
    assert jnp.array_equal(columns, one_hot(SPACE, GENOMES))


def test_what_nobody_wrote_down_is_refused(genome):
    with pytest.raises(UserError, match=r"sees cell_operations .* one of gene_values, one_hot"):
        soft.expected_features(cell_operations, SPACE, genome)


def test_jits(genome):
    found = jax.jit(lambda genome: soft.expected_values(SPACE, genome))(genome)
    np.testing.assert_allclose(found, soft.expected_values(SPACE, genome), rtol=1e-6)
