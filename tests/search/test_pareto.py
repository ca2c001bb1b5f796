import jax
import jax.numpy as jnp
import moocore
import numpy as np
import pytest
from pymoo.indicators.hv import HV
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from jaxnas.search import pareto

N = 12
rank = jax.jit(pareto.rank)
crowding = jax.jit(pareto.crowding)
hypervolume = jax.jit(pareto.hypervolume)
knee = jax.jit(pareto.knee)
front = jax.jit(pareto.front)


def cases(objectives, count=100, n=N, special=True):
    """Random fitness: smooth, with ties and duplicates, and with NaN and infinities."""
    draw = np.random.default_rng(objectives)
    for i in range(count):
        fitness = draw.normal(size=(n, objectives)) if i % 3 == 0 else draw.integers(0, 2 + i % 5, (n, objectives))
        fitness = fitness.astype(np.float32)
        if special and i % 3 == 2:
            for value in (np.nan, np.inf, -np.inf):
                fitness[draw.random(fitness.shape) < 0.1] = value
        yield fitness


HARD = [
    np.zeros((N, 2)),
    np.full((N, 2), np.nan),
    np.full((N, 2), np.inf),
    np.full((N, 2), -np.inf),
    np.stack([np.arange(N), np.full(N, np.inf)], 1),
    np.stack([np.arange(N), -np.arange(N)], 1),
    np.stack([np.arange(N), np.arange(N)], 1),
    np.stack([np.linspace(-3e38, 3e38, N), np.linspace(3e38, -3e38, N)], 1),
    np.stack([np.arange(N) / 1e30, -np.arange(N) / 1e30], 1),
    np.concatenate([np.full((N - 1, 2), np.nan), np.ones((1, 2))]),
]
HARD = [fitness.astype(np.float32) for fitness in HARD]


def rank_by_peeling(fitness):
    """The definition, one pair at a time; failed rows come after the rest."""
    failed = np.isnan(fitness).any(1)
    ranks, left, k = np.zeros(len(fitness), int), list(np.flatnonzero(~failed)), 0
    while left:
        first = [i for i in left if not any((fitness[j] <= fitness[i]).all() and (fitness[j] < fitness[i]).any() for j in left)]
        ranks[first], left, k = k, [i for i in left if i not in first], k + 1
    ranks[failed] = k
    return ranks


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_rank_is_the_definition(objectives):
    for fitness in cases(objectives):
        np.testing.assert_array_equal(rank(fitness), rank_by_peeling(fitness))


def test_rank_of_hard_cases():
    for fitness in HARD:
        np.testing.assert_array_equal(rank(fitness), rank_by_peeling(fitness))
        three = np.concatenate([fitness, fitness[:, :1]], axis=1)
        np.testing.assert_array_equal(rank(three), rank(fitness))


def pymoo_rank(fitness):
    return NonDominatedSorting().do(fitness.astype(float), return_rank=True)[1]


@pytest.mark.parametrize("objectives", [2, 3])
def test_rank_agrees_with_pymoo_and_moocore(objectives):
    for fitness in cases(objectives, 20, 200, special=False):
        ours = rank(fitness)
        np.testing.assert_array_equal(ours, pymoo_rank(fitness))
        np.testing.assert_array_equal(np.asarray(ours), moocore.pareto_rank(fitness))


def test_planted_bug_in_rank_is_found():
    def weak(fitness):  # ties in one objective do not dominate
        strict = (fitness[:, None] < fitness[None]).all(-1)
        return strict.any(0).astype(int)

    assert any((weak(fitness) != pymoo_rank(fitness)).any() for fitness in cases(2, 20, special=False))
    assert any((weak(fitness) != rank_by_peeling(fitness)).any() for fitness in cases(2, 20))
    assert any((weak(fitness) != moocore.pareto_rank(fitness)).any() for fitness in cases(2, 20, special=False))


def test_rank_of_one_row_and_vmap():
    assert rank(np.ones((1, 2), np.float32)).tolist() == [0]
    assert rank(np.full((1, 3), np.nan, np.float32)).tolist() == [0]
    for objectives in (2, 3):
        batch = np.stack(list(cases(objectives, 5)))
        np.testing.assert_array_equal(jax.jit(jax.vmap(pareto.rank))(batch), [rank(fitness) for fitness in batch])


def crowding_by_pymoo(fitness, ranks, crowding_distance=calc_crowding_distance):
    expected = np.zeros(len(fitness))
    for k in np.unique(ranks):
        rows = np.flatnonzero(ranks == k)
        expected[rows] = crowding_distance(fitness[rows].astype(float)) if len(rows) > 2 else np.inf
    return expected


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_crowding_agrees_with_pymoo(objectives):
    for fitness in cases(objectives, special=False):
        ranks = np.asarray(rank(fitness))
        np.testing.assert_allclose(crowding(fitness, ranks), crowding_by_pymoo(fitness, ranks), rtol=1e-4, atol=1e-6)


def test_planted_bug_in_crowding_is_found():
    def unscaled(fitness):  # the gaps keep their units
        return calc_crowding_distance(fitness) * np.ptp(fitness, axis=0).max()

    wrong = 0
    for fitness in cases(2, special=False):
        ranks = np.asarray(rank(fitness))
        wrong += not np.allclose(crowding_by_pymoo(fitness, ranks, unscaled), crowding_by_pymoo(fitness, ranks), rtol=1e-4)
    assert wrong > 20


def test_crowding_is_never_nan_and_0_where_failed():
    for fitness in [*HARD, *cases(2)]:
        ranks = rank(fitness)
        distance = np.asarray(crowding(fitness, ranks))
        assert not np.isnan(distance).any()
        assert (distance >= 0).all()
        assert (distance[np.isnan(fitness).any(1)] == 0).all()


@pytest.mark.parametrize(
    ("fitness", "expected"),
    [
        ([[0, 4], [1, 2], [2, 1], [4, 0]], [np.inf, 0.625, 0.625, np.inf]),
        ([[0, 4], [1, 2], [np.inf, 1], [2, 1.5]], [np.inf, 0.5 * (1 + 2.5 / 3), np.inf, 0.5 * (0.5 + 1 / 3)]),  # inf as if 2
        ([[1, 1], [1, 1], [1, 1], [1, 1]], [0, 0, 0, 0]),  # duplicates
        ([[0, 2], [1, 1], [1, 1], [2, 0]], [np.inf, 0.5, 0.5, np.inf]),
        ([[0, 1], [3, 1], [4, 1], [1, 1]], [np.inf, 0.375, np.inf, 0.375]),  # a constant objective, all of one rank
        ([[0, 1], [1, 0], [3, 3], [np.nan, 0]], [np.inf, np.inf, np.inf, 0]),  # fronts of two and of one
        ([[3e38, -3e38], [0, 0], [0, 0], [-3e38, 3e38]], [np.inf, 0.5, 0.5, np.inf]),
    ],
)
def test_crowding_as_documented(fitness, expected):
    fitness = np.array(fitness, np.float32)
    ranks = np.zeros(4, np.int32) if (fitness[:, 1] == 1).all() else rank(fitness)
    np.testing.assert_allclose(crowding(fitness, ranks), expected, rtol=1e-6)


def test_hypervolume_agrees_with_pymoo_and_moocore():
    reference = np.array([1.5, 2.5], np.float32)
    for fitness in cases(2, special=False):
        ours = float(hypervolume(fitness, reference))
        assert ours == pytest.approx(HV(ref_point=reference.astype(float))(fitness.astype(float)), rel=1e-4, abs=1e-6)
        assert ours == pytest.approx(moocore.hypervolume(fitness, ref=reference), rel=1e-4, abs=1e-6)


def test_planted_bug_in_hypervolume_is_found():
    reference = np.array([1.5, 2.5])

    def each_alone(fitness):  # overlaps counted again
        return np.prod(np.maximum(reference - fitness, 0), axis=1).sum()

    wrong = [abs(each_alone(f) - HV(ref_point=reference)(f.astype(float))) > 1e-2 for f in cases(2, special=False)]
    also = [abs(each_alone(f) - moocore.hypervolume(f, ref=reference)) > 1e-2 for f in cases(2, special=False)]
    assert sum(wrong) > 50
    assert sum(also) > 50


def test_hypervolume_ignores_points_beyond_the_reference_and_failed_ones():
    reference = np.array([3, 3], np.float32)
    fitness = np.array([[1, 2], [2, 1], [3, 0], [0, 3], [5, -5], [np.nan, 0], [0, np.nan], [np.inf, 0]], np.float32)
    assert hypervolume(fitness, reference) == 3
    assert hypervolume(fitness[2:], reference) == 0
    assert hypervolume(np.array([[1, -np.inf], [1, -np.inf]], np.float32), reference) == np.inf
    for case in [*HARD, *cases(2)]:
        assert not np.isnan(hypervolume(case, reference))


def test_front_is_rank_0_without_failed_rows():
    for fitness in [*HARD, *cases(2)]:
        np.testing.assert_array_equal(front(fitness), (rank_by_peeling(fitness) == 0) & ~np.isnan(fitness).any(1))


def test_knee_is_farthest_from_the_line_through_the_extremes():
    draw = np.random.default_rng(3)
    for _ in range(50):
        x = np.sort(draw.random(N))
        fitness = np.stack([7 + 30 * x, -5 + 0.01 * (1 - np.sqrt(x))], axis=1).astype(np.float32)
        scaled = (fitness - fitness.min(0)) / np.ptp(fitness, axis=0)
        start, along = scaled[0], scaled[-1] - scaled[0]
        distance = np.abs(along[0] * (scaled[:, 1] - start[1]) - along[1] * (scaled[:, 0] - start[0])) / np.linalg.norm(along)
        order = draw.permutation(N)
        assert order[knee(fitness[order])] == distance.argmax()


@pytest.mark.parametrize(
    ("fitness", "expected"),
    [
        ([[0, 10], [1, 2], [5, 1], [9, 0]], 1),
        ([[0, 10], [1, 2], [0, 0], [9, 0]], 2),  # one point dominates
        ([[5, 5], [0, 10], [6, 7], [10, 0]], 0),  # on the line: the first wins
        ([[9, 9], [0, 10], [10, 0], [np.nan, 0]], 1),  # bulges away from the ideal
        ([[np.nan, 0], [3, 4], [4, 3], [9, 9]], 1),  # two points
        ([[np.nan, 0], [1, 1], [1, 1], [9, 9]], 1),  # duplicates
        ([[-np.inf, 9], [1, 1], [2, 0], [np.inf, -1]], 1),
        ([[np.nan, 0], [np.nan, 1], [np.nan, 2], [0, np.nan]], -1),
        ([[np.inf, np.inf]] * 4, 0),
    ],
)
def test_knee_as_documented(fitness, expected):
    assert knee(np.array(fitness, np.float32)) == expected


def test_survivors_are_ordered_by_rank_then_crowding_then_row():
    ranks, distance = jnp.array([1, 0, 0, 1, 0]), jnp.array([5.0, 1.0, jnp.inf, 5.0, 1.0])
    assert pareto.survivors(ranks, distance, 4).tolist() == [2, 1, 4, 0]


def test_everything_vmaps():
    batch = np.stack(list(cases(2, 6)))
    reference = jnp.ones(2)
    ranks = jax.jit(jax.vmap(pareto.rank))(batch)
    for many, one in [
        (jax.jit(jax.vmap(pareto.crowding))(batch, ranks), lambda f: crowding(f, rank(f))),
        (jax.jit(jax.vmap(pareto.knee))(batch), knee),
        (jax.jit(jax.vmap(pareto.front))(batch), front),
        (jax.jit(jax.vmap(pareto.hypervolume, (0, None)))(batch, reference), lambda f: hypervolume(f, reference)),
    ]:
        np.testing.assert_allclose(many, [one(fitness) for fitness in batch], rtol=1e-6)
