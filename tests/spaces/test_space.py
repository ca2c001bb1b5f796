"""A space as data.

Sampling, mutation, genomes as named values and back, and what they mean where some genes are dead.
"""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.mobilenet import MobileNet, Stage, mobilenet_space
from jaxnas.spaces.space import Space
from jaxnas.supernets.build import build

SIZES = (1, 2, 5, 3)


@pytest.fixture(scope="module")
def space():
    return Space(
        "toy",
        tuple(
            Gene(f"g{i}", tuple(10 * (j + 1) + i for j in range(n))) for i, n in enumerate(SIZES)
        ),
    )


def test_size_smallest_and_largest(space):
    assert space.size() == 30
    assert isinstance(space.size(), int)
    assert space.sizes.tolist() == list(SIZES)
    assert space.smallest.tolist() == [0, 0, 0, 0]
    assert space.largest.tolist() == [0, 1, 4, 2]
    huge = Space("huge", tuple(Gene(f"g{i}", tuple(range(10))) for i in range(40)))
    assert huge.size() == 10**40


def test_samples_are_in_range_and_reach_every_genome_evenly(space):
    genomes = jax.jit(space.sample, static_argnums=1)(jax.random.key(0), 6000)
    assert genomes.dtype == jnp.int32
    assert genomes.shape == (6000, 4)
    found, count = np.unique(np.asarray(genomes), axis=0, return_counts=True)
    assert len(found) == 30
    assert count.min() > 140 and count.max() < 260  # 200 each, four standard deviations
    assert (found >= 0).all() and (found < space.sizes).all()


def test_mutation_changes_exactly_the_masked_free_genes(space):
    genome_key, mask_key, key = jax.random.split(jax.random.key(1), 3)
    genomes = space.sample(genome_key, 500)
    mask = jax.random.bernoulli(mask_key, shape=genomes.shape)
    mutated = jax.jit(space.mutate)(jax.random.bits(key, mask.shape), genomes, mask)
    assert mutated.dtype == jnp.int32
    np.testing.assert_array_equal(mutated != genomes, mask & (space.sizes > 1))
    assert ((mutated >= 0) & (mutated < space.sizes)).all()


def mutants(space):
    """Of choices 0, 1, 2, 0 of genes of 1, 2, 5 and 3 choices."""
    genomes = jnp.full((4000, 4), jnp.array([0, 1, 2, 0]), jnp.int32)
    draws = jax.random.bits(jax.random.key(2), genomes.shape, jnp.uint32)
    return np.asarray(jax.jit(space.mutate)(draws, genomes, jnp.ones(genomes.shape, bool)))


def test_mutation_of_an_ordered_gene_prefers_near_values(space):
    mutated = mutants(space)
    near = np.log(2) / np.log(3)  # of two steps the first
    assert np.bincount(mutated[:, 1], minlength=2).tolist() == [4000, 0]
    np.testing.assert_allclose(
        np.bincount(mutated[:, 2]) / 2000, [1 - near, near, 0, near, 1 - near], atol=0.05
    )
    np.testing.assert_allclose(np.bincount(mutated[:, 3]) / 4000, [0, near, 1 - near], atol=0.03)


def test_mutation_of_any_other_gene_reaches_every_other_value_evenly(space):
    mutated = mutants(
        replace(space, genes=tuple(replace(gene, kind="operation") for gene in space.genes))
    )
    assert np.bincount(mutated[:, 1], minlength=2).tolist() == [4000, 0]
    counts = np.bincount(mutated[:, 2], minlength=5)
    assert counts[2] == 0 and np.delete(counts, 2).min() > 850
    assert np.bincount(mutated[:, 3])[1:].min() > 1800


def test_values_are_those_of_decode(space):
    genomes = space.sample(jax.random.key(3), 20)
    values = jax.jit(space.values)(genomes)
    assert [
        list(space.decode(genome).values()) for genome in np.asarray(genomes)
    ] == values.tolist()
    np.testing.assert_array_equal(space.values(genomes[0]), values[0])


def test_encode_is_the_inverse_of_decode(space):
    for genome in np.asarray(space.sample(jax.random.key(4), 20)):
        encoded = space.encode(space.decode(genome))
        assert encoded.dtype == np.int32
        np.testing.assert_array_equal(encoded, genome)
    assert (
        space.decode(jnp.asarray(space.largest))
        == space.decode(space.largest)
        == {"g0": 10, "g1": 21, "g2": 52, "g3": 33}
    )


def test_encode_names_every_wrong_gene(space):
    with pytest.raises(UserError) as error:
        space.encode({"g0": 10, "g1": 12, "g2": 12})
    assert (
        str(error.value)
        == "toy.g1 must be one of (11, 21), got 12; toy.g3 must be one of (13, 23, 33), got None"
    )


@pytest.mark.parametrize("genome", [[0, 0, 0], [0, 0, 5, 0], [0, -1, 0, 0], [[0, 0, 0, 0]]])
def test_decode_refuses_what_is_no_genome(space, genome):
    with pytest.raises(UserError, match="a genome of toy has 4 indices below"):
        space.decode(np.array(genome))


# Genes that do not matter: two stages of up to three blocks, each block with genes of its own.


@pytest.fixture(scope="module")
def per_block():
    stages = (
        Stage((8, 16), (1, 2, 3), (3, 5), (1,), 2),
        Stage((16,), (2, 3), (3,), (2, 3), 1, squeeze_excite=True),
    )
    return mobilenet_space(
        "per_block",
        MobileNet((8,), (8,), 2, stages, (16,), 1, 4, shortcut="identity", per_block=True),
    )


@pytest.fixture(scope="module")
def every_genome(per_block):
    return np.array(list(itertools.product(*(range(n) for n in per_block.sizes))), np.int32)


@pytest.fixture(scope="module")
def networks(per_block, every_genome):
    """What each genome builds, operator by operator."""
    ops = build(per_block).ops
    return [ops(genome) for genome in every_genome]


def counts(space, genomes, networks):
    """Of different networks: by building them all, as `size` has it.

    And as `canonical` tells them apart.
    """
    return (
        len(set(networks)),
        space.size(),
        len(np.unique(np.asarray(space.canonical(genomes)), axis=0)),
    )


def test_size_counts_different_networks(per_block, every_genome, networks):
    built, size, canonical = counts(per_block, every_genome, networks)
    assert built == size == canonical == 2 * (2 + 4 + 8) * (4 + 8) < len(every_genome)


def test_canonical_genomes_build_the_same_network(per_block, every_genome, networks):
    canonical = np.asarray(jax.jit(per_block.canonical)(every_genome))
    position = {genome.tobytes(): i for i, genome in enumerate(every_genome)}
    assert all(
        networks[i] == networks[position[genome.tobytes()]] for i, genome in enumerate(canonical)
    )
    np.testing.assert_array_equal(per_block.canonical(canonical), canonical)
    np.testing.assert_array_equal(jax.vmap(per_block.canonical)(every_genome[:9]), canonical[:9])


def test_a_gene_is_alive_where_another_choice_builds_another_network(
    per_block, every_genome, networks
):
    alive = np.asarray(per_block.alive(every_genome))
    position = {genome.tobytes(): i for i, genome in enumerate(every_genome)}
    for i in range(0, len(every_genome), 7):
        for gene in np.flatnonzero(per_block.sizes > 1):
            other = every_genome[i].copy()
            other[gene] = (other[gene] + 1) % per_block.sizes[gene]
            assert alive[i, gene] == (networks[i] != networks[position[other.tobytes()]])


@pytest.mark.parametrize("wrong", [("mb1_depth", (2, 3)), None])
def test_a_wrong_need_is_seen(per_block, every_genome, networks, wrong):
    genes = [
        replace(gene, needs=wrong) if gene.name == "mb1_block2_kernel" else gene
        for gene in per_block.genes
    ]
    built, size, canonical = counts(replace(per_block, genes=tuple(genes)), every_genome, networks)
    assert built < size == canonical


def test_genes_without_needs_always_matter(space):
    genomes = space.sample(jax.random.key(5), 20)
    assert space.alive(genomes).all()
    np.testing.assert_array_equal(space.canonical(genomes), genomes)


def test_the_static_gene(per_block, space):
    assert (per_block.static, per_block.resolutions) == (0, (8,))
    assert Space("late", (Gene("a", (1, 2)), Gene("size", (24, 32), static=True))).resolutions == (
        24,
        32,
    )
