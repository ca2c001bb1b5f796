"""How much each gene decides, against the variance that was put in."""

import numpy as np

from jaxnas.report.importance import explained

DRAW = np.random.default_rng(0)
GENOMES = DRAW.integers(0, [2, 3, 4, 1], (20_000, 4))


def test_shares_are_those_of_a_sum_of_effects():
    effects = np.array([3.0, 0.0]), np.array([0.0, 1.0, 5.0]), np.zeros(4)
    noise = DRAW.normal(0, 1, len(GENOMES))
    values = sum(effect[GENOMES[:, i]] for i, effect in enumerate(effects)) + noise
    parts = np.array([*(effect.var() for effect in effects), 0.0])
    np.testing.assert_allclose(explained(GENOMES, values), parts / (parts.sum() + 1), atol=0.01)


def test_chance_explains_nothing_where_rows_are_few():
    found = [explained(GENOMES[i : i + 40], DRAW.normal(size=40)) for i in range(0, 8000, 40)]
    assert np.mean(found) < 0.03  # without the correction 0.05 for three choices of forty rows


def test_failures_and_values_without_variance():
    values = np.where(GENOMES[:, 0] == 0, np.nan, GENOMES[:, 1] * 1.0)
    assert explained(GENOMES, values).round(2).tolist() == [0, 1, 0, 0]
    assert explained(GENOMES, np.ones(len(GENOMES))).tolist() == [0, 0, 0, 0]
    assert explained(GENOMES, np.full(len(GENOMES), np.nan)).tolist() == [0, 0, 0, 0]
