"""Choices that the front does without are removed first."""

import itertools

import numpy as np
import pytest

from jaxnas.algorithms.pruning import without_least_used
from jaxnas.errors import UserError
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space

SPACE = Space("three", tuple(Gene(name, (0, 1, 2), "operation") for name in "abc"))
EVERY = np.array(list(itertools.product(range(3), repeat=3)), np.int32)


def error(genomes: np.ndarray) -> np.ndarray:
    """Choice 2 of `a` is worse than 1 at the same cost; 2 of `b` costs more, and helps."""
    a, b, c = genomes.T
    return np.stack([10 - 2 * a + 3 * (a == 2) - 2 * b - c, 1.0 + a - (a == 2) + 3 * b + c], axis=1)


def test_the_first_to_go_is_the_choice_that_the_front_never_uses():
    found = without_least_used(SPACE, EVERY, error(EVERY), share=0.7)
    assert found.kept.tolist() == [[True, True, False], [True] * 3, [True] * 3]
    assert (found.networks, found.hypervolume) == (18, 1.0)


def test_the_hypervolume_decides_where_the_front_uses_all_that_is_left():
    """Each further choice is the one whose loss costs least: a brute-force count agrees."""
    found = without_least_used(SPACE, EVERY, error(EVERY), share=0.5)
    assert found.networks in (9, 12) and 0.8 < found.hypervolume < 1
    fitness = error(EVERY)
    low, high = fitness.min(axis=0), fitness.max(axis=0)
    unit = (fitness - low) / (1.1 * (high - low))
    grid = (np.stack(np.meshgrid(*[np.arange(400)] * 2), axis=-1) + 0.5) / 400

    def volume(inside):
        return (unit[inside][:, None, None] <= grid).all(-1).any(0).mean()

    first = EVERY[:, 0] != 2
    left = {
        (gene, choice): volume(first & (EVERY[:, gene] != choice))
        for gene, choice in itertools.product(range(3), range(3))
        if (gene, choice) != (0, 2)
    }
    removed = {(int(gene), int(choice)) for gene, choice in np.argwhere(~found.kept)}
    assert (0, 2) in removed
    (second,) = removed - {(0, 2)}
    assert left[second] == max(left.values())
    assert found.hypervolume == pytest.approx(left[second] / volume(first), abs=0.01)


def test_networks_that_failed_count_for_nothing():
    fitness = error(EVERY)
    fitness[EVERY[:, 1] == 2] = np.nan
    found = without_least_used(SPACE, EVERY, fitness, share=0.7)
    assert not found.kept[1, 2] or not found.kept[0, 2]
    with pytest.raises(UserError, match="no network was evaluated"):
        without_least_used(SPACE, EVERY, np.full_like(fitness, np.nan), share=0.5)


def test_dead_genes_are_no_use():
    """A choice that networks have without depending on it goes before one that they need."""
    genes = (Gene("depth", (1, 2)), Gene("kernel", (3, 5), needs=("depth", (2,))))
    space = Space("shallow", genes)
    genomes = np.array([[0, 1], [1, 0], [1, 1]], np.int32)
    fitness = np.array([[1.0, 1.0], [0.5, 2.0], [2.0, 2.0]])
    found = without_least_used(space, genomes, fitness, share=0.7)
    assert found.kept.tolist() == [[True, True], [True, False]] and found.networks == 2


def test_more_than_genes_can_lose_is_refused():
    with pytest.raises(UserError, match=r"three cannot be pruned to 0.01 of its 27 networks"):
        without_least_used(SPACE, EVERY, error(EVERY), share=0.01)
    genes = (Gene("resolution", (8, 16), "resolution", static=True), Gene("width", (4, 8)))
    pixels = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.int32)
    found = without_least_used(Space("two", genes), pixels, 1.0 * pixels, share=0.5)
    assert found.kept[0].all() and found.networks == 2
