"""What logits mean in a space, and when they have collapsed."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.networks.op import INPUT
from jaxnas.relaxations.architecture import (
    Architecture,
    derived,
    given_by,
    has_collapsed,
    padded,
    probabilities,
    searched_choices,
    skipped,
)
from jaxnas.spaces.soft import alive


@pytest.fixture
def edges(edges_space):
    return edges_space(8, 1, 10)


def one_hot(space, genome):
    return np.eye(space.sizes.max(), dtype=np.float32)[genome]


def alike(space):
    return jnp.zeros((len(space.genes), space.sizes.max()))


def shares(space, logits, pixels=8):
    return probabilities(space, searched_choices(space), logits, pixels)


def learnt(space, probability, **cost):
    return Architecture(
        "", np.asarray(probability, np.float64), searched_choices(space), False, **cost
    )


def test_genes_matter_by_the_probability_of_what_they_need(per_block):
    space = per_block
    for genome in (space.smallest, space.largest, space.largest * np.arange(len(space.genes)) % 2):
        found = alive(space, jnp.asarray(one_hot(space, genome)))
        np.testing.assert_array_equal(found, space.alive(genome))
    needy = np.array([gene.needs is not None for gene in space.genes])
    assert needy.any()
    np.testing.assert_allclose(alive(space, shares(space, alike(space)))[needy], 0.5)


def test_static_genes_stay_hard_and_every_resolution_leaves_a_network(small_mobilenet):
    space = small_mobilenet((6, 8), 1, 10)
    logits = alike(space).at[:, 0].set(0.1)
    assert space.static is not None
    for choice, pixels in enumerate((6, 8)):
        row = np.asarray(shares(space, logits, pixels)[space.static])
        assert row.tolist() == np.eye(len(row))[choice].tolist()
    found = derived(space, learnt(space, shares(space, logits)))
    assert found[:, space.static].tolist() == [0, 1]
    np.testing.assert_array_equal(found, space.canonical(found))


def entropies(space, probability):
    return learnt(space, probability).entropies()


def test_entropies_are_shares_of_the_most(small_mobilenet):
    space = small_mobilenet((8,), 1, 10)
    alike_all = shares(space, alike(space))
    even = entropies(space, np.asarray(alike_all, np.float64))
    np.testing.assert_allclose(even, space.sizes > 1, atol=1e-6)
    np.testing.assert_array_equal(entropies(space, one_hot(space, space.largest)), 0)
    behind = len(space.genes) * space.sizes.max() - space.sizes.sum()
    assert np.isneginf(np.asarray(padded(searched_choices(space), alike(space)))).sum() == behind


def test_zeros_are_left_out_where_there_are_other_operations(edges, edges_space):
    assert searched_choices(edges).all()
    assert searched_choices(edges, zeros=False).tolist() == 4 * [[False, True, True, True]]
    assert searched_choices(edges_space(8, 1, 10, choices=(0,)), zeros=False).all()
    some = probabilities(edges, searched_choices(edges, zeros=False), alike(edges), 8)
    np.testing.assert_allclose(some, np.tile([0, 1 / 3, 1 / 3, 1 / 3], (4, 1)), rtol=1e-6)


@pytest.mark.parametrize(
    ("target", "genome"),
    [
        (np.nan, [3, 3, 3, 3]),
        (9, [3, 3, 3, 3]),
        (8.9, [3, 3, 3, 2]),
        (8, [3, 3, 3, 1]),
        (6.5, [3, 1, 3, 1]),
        (1, [2, 1, 3, 1]),
    ],
)
def test_a_target_is_met_by_the_exchanges_that_lose_least_probability(edges, target, genome):
    """Four of the dearest choice cost 9. The last gene is the least decided."""
    rows = [[0, 0, 0.1, 0.9], [0, 0.2, 0.1, 0.7], [0, 0, 0, 1], [0, 0.25, 0.35, 0.4]]
    costs = jnp.array([0, 1, 2, 2.25])
    found = derived(
        edges, learnt(edges, rows, cost=lambda soft: (soft @ costs).sum(), target=target)
    )
    assert found.tolist() == [genome]


def test_skips_are_operations_that_compute_nothing(edges, small_mobilenet):
    """Zeros are none, and depths and widths are no operations."""
    assert given_by(INPUT, edges).tolist() == 4 * [[False, True, False, False]]
    assert skipped(edges, np.array([0, 1, 2, 3])) == (1, 4)
    assert not given_by(INPUT, small_mobilenet((8,), 1, 10)).any()


@pytest.mark.parametrize(("genome", "collapsed"), [([1, 1, 1, 2], True), ([1, 1, 0, 2], False)])
def test_three_skips_of_four_are_a_collapse(edges, genome, collapsed):
    assert has_collapsed(edges, np.array(genome)) == collapsed


def test_a_space_without_operations_cannot_collapse(small_mobilenet):
    space = small_mobilenet((8,), 1, 10)
    assert not has_collapsed(space, space.smallest)
