"""Sampling by target MACs.

What is drawn hits its bin, and the best or the worst of the candidates is kept.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.networks.costs import macs
from jaxnas.training.attentive import attentive_genomes, macs_tables, sample_bin

BINS = 12


@pytest.fixture(scope="module")
def space(small_mobilenet):
    return small_mobilenet((6, 8), 1, 10)


@pytest.fixture(scope="module")
def table(space):
    return macs_tables(space, samples=4096, bins=BINS)[8]


def count(space, genomes):
    return np.asarray(jax.jit(jax.vmap(lambda genome: macs(space.layers(genome))))(genomes))


def at(space, genomes, resolution):
    return genomes.at[:, space.static].set(space.resolutions.index(resolution))


def test_the_table_holds_the_shares_of_uniform_samples(space, table):
    genomes = at(space, space.sample(jax.random.key(1), 4096), 8)
    bins = np.asarray(table.bin(jnp.asarray(count(space, genomes))))
    assert (bins >= 0).mean() > 0.99
    shares = np.bincount(bins[bins >= 0], minlength=BINS) / len(bins)
    np.testing.assert_allclose(np.exp(table.bins), shares, atol=0.03)
    assert np.exp(table.bins).sum() == pytest.approx(1, abs=1e-4)
    fullest = int(shares.argmax())
    for i, gene in enumerate(space.genes):
        expected = (
            np.bincount(np.asarray(genomes)[bins == fullest, i], minlength=len(gene.choices))
            / (bins == fullest).sum()
        )
        np.testing.assert_allclose(
            np.exp(table.genes[fullest, i, : len(gene.choices)]), expected, atol=0.1
        )
        assert np.exp(table.genes[fullest, i]).sum() == pytest.approx(1, abs=1e-4)


def test_every_resolution_has_a_table_of_its_own(space, table):
    tables = macs_tables(space, samples=256, bins=BINS)
    assert list(tables) == [6, 8]
    for i, each in enumerate(tables.values()):
        shares = np.exp(each.genes[:, space.static])[np.isfinite(each.bins)]
        np.testing.assert_allclose(shares, np.eye(shares.shape[1])[[i] * len(shares)], atol=1e-6)
    assert tables[6].low < tables[8].low


def test_what_is_drawn_hits_the_bin_far_more_often_than_uniform_samples(space, table):
    draw = jax.jit(lambda key, target: sample_bin(key, space, table, target, 64))
    for target in np.flatnonzero(np.exp(table.bins) > 0.001):
        genomes = draw(jax.random.key(target), jnp.int32(target))
        hits = (np.asarray(table.bin(jnp.asarray(count(space, genomes)))) == target).mean()
        assert hits > 0.95 > 0.5 > np.exp(table.bins)[target]
        assert (np.asarray(genomes) < space.sizes).all() and (
            np.asarray(genomes)[:, space.static] == 1
        ).all()
        assert len(np.unique(genomes, axis=0)) > 1


def test_a_bin_that_no_draw_hits_is_accepted_anyway(space, table):
    moved = table._replace(low=table.low + 1e9)
    genomes = sample_bin(jax.random.key(0), space, moved, jnp.int32(BINS // 2), 5)
    assert (np.asarray(genomes) < space.sizes).all()


@pytest.fixture(scope="module")
def kept(space, table):
    """(keep) -> for 50 keys: the two genomes kept.

    And all six candidates in the order they were evaluated.
    """

    def run(keep):
        seen = []

        def loss(genome):
            jax.debug.callback(lambda genome: seen.append(np.array(genome)), genome, ordered=True)
            return merit(genome)

        choose = jax.jit(lambda key: attentive_genomes(key, space, table, loss, keep, 2, 3))
        rows = [np.asarray(choose(jax.random.key(i))) for i in range(50)]
        jax.effects_barrier()
        return np.stack(rows), np.array(seen).reshape(50, 2, 3, -1)

    return run


def merit(genome):
    return jnp.sum(jnp.sin(37.0 * jnp.arange(1, len(genome) + 1) * (genome + 1)))


def test_best_up_keeps_the_lowest_loss_and_worst_up_the_highest(kept):
    best, candidates = kept(jnp.argmin)
    worst, same = kept(jnp.argmax)
    np.testing.assert_array_equal(candidates, same)
    losses = np.array(jax.vmap(jax.vmap(jax.vmap(merit)))(jnp.asarray(candidates)))
    for found, expected, wrong in (
        (best, losses.min(-1), losses.max(-1)),
        (worst, losses.max(-1), losses.min(-1)),
    ):
        merits = np.array(jax.vmap(jax.vmap(merit))(jnp.asarray(found)))
        np.testing.assert_allclose(merits, expected, rtol=1e-4, atol=1e-5)
        assert not np.allclose(merits, wrong, rtol=1e-4, atol=1e-5)


def test_candidates_share_their_target(space, table, kept):
    """Their MACs are alike, where those of two targets are not."""
    _, candidates = kept(jnp.argmin)
    bins = np.asarray(table.bin(jnp.asarray(count(space, candidates.reshape(300, -1))))).reshape(
        50, 2, 3
    )
    assert (bins == bins[..., :1]).mean() > 0.95
    assert (bins[:, 0, 0] == bins[:, 1, 0]).mean() < 0.5
