import jax
import jax.numpy as jnp
import moocore
import numpy as np
import pytest
from pymoo.decomposition.tchebicheff import Tchebicheff
from pymoo.decomposition.weighted_sum import WeightedSum
from pymoo.util.ref_dirs import get_reference_directions

from jaxnas.algorithms import scalarization
from jaxnas.algorithms.scalarization import (
    das_dennis,
    divisions_within,
    nothing_extreme,
    two_layers,
)

extremes = jax.jit(scalarization.extremes)
unit = jax.jit(scalarization.unit)
scalars = jax.jit(scalarization.scalars, static_argnums=0)


@pytest.mark.parametrize(
    ("objectives", "divisions"), [(1, 3), (2, 1), (2, 27), (3, 6), (3, 12), (4, 5), (5, 3)]
)
def test_directions_are_pymoos(objectives, divisions):
    expected = get_reference_directions("das-dennis", objectives, n_partitions=divisions)
    np.testing.assert_allclose(das_dennis(objectives, divisions), expected, atol=1e-7)


def test_a_second_layer_lies_inside_where_the_first_does_not():
    for objectives, most, expected in ((3, 100, 91), (5, 100, 85), (8, 100, 72)):
        directions = two_layers(objectives, most)
        assert len(directions) == expected
        np.testing.assert_allclose(directions.sum(axis=1), 1, rtol=1e-6)
        assert (directions > 0).all(axis=1).any()
    assert len(two_layers(5, 70)) == 70 and len(two_layers(3, 2)) == 3  # no room for a second


def test_the_most_divisions_within_a_number():
    assert [divisions_within(2, n) for n in (1, 2, 28)] == [0, 1, 27]
    assert [divisions_within(3, n) for n in (2, 3, 27, 28, 35, 36)] == [0, 1, 5, 6, 6, 7]
    assert divisions_within(1, 9) == 1


def test_extremes_are_the_ideal_point_of_everything_and_the_worst_of_the_front():
    draw = np.random.default_rng(0)
    seen = nothing_extreme(3)
    everything = np.zeros((0, 3), np.float32)
    for _ in range(20):
        fitness = draw.integers(-9, 9, (9, 3)).astype(np.float32)
        fitness[draw.random(fitness.shape) < 0.1] = draw.choice([np.nan, np.inf, -np.inf])
        seen = extremes(seen, fitness)
        finite = fitness[np.isfinite(fitness).all(1)]
        everything = np.concatenate([everything, finite])
        np.testing.assert_array_equal(seen[0], everything.min(0))
        worst = finite[moocore.is_nondominated(finite, keep_weakly=True)].max(0)
        np.testing.assert_array_equal(seen[1], np.where(worst > seen[0], worst, finite.max(0)))


def test_no_objective_counts_a_hundredfold_because_it_is_nearly_0_wherever_another_is_least():
    fitness = jnp.array([[0.0, 1, 0.01], [1, 0, 0.01], [0.01, 1, 0], [0.02, 0.02, 1]])
    assert extremes(nothing_extreme(3), fitness).tolist() == [[0, 0, 0], [1, 1, 1]]


def test_extremes_of_a_single_point_are_those_of_all():
    fitness = jnp.array([[1.0, 1], [3, 2], [2, 4]])
    assert extremes(nothing_extreme(2), fitness).tolist() == [[1, 1], [3, 4]]


def test_units_do_not_matter():
    fitness = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    scale, shift = np.array([[1e-3, 1, 1e4], [5e-3, -1, 2e4]], np.float32)
    one, other = (
        unit(values, extremes(nothing_extreme(3), values))
        for values in (fitness, fitness * scale + shift)
    )
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert one.min() == 0


def test_whatever_is_constant_or_infinite_stays_finite():
    fitness = jnp.array([[1.0, 3], [2, 3], [jnp.inf, 3], [1, -jnp.inf], [jnp.nan, 3], [3e38, 3]])
    found = extremes(nothing_extreme(2), fitness)
    assert found.tolist() == [[1, 3], [np.float32(3e38), 3]]
    for kind in scalarization.SCALARS:
        for seen in (found, nothing_extreme(2)):
            value = np.asarray(scalars(kind, fitness, seen, jnp.array([0.0, 1.0])))
            assert np.isfinite(value[[0, 1, 2, 3, 5]]).all() and (value[[0, 1, 2, 3, 5]] >= 0).all()
            assert value[4] == np.inf


def test_scalars_are_pymoos():
    draw = np.random.default_rng(0)
    fitness = draw.random((20, 3)).astype(np.float32)
    weights = draw.random((7, 3)).astype(np.float32)
    # The ideal point 0, the nadir point 1.
    seen = jnp.concatenate([jnp.zeros((1, 3)), jnp.ones((1, 3))])
    for kind, peer in (("tchebycheff", Tchebicheff()), ("weighted_sum", WeightedSum())):
        expected = [
            peer.do(fitness, weight, utopian_point=np.zeros(3), nadir_point=np.ones(3))
            for weight in weights
        ]
        np.testing.assert_allclose(scalars(kind, fitness, seen, weights), expected, rtol=1e-5)
    augmented = scalars("augmented_tchebycheff", fitness, seen, weights)
    expected = scalars("tchebycheff", fitness, seen, weights) + 0.05 * scalars(
        "weighted_sum", fitness, seen, weights
    )
    np.testing.assert_allclose(augmented, expected, rtol=1e-5)
