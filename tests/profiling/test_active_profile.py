import zlib

import jax
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.predictors.ensemble import Ensemble
from jaxnas.predictors.lookup import Lookup
from jaxnas.profiling.active_profile import ActiveProfile, covering_sample, uniform_sample
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space

N = 200


def make(sizes, static=(), needs=()):
    """A space of genes g0, g1, ...; `needs` is {position: what the gene needs}."""
    genes = (
        Gene(f"g{i}", tuple(range(1, size + 1)), static=i in static, needs=dict(needs).get(i))
        for i, size in enumerate(sizes)
    )
    return Space("toy", tuple(genes))


@pytest.fixture(scope="module")
def space():
    """31 genes of 1 to 6 choices, the first of them static."""
    return make((4, *[2] * 12, *[3] * 8, *[4] * 4, 1, 1, 6, 6, 2, 2), static=(0,))


def position(space, genomes):
    """Sum of the genes that are not static, 0 for the smallest genome and 1 for the largest.

    As MACs behave.
    """
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
    """Without its two corners, the sample still spans 95 % of the range.

    And every tenth of the range gets its share.
    """
    inner = position(space, covering[2:])
    flat = position(space, uniform)
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
    assert all(
        len(np.unique(column)) > 1 for column, n in zip(middle.T, space.sizes, strict=True) if n > 1
    )


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
    genomes = np.asarray(
        uniform_sample(jax.random.key(0), space, 2000, exclude=np.zeros((0, 13), np.int32))
    )
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
        uniform_sample(
            jax.random.key(0), space, 3, exclude=covering_sample(jax.random.key(1), space, 4)
        )


def test_nothing_to_draw(space, covering):
    assert uniform_sample(jax.random.key(0), space, 0, exclude=covering).shape == (0, 31)


def test_genomes_of_the_same_network_are_duplicates():
    """Gene 1 means nothing while gene 0 has its first choice."""
    space = make((2, 3, 2), needs={1: ("g0", (2,))})
    genomes = np.asarray(covering_sample(jax.random.key(0), space, 8))
    assert distinct(genomes) == 8
    assert (genomes[genomes[:, 0] == 0, 1] == 0).all()
    with pytest.raises(UserError, match="it has 8 genomes"):
        covering_sample(jax.random.key(0), space, 9)
    excluded = np.array([[0, 2, 0], [0, 1, 1]], np.int32)
    assert (
        np.asarray(uniform_sample(jax.random.key(0), space, 6, exclude=excluded))[:, 0] == 1
    ).all()


def test_equal_keys_give_equal_samples(space, covering):
    np.testing.assert_array_equal(covering_sample(jax.random.key(0), space, N), covering)
    assert not np.array_equal(covering_sample(jax.random.key(2), space, N), covering)


# A device's latency in one profile.

BIG = make((4, *[2] * 12, *[3] * 8, *[4] * 4, 1, 1, 6, 6, 2, 2), static=(0,))
PREDICTOR = Ensemble(Lookup(), deals=1)


def latency(genomes, noise=0.0):
    """Additive, in ms; the noise of a network is always the same."""
    prices = np.random.default_rng(1).uniform(0.1, 1, (31, 6))
    exact = 1 + np.cumsum(prices, axis=1)[np.arange(31), genomes].sum(axis=1)
    drawn = [
        np.random.default_rng(zlib.crc32(genome.astype(np.int32).tobytes())).normal()
        for genome in genomes
    ]
    return exact * np.exp(noise * np.array(drawn))


def sit(
    profile, noise, rows=None, failing=lambda genomes: np.zeros(len(genomes), bool), stop=10**9
):
    """Measures until the profile is over, one after another.

    Returns the rows, and the last step.
    """
    genomes, ms, fresh = rows or (np.zeros((0, 31), np.int32), np.zeros(0), np.zeros(0, bool))
    while True:
        step = profile.step(jax.random.key(0), genomes, ms, fresh)
        if not len(step.genomes) or len(genomes) >= stop:
            return (genomes, ms, fresh), step
        room = stop - len(genomes)
        new = step.genomes[:room]
        figures = np.where(failing(new), np.nan, latency(new, noise))
        genomes = np.concatenate([genomes, new])
        ms = np.append(ms, figures)
        fresh = np.append(fresh, step.fresh[:room])


@pytest.fixture(scope="module")
def profile():
    return ActiveProfile(BIG, 0.03, 300, PREDICTOR)


@pytest.fixture(scope="module")
def over(profile):
    return sit(profile, 0.01)


def test_a_profile_ends_below_the_bound_and_says_the_truth(over):
    """Its error on fresh subnets holds for two hundred others, measured afterwards."""
    (genomes, ms, fresh), step = over
    assert step.error <= 0.03 and step.reason.startswith("the error on fresh subnets is ")
    assert (
        80 <= len(genomes) < 300
        and (len(genomes) - 40) % 20 == 0
        and distinct(genomes) == len(genomes)
    )
    model = PREDICTOR.fit(jax.random.key(1), BIG, genomes, ms.astype(np.float32))
    others = np.asarray(uniform_sample(jax.random.key(2), BIG, 200, genomes))
    true = np.abs(np.asarray(model(others)) / latency(others, 0.01) - 1).mean()
    assert true < 1.3 * step.error
    earlier = (genomes[:-20], ms[:-20], fresh[:-20])
    before = ActiveProfile(BIG, 0.03, 300, PREDICTOR).step(jax.random.key(0), *earlier)
    assert not before.error <= 0.03 and len(before.genomes) == 20


def test_the_error_is_that_of_the_fresh_ones(profile, over):
    (genomes, ms, fresh), step = over
    errors = profile._fit(jax.random.fold_in(jax.random.key(0), 1), genomes, ms).errors()
    assert (
        step.error
        == pytest.approx(errors[fresh].mean(), rel=1e-5)
        != pytest.approx(errors[~fresh].mean(), rel=1e-2)
    )


def test_half_of_what_follows_the_cover_is_fresh(over):
    (genomes, ms, fresh), _ = over
    assert not fresh[:40].any() and fresh[40:].mean() == 0.5
    assert np.ptp(position(BIG, genomes[:40])) == 1
    model = PREDICTOR.fit(jax.random.key(1), BIG, genomes[:40], ms[:40].astype(np.float32))
    unsure = np.asarray(model.disagreement(genomes[40:60]))
    assert unsure[~fresh[40:60]].mean() > 1.2 * unsure[fresh[40:60]].mean()


def test_a_bound_out_of_reach_ends_at_the_most():
    (genomes, _, _), step = sit(ActiveProfile(BIG, 0.001, 95, PREDICTOR), 0.05)
    assert (
        len(genomes) == 95
        and step.reason == "95 subnets are measured, which is the most"
        and step.error > 0.02
    )


@pytest.mark.parametrize("cut", [0, 17, 40, 53, 60])
def test_a_profile_goes_on_where_it_was_cut_off(profile, over, cut):
    (genomes, ms, fresh), step = over
    rows, last = sit(profile, 0.01, (genomes[:cut], ms[:cut], fresh[:cut]))
    np.testing.assert_array_equal(rows[0], genomes)
    np.testing.assert_array_equal(rows[2], fresh)
    assert last.reason == step.reason and last.error == step.error


def test_failed_measurements_count_for_nothing_but_are_not_repeated(profile):
    (genomes, ms, _), step = sit(profile, 0.01, failing=lambda genomes: genomes[:, 1] == 1)
    assert step.reason and distinct(genomes) == len(genomes) and 0.2 < np.isnan(ms).mean() < 0.8


def test_a_stable_front_ends_the_profile(small_mobilenet):
    """The error is above the bound, but what one would choose does not move."""
    space = small_mobilenet((24, 32), 3, 10)
    draws = ActiveProfile(space, 0.001, 190, PREDICTOR)
    genomes = np.zeros((0, len(space.genes)), np.int32)
    ms = np.zeros(0)
    fresh = np.zeros(0, bool)
    while len((step := draws.step(jax.random.key(0), genomes, ms, fresh)).genomes):
        genomes = np.concatenate([genomes, step.genomes])
        fresh = np.append(fresh, step.fresh)
        ms = 1 + np.asarray(space.costs(genomes).macs) / 1e5 * (1 + genomes[:, -1] / 10)
    assert step.reason == "the front of latency against MACs no longer changes"
    assert step.error > 0.001 and len(genomes) < 190


def test_the_whole_space_may_be_measured():
    space = make((2, 3, 2, 4))
    genomes = np.zeros((0, 4), np.int32)
    fresh = np.zeros(0, bool)
    profile = ActiveProfile(space, 0.001, 48, PREDICTOR)
    while len(
        (
            step := profile.step(jax.random.key(0), genomes, np.exp(genomes.prod(axis=1)), fresh)
        ).genomes
    ):
        genomes = np.concatenate([genomes, step.genomes])
        fresh = np.append(fresh, step.fresh)
    assert distinct(genomes) == 48


@pytest.mark.parametrize("until", [0.0, -0.1, 1.0, 3.0])
def test_a_bound_that_is_no_share(until):
    with pytest.raises(UserError, match=r"a share above 0 and below 1, got .*: 0.03 is 3 %"):
        ActiveProfile(BIG, until, 100, PREDICTOR)
