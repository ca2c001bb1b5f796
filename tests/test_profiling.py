import jax
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.profiling import covering_sample, uniform_sample
from jaxnas.spaces.space import Gene, Space

N = 200


def make(sizes, static=(), needs=()):
    """A space of genes g0, g1, ...; `needs` is {position: what the gene needs}."""
    genes = (Gene(f"g{i}", tuple(range(1, size + 1)), i in static, dict(needs).get(i)) for i, size in enumerate(sizes))
    return Space("toy", tuple(genes))


@pytest.fixture(scope="module")
def space():
    """31 genes of 1 to 6 choices, the first of them static."""
    return make((4, *[2] * 12, *[3] * 8, *[4] * 4, 1, 1, 6, 6, 2, 2), static=(0,))


def position(space, genomes):
    """Sum of the genes that are not static, 0 for the smallest genome and 1 for the largest: as MACs behave."""
    free = np.array([not gene.static for gene in space.genes])
    return np.asarray(genomes)[:, free].sum(1) / space.largest[free].sum()


def distinct(genomes):
    return len(np.unique(np.asarray(genomes), axis=0))


def legal(space, genomes):
    genomes = np.asarray(genomes)
    return genomes.dtype == np.int32 and (genomes >= 0).all() and (genomes < space.sizes).all()


@pytest.fixture(scope="module")
def covering(space):
    return np.asarray(covering_sample(jax.random.key(0), space, N))


@pytest.fixture(scope="module")
def uniform(space, covering):
    return np.asarray(uniform_sample(jax.random.key(1), space, N, exclude=covering))


def test_samples_are_legal_and_without_duplicates(space, covering, uniform):
    assert legal(space, covering)
    assert legal(space, uniform)
    assert covering.shape == uniform.shape == (N, 31)
    assert distinct(np.concatenate([covering, uniform])) == 2 * N


def test_the_corners_come_first(space, covering):
    np.testing.assert_array_equal(covering[:2], [space.smallest, space.largest])


def test_the_whole_range_is_covered(space, covering, uniform):
    """Without its two corners, the sample still spans 95 % of the range, and every tenth of the range gets its share."""
    inner, flat = position(space, covering[2:]), position(space, uniform)
    assert np.ptp(inner) > 0.9
    assert np.histogram(inner, bins=10, range=(0, 1))[0].min() >= N // 40
    assert np.ptp(flat) < 0.6  # what uniform draws reach
    assert np.histogram(flat, bins=10, range=(0, 1))[0].min() == 0


def test_every_choice_of_every_gene_is_hit(space, covering):
    for gene, column in zip(space.genes, covering.T, strict=True):
        assert np.bincount(column, minlength=len(gene.choices)).min() >= N // len(gene.choices) // 4


def test_genes_vary_at_every_size(space, covering):
    """Within the middle half of the range no gene is tied to the size."""
    size = position(space, covering)
    middle = covering[(size > 0.25) & (size < 0.75)]
    assert all(len(np.unique(column)) > 1 for column, n in zip(middle.T, space.sizes, strict=True) if n > 1)


def test_static_genes_are_dealt_out_evenly(space, covering):
    counts = np.bincount(covering[:, 0])
    assert counts.min() >= N // 4 - 2
    assert counts.max() <= N // 4 + 2
    correlation = np.corrcoef(covering[:, 0], position(space, covering))[0, 1]
    assert abs(correlation) < 0.25


def test_two_static_genes_are_independent():
    space = make((4, 4, *[3] * 20), static=(0, 1))
    genomes = np.asarray(covering_sample(jax.random.key(0), space, N))
    assert len(np.unique(genomes[:, :2], axis=0)) == 16


def test_uniform_draws_are_uniform():
    space = make((2, 3, 5, *[4] * 10))
    genomes = np.asarray(uniform_sample(jax.random.key(0), space, 2000, exclude=np.zeros((0, 13), np.int32)))
    for column, size in zip(genomes.T, space.sizes, strict=True):
        np.testing.assert_allclose(np.bincount(column) / 2000, 1 / size, atol=0.05)


def test_a_sample_may_be_the_whole_space():
    space = make((2, 2, 2, 2))
    assert distinct(covering_sample(jax.random.key(0), space, 16)) == 16
    taken = covering_sample(jax.random.key(1), space, 10)
    rest = uniform_sample(jax.random.key(2), space, 6, exclude=taken)
    assert distinct(np.concatenate([taken, rest])) == 16


def test_more_than_the_space_has():
    space = make((2, 3))
    with pytest.raises(UserError, match="7 different subnets from space toy: it has 6 genomes"):
        covering_sample(jax.random.key(0), space, 7)
    with pytest.raises(UserError, match="6 genomes, 4 of them already taken"):
        uniform_sample(jax.random.key(0), space, 3, exclude=covering_sample(jax.random.key(1), space, 4))


def test_nothing_to_draw(space, covering):
    assert uniform_sample(jax.random.key(0), space, 0, exclude=covering).shape == (0, 31)


def test_genomes_of_the_same_network_are_duplicates():
    """Gene 1 means nothing while gene 0 has its first choice."""
    space = make((2, 3, 2), needs={1: ("g0", 2)})
    genomes = np.asarray(covering_sample(jax.random.key(0), space, 8))
    assert distinct(genomes) == 8
    assert (genomes[genomes[:, 0] == 0, 1] == 0).all()
    with pytest.raises(UserError, match="it has 8 genomes"):
        covering_sample(jax.random.key(0), space, 9)
    excluded = np.array([[0, 2, 0], [0, 1, 1]], np.int32)
    assert (np.asarray(uniform_sample(jax.random.key(0), space, 6, exclude=excluded))[:, 0] == 1).all()


def test_equal_keys_give_equal_samples(space, covering):
    np.testing.assert_array_equal(covering_sample(jax.random.key(0), space, N), covering)
    assert not np.array_equal(covering_sample(jax.random.key(2), space, N), covering)
