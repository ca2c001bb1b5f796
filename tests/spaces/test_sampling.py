"""Draws below a limit.

Never above it, and as often of one genome as of another, against all genomes written out.
"""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxnas.errors import UserError
from jaxnas.spaces import sampling
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.mobilenet import MobileNet, Stage, mobilenet_space
from jaxnas.spaces.published import attentive_nas, ofa_mobilenet_v3
from jaxnas.spaces.sampling import Term, macs, sample_below, sample_weighted, smallest_reachable
from jaxnas.spaces.space import Space

TOY = Space(
    "toy", tuple(Gene(f"g{i}", tuple(range(size))) for i, size in enumerate((3, 1, 4, 2, 3)))
)


def every(space):
    return np.array(list(itertools.product(*(range(size) for size in space.sizes))), np.int32)


def total(cost, genomes):
    return sum(
        (term.costs[tuple(genomes[:, list(term.genes)].T)] for term in cost), np.zeros(len(genomes))
    )


def per_block():
    """Blocks with genes of their own.

    So that genes are dead at small depths and a part names a width twice.
    """
    stages = (
        Stage((8, 16), (1, 2), (3, 5), (1,), 2),
        Stage((16, 24), (1, 2), (3,), (2, 3), 1, squeeze_excite=True),
    )
    return mobilenet_space(
        "per_block",
        MobileNet((8, 16), (8,), 2, stages, (16,), 1, 4, shortcut="identity", per_block=True),
    )


def toy(seed=0, draw=lambda random, shape: random.integers(0, 1000, shape)):
    """Terms of one, two and three genes, one gene in three of them; gene 4 costs nothing."""
    random = np.random.default_rng(seed)
    return tuple(
        Term(genes, draw(random, [int(TOY.sizes[i]) for i in genes]))
        for genes in ((0, 2), (1,), (2, 3, 0), (0,))
    )


def milliseconds(random, shape):
    return random.exponential(size=shape)


CASES = {
    "a term per gene": (
        TOY,
        tuple(Term((i,), 7 * np.arange(size) ** 2 + i) for i, size in enumerate(TOY.sizes)),
    ),
    "terms that share genes": (TOY, toy()),
    "floats": (TOY, toy(1, milliseconds)),
    "negative costs": (TOY, (*toy(2, milliseconds), Term((2,), np.array([-4.0, 0, -1, 2])))),
    "no cost": (TOY, ()),
}


@pytest.fixture(params=[*CASES, "stages", "blocks"])
def case(request, small_mobilenet):
    """A space, its cost in terms, all its genomes and what each costs."""
    spaces = {"stages": lambda: small_mobilenet((8, 16), 3, 10), "blocks": per_block}
    space, cost = (
        CASES[request.param] if request.param in CASES else (spaces[request.param](), None)
    )
    cost = macs(space) if cost is None else cost
    genomes = every(space)
    return space, cost, genomes, total(cost, genomes)


def p_value(space, genomes, drawn):
    """Of the hypothesis that every genome is as likely to be drawn as any other.

    All drawn must be among them.
    """
    codes = [
        np.ravel_multi_index(tuple(rows.T), tuple(space.sizes))
        for rows in (genomes, np.asarray(drawn))
    ]
    assert np.isin(codes[1], codes[0]).all()
    counts = np.bincount(codes[1], minlength=codes[0].max() + 1)[codes[0]]
    return stats.chisquare(counts).pvalue if len(genomes) > 1 else 1.0


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_draws_are_uniform_below_the_limit(case, share):
    space, cost, genomes, costs = case
    limit = float(np.quantile(costs, share)) + 1e-9  # sums of floats depend on their order
    within = genomes[costs <= limit]
    drawn = sample_below(jax.random.key(0), space, 40 * len(within), cost, limit)
    assert drawn.shape == (40 * len(within), len(space.genes)) and drawn.dtype == jnp.int32
    assert p_value(space, within, drawn) > 1e-3


@pytest.mark.parametrize("bins", [1, 7])
def test_rounding_does_not_bias_the_draws(case, bins, monkeypatch):
    """However coarse the counts are: what they take in beyond the limit is thrown away."""
    monkeypatch.setattr(sampling, "BINS", bins)
    space, cost, genomes, costs = case
    limit = float(np.quantile(costs, 0.2)) + 1e-9
    within = genomes[costs <= limit]
    assert (
        p_value(
            space, within, sample_below(jax.random.key(1), space, 40 * len(within), cost, limit)
        )
        > 1e-3
    )


def biased(steps, bins, counts=sampling._counts):
    """Options count once, however many genomes they lead to."""
    return [(ways > 0) * 1.0 for ways in counts(steps, bins)]


def within_by_rounding(random, steps, bins, counts, genes, n, draw=sampling._draw):
    """The genomes that the rounded counts take in, all said to be within the limit."""
    genomes, costs = draw(random, steps, bins, counts, genes, n)
    return genomes, np.full_like(costs, -np.inf)


def test_draws_that_are_not_uniform_are_seen(small_mobilenet, monkeypatch):
    space = small_mobilenet((8, 16), 3, 10)
    genomes = every(space)
    costs = total(macs(space), every(space))
    limit = float(np.quantile(costs, 0.2))
    within = genomes[costs <= limit]
    monkeypatch.setattr(sampling, "_counts", biased)
    assert (
        p_value(
            space,
            within,
            sample_below(jax.random.key(0), space, 40 * len(within), macs(space), limit),
        )
        < 1e-9
    )


def test_a_rounding_that_lets_genomes_beyond_the_limit_in_is_seen(small_mobilenet, monkeypatch):
    space = small_mobilenet((8, 16), 3, 10)
    limit = float(np.quantile(total(macs(space), every(space)), 0.2))
    monkeypatch.setattr(sampling, "BINS", 7)
    monkeypatch.setattr(sampling, "_draw", within_by_rounding)
    drawn = sample_below(jax.random.key(0), space, 4000, macs(space), limit)
    assert (total(macs(space), np.asarray(drawn)) > limit).any()


def test_the_smallest_reachable_is_reached_and_nothing_less(case):
    space, cost, genomes, costs = case
    least = smallest_reachable(space, cost)
    assert least == pytest.approx(costs.min(), rel=1e-12)
    cheapest = genomes[np.isclose(costs, costs.min(), rtol=1e-12)]
    drawn = np.asarray(sample_below(jax.random.key(2), space, 200, cost, least))
    assert {tuple(row) for row in drawn.tolist()} == {
        tuple(row) for row in cheapest.tolist()
    } or len(cheapest) > 20
    with pytest.raises(
        UserError,
        match=(
            f"no network of {space.name} costs at most .*: the smallest reachable cost is .*; "
            "raise the limit"
        ),
    ):
        sample_below(jax.random.key(2), space, 10, cost, np.nextafter(least, -np.inf))


@pytest.mark.parametrize("limit", [-np.inf, np.nan, 5])
def test_limits_below_everything(limit):
    with pytest.raises(
        UserError,
        match=(
            r"no network of toy costs at most .*: the smallest reachable cost is 10; raise the "
            r"limit"
        ),
    ):
        sample_below(jax.random.key(0), TOY, 10, CASES["a term per gene"][1], limit)


def test_no_limit_is_the_whole_space():
    drawn = sample_below(jax.random.key(0), TOY, 4000, toy(), np.inf)
    assert p_value(TOY, every(TOY), drawn) > 1e-3


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_impossible_choices_are_never_drawn(bad):
    cost = (*toy(), Term((2, 4), np.array([[0, 0, bad], [bad, bad, bad], [1, 0, 2], [0, bad, 0]])))
    genomes = every(TOY)
    possible = np.isfinite(total(cost, genomes))
    for limit, within in ((np.inf, possible), (1500, possible & (total(cost, genomes) <= 1500))):
        assert 0 < within.sum() < 72
        assert (
            p_value(
                TOY,
                genomes[within],
                sample_below(jax.random.key(0), TOY, 40 * int(within.sum()), cost, limit),
            )
            > 1e-3
        )
    with pytest.raises(UserError, match="the smallest reachable cost is inf"):
        sample_below(jax.random.key(0), TOY, 1, (Term((0,), np.full(3, bad)),), np.inf)


def test_the_key_decides_and_the_draws_of_a_smaller_number_come_first():
    draw = partial(sample_below, space=TOY, cost=toy(), limit=1500)
    one = draw(jax.random.key(0), n=50)
    same = draw(jax.random.key(0), n=70)
    other = draw(jax.random.key(1), n=50)
    np.testing.assert_array_equal(one, same[:50])
    assert (np.asarray(one) != np.asarray(other)).any()


@pytest.mark.parametrize("make", [attentive_nas, ofa_mobilenet_v3])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3])
def test_published_spaces(make, share, monkeypatch):
    """Up to 1e22 genomes.

    The limit is the smallest network's MACs and a share of the way to the largest's.
    """
    thrown_away = []

    def draw(*arguments, draw=sampling._draw):
        genomes, costs = draw(*arguments)
        thrown_away.append(np.mean(costs > limit))
        return genomes, costs

    monkeypatch.setattr(sampling, "_draw", draw)
    space = make()
    low, high = (int(space.costs(genome).macs) for genome in (space.smallest, space.largest))
    assert smallest_reachable(space, macs(space)) == low
    limit = low + share * (high - low)
    drawn = sample_below(jax.random.key(0), space, 500, macs(space), limit)
    assert max(thrown_away) < 0.01
    found = np.asarray(space.costs(drawn).macs)
    assert (found <= limit).all() and ((drawn >= 0) & (drawn < space.sizes)).all()
    if share == 0.02:
        # Most genomes below a low limit are just below it.
        assert np.median(found) > low + 0.7 * share * (high - low)


def test_a_published_space_against_rejection():
    """MACs and every gene of uniform genomes that happen to be within the limit.

    And of those drawn within it.
    """
    space = attentive_nas()
    uniform = space.sample(jax.random.key(0), 20000)
    cost = np.asarray(space.costs(uniform).macs)
    limit = float(np.quantile(cost, 0.1))
    kept = np.asarray(uniform)[cost <= limit]
    drawn = np.asarray(sample_below(jax.random.key(1), space, 2000, macs(space), limit))
    _, p = stats.mannwhitneyu(cost[cost <= limit], np.asarray(space.costs(drawn).macs))
    assert p > 1e-3
    for gene, size in enumerate(space.sizes):
        counts = np.stack([np.bincount(rows[:, gene], minlength=size) for rows in (kept, drawn)])
        counts = counts[:, counts.sum(axis=0) > 0]
        assert counts.shape[1] == 1 or stats.contingency.association(counts) < 0.08


def test_macs_are_the_space_s_own(small_mobilenet):
    for space in (small_mobilenet((8, 16), 3, 10), per_block()):
        genomes = every(space)
        np.testing.assert_array_equal(total(macs(space), genomes), space.costs(genomes).macs)


def test_costs_of_another_shape():
    with pytest.raises(
        UserError, match=r"costs of genes \(0, 2\) of toy must have an axis per gene, got \(4, 3\)"
    ):
        sample_below(jax.random.key(0), TOY, 1, (Term((0, 2), np.zeros((4, 3))),), 1)


def test_terms_that_link_too_many_genes(monkeypatch):
    monkeypatch.setattr(sampling, "COMBINATIONS", 23)
    with pytest.raises(
        UserError,
        match="a cost that links g0, g2, g3 has 24 combinations, more than 23: use sample_weighted",
    ):
        sample_below(jax.random.key(0), TOY, 1, toy(), 1)


def test_draws_that_nearly_always_miss_are_given_up(monkeypatch):
    """With one bin, 2^20 genomes of the lowest bin stand for the one within the limit."""
    monkeypatch.setattr(sampling, "BINS", 1)
    monkeypatch.setattr(sampling, "TRIES", 10)
    space = Space("wide", tuple(Gene(f"g{i}", (0, 1)) for i in range(20)))
    cost = tuple(Term((i,), np.array([0.0, 1.0])) for i in range(20))
    with pytest.raises(
        UserError,
        match=(
            r"fewer than 1000 of \d+ genomes drawn from wide cost at "
            r"most 1.5; choose another limit"
        ),
    ):
        sample_below(jax.random.key(0), space, 1000, cost, 1.5)


# Costs that are no sums.


def product(genomes):
    return jnp.prod(genomes.astype(jnp.float32) + 1, axis=1)


def small_first(key, n, slope=0.6):
    """Each gene's choices ever less likely."""
    keys = jax.random.split(key, len(TOY.sizes))
    logits = [-slope * jnp.arange(size) for size in TOY.sizes]
    genomes = jnp.stack(
        [
            jax.random.categorical(one, logit, shape=(n,))
            for one, logit in zip(keys, logits, strict=True)
        ],
        axis=1,
    )
    log_probability = jnp.stack(
        [jax.nn.log_softmax(logit)[genomes[:, i]] for i, logit in enumerate(logits)]
    ).sum(axis=0)
    return genomes.astype(jnp.int32), log_probability


def frequencies(sampler):
    """How often the genomes within the limit are drawn, in units of the mean."""
    drawn, effective = sample_weighted(jax.random.key(0), 20000, sampler, product, 8.0, 200000)
    within = every(TOY)[np.asarray(product(jnp.asarray(every(TOY)))) <= 8]
    codes = [
        np.ravel_multi_index(tuple(np.asarray(rows).T), tuple(TOY.sizes))
        for rows in (within, drawn)
    ]
    assert np.isin(codes[1], codes[0]).all()
    return np.bincount(codes[1], minlength=72)[codes[0]] / (20000 / len(within)), float(effective)


def test_weighted_draws_are_near_uniform():
    found, effective = frequencies(small_first)
    np.testing.assert_allclose(found, 1, atol=0.2)
    assert 20000 < effective < 150000


def test_draws_that_are_not_weighted_are_seen():
    found, _ = frequencies(lambda key, n: (small_first(key, n)[0], jnp.zeros(n)))
    assert found.max() > 1.5 and found.min() < 0.5


def test_an_additive_cost_close_by_is_a_good_sampler():
    """Of log(product), a sum: nothing is thrown away."""
    cost = tuple(Term((i,), np.log(np.arange(size) + 1)) for i, size in enumerate(TOY.sizes))
    sampler = lambda key, n: (sample_below(key, TOY, n, cost, np.log(8) + 1e-9), jnp.zeros(n))  # noqa: E731
    _, effective = sample_weighted(jax.random.key(0), 10, sampler, product, 8.0, 500)
    assert effective == 500


def test_nothing_drawn_within_the_limit():
    cost = lambda genomes: jnp.where(genomes[:, 0] == 0, jnp.nan, product(genomes))  # noqa: E731
    with pytest.raises(
        UserError,
        match=(
            r"none of 1000 genomes drawn costs at most 1.5: the smallest cost reached is 2; raise "
            r"the limit"
        ),
    ):
        sample_weighted(jax.random.key(0), 5, small_first, cost, 1.5, 1000)
