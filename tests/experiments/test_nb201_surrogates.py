"""What surrogates of NAS-Bench-201 are measured by."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def surrogates(experiment):
    return experiment("nb201_surrogates")


def test_cells_to_learn_from_are_not_held_out(surrogates):
    used, held_out = surrogates.splits(1000, 3)
    assert (used.sum(axis=1) == 1000).all() and (held_out.sum(axis=1) == 3000).all()
    assert not (used & held_out).any()
    assert (used[0] != used[1]).any()


def test_ranks_are_those_among_the_held_out_cells(surrogates):
    """Scores of the right order have a tau of 1, and so have objectives of the right ranks."""
    draw = np.random.default_rng(0)
    fitness = draw.uniform(1, 2, (60, 2))
    held_out = draw.random((2, 60)) < 0.5
    scores = np.full((2, 60), np.nan)
    for own, row in zip(scores, held_out, strict=True):
        own[row] = [_depth(fitness[row], one) for one in fitness[row]]
    np.testing.assert_allclose(surrogates.rank_taus(fitness, scores, held_out), 1)
    np.testing.assert_allclose(surrogates.rank_taus(fitness, -scores, held_out), -1)
    both = np.stack([2 * fitness, fitness[:, ::-1] + 1])
    np.testing.assert_allclose(surrogates.rank_taus(fitness, both, held_out), 1)


def _depth(points, point):
    """The longest chain of points that dominate one another and this one: its rank."""
    better = [one for one in points if (one <= point).all() and (one < point).any()]
    return 1 + max((_depth(better, one) for one in better), default=-1)


def test_a_command_that_is_none(surrogates):
    with pytest.raises(surrogates.UserError, match="expected one of objectives, rank, "):
        surrogates.main("tau")
    with pytest.raises(surrogates.UserError, match="got objectives 5 GNN"):
        surrogates.main("objectives", "5", "GNN")
