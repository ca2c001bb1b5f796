"""What the searches by gradient on NAS-Bench-201 are held against."""

import itertools

import numpy as np
import pytest


def test_the_expected_best_is_the_mean_over_all_draws(experiment):
    figures = np.array([3.0, 1.0, 7.0, 4.0])
    best = np.mean([max(draw) for draw in itertools.product(figures, repeat=3)])
    assert experiment("nb201_gradient").expected_best(figures, 3) == pytest.approx(best)
