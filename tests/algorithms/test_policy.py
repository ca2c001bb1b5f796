import itertools
from collections import Counter

import jax
import numpy as np
import pytest

from jaxnas.algorithms import policy
from jaxnas.algorithms.policy import Policy, entropy_share
from jaxnas.errors import UserError
from jaxnas.spaces.box import Box
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.genomes import distinct, to_text
from jaxnas.spaces.space import Space

# 12 networks; b stands before the gene that it needs, and c needs b.
NESTED = Space(
    "nested",
    (
        Gene("b", (0, 1, 2), needs=("a", (1,))),
        Gene("a", (0, 1)),
        Gene("c", (0, 1), needs=("b", (1, 2))),
        Gene("d", (0, 1)),
    ),
)
ALL = np.array(list(itertools.product(*map(range, NESTED.sizes))), np.int32)
NETWORKS = distinct(NESTED, ALL)


OF_ALL = np.array([(network == ALL).all(axis=1).argmax() for network in NETWORKS])
MADE = Policy(8)


@pytest.fixture(scope="module")
def fresh():
    return jax.jit(MADE.init, static_argnums=1)(jax.random.key(0), NESTED)


@pytest.fixture(scope="module")
def params(fresh):
    """Of output layers that are not 0, so that earlier choices matter for later ones."""
    random = np.random.default_rng(0)
    kernel, bias = (random.normal(size=fresh[name].shape) for name in ("kernel", "bias"))
    return fresh | {"kernel": np.float32(2 * kernel), "bias": np.float32(bias)}


def scored(params, made=MADE):
    """Of `ALL`; a new program, for what it is made of may be replaced."""
    return jax.device_get(jax.jit(lambda params: made.scores(NESTED, params, ALL))(params))


@pytest.fixture(scope="module")
def scores(params):
    return scored(params)


def probabilities(scores):
    return np.exp(scores.log_probs[OF_ALL].sum(axis=1))


def test_probabilities_of_all_networks_add_up_to_one(scores):
    found = probabilities(scores)
    assert len(found) == 12 and found.max() < 0.9
    np.testing.assert_allclose(found.sum(), 1, rtol=1e-5)


def test_a_gene_drawn_before_the_one_it_needs_would_be_seen(monkeypatch, params):
    monkeypatch.setattr(policy, "_order", lambda space: np.arange(len(space.genes)))
    assert abs(probabilities(scored(params)).sum() - 1) > 0.1


def test_samples_come_as_often_as_their_probabilities_say(params, scores):
    sample = jax.jit(lambda key: MADE.sample(key, NESTED, params, 20000))
    genomes = np.asarray(sample(jax.random.key(1)))
    assert genomes.dtype == np.int32
    np.testing.assert_array_equal(genomes, NESTED.canonical(genomes))
    counts = Counter(map(to_text, genomes))
    shares = [counts[to_text(network)] / len(genomes) for network in NETWORKS]
    np.testing.assert_allclose(shares, probabilities(scores), atol=0.015)


def test_later_choices_depend_on_earlier_ones(scores):
    last = NETWORKS[:, 3] == 1
    assert np.ptp(scores.log_probs[OF_ALL][last, 3]) > 0.1


def test_genes_that_do_not_matter_have_no_log_probability_and_no_entropy(scores):
    dead = ~np.asarray(NESTED.alive(ALL))
    assert dead.any(axis=0).tolist() == [True, False, True, False]
    canonical = [(row == ALL).all(axis=1).argmax() for row in np.asarray(NESTED.canonical(ALL))]
    for found in scores:
        assert (found[dead] == 0).all() and (found[~dead] != 0).all()
        np.testing.assert_array_equal(found, found[canonical])


def test_entropies_of_genes_add_up_to_that_of_the_networks(scores):
    likely = probabilities(scores)
    expected = -(likely * np.log(likely)).sum()
    entropies = scores.entropies[OF_ALL].sum(axis=1)
    np.testing.assert_allclose((likely * entropies).sum(), expected, rtol=1e-5)


def test_begins_uniform_over_the_choices_of_genes_that_matter(fresh):
    scores = scored(fresh)
    choices = np.where(NESTED.alive(ALL), NESTED.sizes, 1)
    np.testing.assert_allclose(scores.log_probs, -np.log(choices), rtol=1e-6)
    np.testing.assert_allclose(entropy_share(NESTED, ALL, scores), 1, rtol=1e-6)


def test_the_likeliest_network_is_greedy(params, scores):
    genome = jax.jit(lambda: MADE.likeliest(NESTED, params))()
    own = scores.log_probs[(genome == ALL).all(axis=1)][0]
    for i in np.flatnonzero(NESTED.alive(genome)):
        others = np.delete(np.asarray(genome == ALL), i, axis=1).all(axis=1)
        assert own[i] == scores.log_probs[others, i].max()


def test_a_tangent_keeps_choices_open(params, scores):
    alive = np.asarray(NESTED.alive(ALL))
    least = np.where(alive, np.exp(-2 * 0.5) / NESTED.sizes, 0)
    assert (np.exp(scores.log_probs) < least).any()
    kept = scored(params, Policy(8, tanh=0.5))
    assert (np.exp(kept.log_probs) >= least).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"hidden": 0}, "hidden must be at least 1, got 0"), ({"tanh": -1.0}, "at least 0, got -1")],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(UserError, match=message):
        Policy(**settings)


def test_a_box_is_refused():
    with pytest.raises(UserError, match="needs a Space of choices, got the Box box"):
        Policy().init(jax.random.key(0), Box("box", (0.0,), (1.0,)))


def test_a_policy_of_one_choice_a_gene_is_certain():
    one = Space("one", (Gene("a", (1,)), Gene("b", (2,))))

    @jax.jit
    def drawn(key):
        params = MADE.init(jax.random.fold_in(key, 0), one)
        genomes = MADE.sample(jax.random.fold_in(key, 1), one, params, 3)
        scores = MADE.scores(one, params, genomes)
        return scores, entropy_share(one, genomes, scores)

    for found in jax.tree.leaves(drawn(jax.random.key(0))):
        assert not found.any()
