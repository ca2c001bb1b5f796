"""Successive halving of a generation."""

import numpy as np

from jaxnas.stages.evaluation import halving


def test_only_the_better_half_goes_on_and_the_others_keep_what_they_had():
    genomes = np.arange(8, dtype=np.int32)[:, None]
    cheap = np.array([0.5, 0.4, 0.3, 0.2, 0.9, 0.8, 0.7, 0.6], np.float32)
    latency = np.array([1, 2, 3, 4, 5, 6, 7, 8], np.float32)  # the first four are the front
    asked = []

    def evaluator(errors):
        def evaluate(genomes):
            asked.append(set(genomes[:, 0].tolist()))
            assert len(genomes) == 8
            return errors[genomes[:, 0]][:, None]

        return evaluate

    def ms(genomes):
        return latency[genomes[:, 0]][:, None]

    found = halving([evaluator(cheap), evaluator(cheap - 0.1), evaluator(cheap - 0.2)], ms)(genomes)
    assert asked == [set(range(8)), {0, 1, 2, 3}, {2, 3}]
    np.testing.assert_allclose(found[:, 0], [0.4, 0.3, 0.1, 0.0, 0.9, 0.8, 0.7, 0.6], atol=1e-6)
    np.testing.assert_array_equal(found[:, 1], latency)


def test_dominated_candidates_are_stopped_first_whatever_their_error():
    genomes = np.arange(4, dtype=np.int32)[:, None]
    errors, ms = np.array([0.9, 0.2, 0.3, 0.8], np.float32), np.array([1, 5, 6, 2], np.float32)  # 1 dominates 2

    def of(values):
        return lambda genomes: values[genomes[:, 0]][:, None]

    found = halving([of(errors), of(errors - 1)], of(ms))(genomes)
    np.testing.assert_allclose(found[:, 0], [0.9, -0.8, 0.3, -0.2], atol=1e-6)
