"""Crossover and mutation: their documented probabilities, and against pymoo's on real values."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pymoo.core.problem import Problem
from pymoo.operators.crossover.sbx import cross_sbx
from pymoo.operators.mutation.pm import mut_pm
from scipy.stats import ks_2samp

from jaxnas.algorithms.variation import (
    ROUNDS,
    Discrete,
    Real,
    hashes,
    nothing_seen,
    remember,
    without_duplicates,
)
from jaxnas.errors import UserError
from jaxnas.spaces.box import Box
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space

BOX = Box("box", (0.0, -1.0, 2.0), (1.0, 3.0, 2.5))
LOW = np.asarray(BOX.low, np.float32)
HIGH = np.asarray(BOX.high, np.float32)
N = 20000


def cross(variation, space, first, second, seed=0):
    return map(
        np.asarray,
        jax.jit(variation.cross, static_argnums=1)(jax.random.key(seed), space, first, second),
    )


def mutate(variation, space, genomes, seed=1):
    return np.asarray(
        jax.jit(variation.mutate, static_argnums=1)(jax.random.key(seed), space, genomes)
    )


def test_crossed_children_exchange_genes(space):
    shape = (2000, len(space.genes))
    first = jnp.zeros(shape, jnp.int32)
    second = jnp.ones(shape, jnp.int32)
    one, other, crossed = cross(Discrete(0.6), space, first, second)
    assert abs(crossed.mean() - 0.6) < 0.03
    assert not one[~crossed].any() and other[~crossed].all()
    np.testing.assert_array_equal(one + other, 1)
    taken = one[crossed].astype(bool)
    assert abs(taken.mean() - 0.5) < 0.03
    assert abs((taken[:, 1:] == taken[:, :-1]).mean() - 0.5) < 0.03  # each gene by itself


def test_mutation_is_per_child_and_then_changes_one_gene_on_average(space):
    genomes = space.sample(jax.random.key(0), 2000)
    for mutation in (0.0, 0.35, 1.0):
        changed = mutate(Discrete(mutation=mutation), space, genomes) != np.asarray(genomes)
        assert abs(changed.any(axis=1).mean() - mutation) < 0.04
        assert not changed[:, [0, 7]].any()  # genes of one choice
    counts = changed.sum(axis=1)  # mutation 1: Binomial(29, 1/29), 0 counted as 1
    none = (28 / 29) ** 29
    assert counts.min() == 1
    assert abs((counts == 1).mean() - 2.035 * none) < 0.05
    assert abs(counts.mean() - (1 + none)) < 0.1
    per_gene = np.delete(changed, [0, 7], axis=1).mean(axis=0)
    assert (abs(per_gene - (1 + none) / 29) < 0.02).all()


def parents_of_box():
    low = np.array(BOX.low)
    high = np.array(BOX.high)
    return low + np.array([0.05, 0.5, 0.9]) * (high - low), low + np.array([0.3, 0.51, 0.97]) * (
        high - low
    )


def pymoo_children():
    first, second = parents_of_box()
    pairs = np.stack([np.tile(first, (N, 1)), np.tile(second, (N, 1))])
    settings = np.full((N, 1), 15.0), 0.5, np.full((N, 1), 0.5)
    return cross_sbx(
        pairs,
        np.array(BOX.low),
        np.array(BOX.high),
        *settings,
        random_state=np.random.default_rng(0),
    )[0]


def pymoo_mutants():
    problem = Problem(n_var=3, xl=np.array(BOX.low), xu=np.array(BOX.high))
    parents = np.tile(parents_of_box()[0], (N, 1))
    return mut_pm(
        parents,
        problem.xl,
        problem.xu,
        np.full(N, 20.0),
        np.full(N, 1 / 3),
        False,
        random_state=np.random.default_rng(0),
    )


def our_children(variation=None):
    first, second = (
        jnp.tile(jnp.asarray(parent, jnp.float32), (N, 1)) for parent in parents_of_box()
    )
    one, _, _ = cross(variation or Real(crossover=1.0), BOX, first, second)
    return one


def our_mutants(variation=None):
    return mutate(
        variation or Real(mutation=1.0),
        BOX,
        jnp.tile(jnp.asarray(parents_of_box()[0], jnp.float32), (N, 1)),
    )


def same_distribution(one, other):
    return all(
        np.asarray(ks_2samp(np.float32(one[:, i]), np.float32(other[:, i])))[1] > 1e-3
        for i in range(3)
    )


def test_real_operators_draw_from_pymoos_distributions():
    assert same_distribution(our_children(), pymoo_children())
    assert same_distribution(our_mutants(), pymoo_mutants())


def test_the_comparison_notices_a_wrong_index():
    assert not same_distribution(
        our_children(Real(crossover=1.0, crossover_index=10.0)), pymoo_children()
    )
    assert not same_distribution(
        our_mutants(Real(mutation=1.0, mutation_index=10.0)), pymoo_mutants()
    )


def test_real_children_stay_in_the_box_and_equal_parents_have_themselves():
    genomes = BOX.sample(jax.random.key(0), 1000)
    corners = jnp.where(
        genomes < genomes.mean(0),
        jnp.asarray(BOX.low, jnp.float32),
        jnp.asarray(BOX.high, jnp.float32),
    )
    for first, second in ((genomes, genomes[::-1]), (corners, corners[::-1]), (genomes, corners)):
        for children in (*cross(Real(), BOX, first, second),)[:2]:
            assert ((children >= LOW) & (children <= HIGH)).all()
            mutants = mutate(Real(), BOX, jnp.asarray(children))
            assert ((mutants >= LOW) & (mutants <= HIGH)).all()
    one, other, _ = cross(Real(), BOX, genomes, genomes)
    np.testing.assert_array_equal(one, genomes)
    np.testing.assert_array_equal(other, genomes)


def test_change_changes_the_chosen_for_certain(space):
    chosen = jnp.arange(500) % 3 == 0
    for variation, one in ((Discrete(), space), (Real(), BOX)):
        genomes = one.sample(jax.random.key(0), 500)
        changed = (
            jax.jit(variation.change, static_argnums=1)(jax.random.key(1), one, genomes, chosen)
            != genomes
        )
        np.testing.assert_array_equal(changed.any(axis=1), chosen)


def test_hashes_tell_networks_apart(space):
    genomes = space.sample(jax.random.key(0), 20000)
    found = np.unique(np.asarray(hashes(space, genomes)))
    distinct = len(np.unique(genomes, axis=0))
    assert distinct - len(found) < 3  # 0.05 collisions are expected
    slots = np.bincount(np.asarray(hashes(space, genomes)) % 1024, minlength=1024)
    assert slots.std() < 2 * np.sqrt(slots.mean())  # spread as if drawn


def test_no_network_has_the_hash_of_nobody():
    one = Space("one", (Gene("g", tuple(range(500))),))
    # Of choice 0 they add up to 0.
    assert (hashes(one, jnp.arange(500, dtype=jnp.int32)[:, None]) > 0).all()


def test_duplicates_are_mutated_and_the_first_is_kept(space):
    genomes = jnp.repeat(space.sample(jax.random.key(0), 50), 2, axis=0)
    once = jax.jit(without_duplicates, static_argnums=(1, 2))(
        jax.random.key(1), space, Discrete(), genomes, nothing_seen(100)
    )
    assert len(np.unique(once, axis=0)) == 100
    np.testing.assert_array_equal(once[::2], genomes[::2])


def test_what_was_evaluated_is_remembered_until_others_take_its_slot(space):
    genomes = space.sample(jax.random.key(0), 100)
    seen = remember(nothing_seen(100), space, genomes)
    once = without_duplicates(jax.random.key(1), space, Discrete(), genomes, seen)
    assert (once != genomes).any(axis=1).all()
    other = space.sample(jax.random.key(2), 100)
    np.testing.assert_array_equal(
        without_duplicates(jax.random.key(1), space, Discrete(), other, seen), other
    )
    many = space.sample(jax.random.key(3), 2 * len(seen))
    later = remember(seen, space, many)
    assert not (later[hashes(space, genomes) % len(seen)] == hashes(space, genomes)).all()


def test_a_space_seen_whole_still_gives_children(small_space):
    genomes = small_space.sample(jax.random.key(0), 64)
    children = without_duplicates(
        jax.random.key(1),
        small_space,
        Discrete(),
        genomes,
        remember(nothing_seen(64), small_space, genomes),
    )
    assert children.shape == (64, 2) and ROUNDS < 10


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Discrete(crossover=1.1), "crossover must be a probability from 0 to 1, got 1.1"),
        (
            lambda: Discrete(mutation=float("nan")),
            "mutation must be a probability from 0 to 1, got nan",
        ),
        (lambda: Real(mutation=-1.0), "mutation must be a probability from 0 to 1, got -1.0"),
        (lambda: Box("b", (0.0, 1.0), (1.0, 1.0)), "box b needs as many low as high values"),
        (lambda: Box("b", (0.0,), (np.inf,)), "box b needs as many low as high values, finite"),
        (
            lambda: mutate(Discrete(), BOX, BOX.sample(jax.random.key(0), 2)),
            "the operators Discrete need a Space of choices, got the Box box",
        ),
        (
            lambda: mutate(Real(), Space("s", (Gene("g", (1, 2)),)), jnp.zeros((2, 1))),
            "the operators Real need a Box, got the Space of choices s",
        ),
        (
            lambda: Space("s", (Gene("g", tuple(range(65537))),)),
            "gene g has 65537 choices, more than 65536",
        ),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(UserError, match=re.escape(message)):
        make()
