import itertools

import jax
import jax.numpy as jnp
import moocore
import numpy as np
import pytest
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from jaxnas.algorithms import pareto
from jaxnas.errors import UserError

N = 12
rank = jax.jit(pareto.rank)
crowding = jax.jit(pareto.crowding)
many_ranks = jax.jit(jax.vmap(pareto.rank))
many_crowdings = jax.jit(jax.vmap(pareto.crowding))
knee = jax.jit(pareto.knee)
front = jax.jit(pareto.front)


def cases(objectives, count=100, n=N, special=True):
    """Random fitness: smooth, with ties and duplicates, and with NaN and infinities."""
    draw = np.random.default_rng(objectives)
    for i in range(count):
        fitness = (
            draw.normal(size=(n, objectives))
            if i % 3 == 0
            else draw.integers(0, 2 + i % 5, (n, objectives))
        )
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


def rank_by_peeling(fitness, violation=None):
    """The definition, one pair at a time: feasible, then infeasible, then failed rows."""
    violation = np.zeros(len(fitness)) if violation is None else violation
    failed = np.isnan(fitness).any(1) | np.isnan(violation)

    def dominates(i, j):
        if violation[i] > 0 or violation[j] > 0:
            return max(violation[i], 0) < max(violation[j], 0)
        return (fitness[i] <= fitness[j]).all() and (fitness[i] < fitness[j]).any()

    ranks = np.zeros(len(fitness), int)
    left = list(np.flatnonzero(~failed))
    k = 0
    while left:
        first = [i for i in left if not any(dominates(j, i) for j in left)]
        ranks[first] = k
        left = [i for i in left if i not in first]
        k = k + 1
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


def violations(count, n=N):
    """Feasible and infeasible rows, with ties, infinities and NaN.

    And negative ones, which mean feasible.
    """
    draw = np.random.default_rng(7)
    for _ in range(count):
        violation = np.maximum(draw.integers(-3, 4, n) / 4, draw.choice([0, -1]))
        violation[draw.random(n) < 0.1] = draw.choice([np.nan, np.inf, 1e-30, 3e38])
        yield violation.astype(np.float32)


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_constrained_rank_is_the_definition(objectives):
    for fitness, violation in zip(cases(objectives), violations(100), strict=True):
        np.testing.assert_array_equal(rank(fitness, violation), rank_by_peeling(fitness, violation))
    for fitness, violation in zip(HARD, violations(len(HARD)), strict=True):
        np.testing.assert_array_equal(rank(fitness, violation), rank_by_peeling(fitness, violation))


def test_planted_bug_in_constrained_rank_is_found():
    def swapped(fitness, violation):  # feasible or not decides, then the objectives
        return rank_by_peeling(np.concatenate([fitness, (violation > 0)[:, None]], axis=1))

    pairs = zip(cases(2, special=False), violations(100), strict=True)
    assert (
        sum(
            (swapped(fitness, violation) != rank_by_peeling(fitness, violation)).any()
            for fitness, violation in pairs
        )
        > 50
    )


def test_total_violation_is_in_shares_of_the_limits():
    fitness = np.array(
        [[1, 4, 9], [3, 5, 9], [2, -np.inf, np.inf], [np.inf, 0, 0], [0, 0, np.nan]], np.float32
    )
    assert pareto.total_violation(jnp.asarray(fitness), (2.0, 4.0, None)).tolist()[:4] == [
        0,
        0.75,
        0,
        np.inf,
    ]
    assert np.isnan(pareto.total_violation(jnp.asarray(fitness), (2.0, 4.0, None))[4])
    assert pareto.total_violation(jnp.asarray(fitness[:2]), (0, -4.0, None)).tolist() == [
        1 + 2,
        3 + 9 / 4,
    ]
    for limits in [(1.0, 2.0), (1.0, None, np.inf), (np.nan, None, None)]:
        with pytest.raises(
            UserError,
            match=(
                "limits must be a finite number or None for each of 3 objectives, or none at all, "
                "got"
            ),
        ):
            pareto.total_violation(jnp.asarray(fitness), limits)


def pymoo_rank(fitness):
    return NonDominatedSorting().do(fitness.astype(float), return_rank=True)[1]


# Rows, cases: 250 of each number of objectives, 1,000 in all.
SHAPES = [(1, 5), (9, 120), (40, 125)]


@pytest.mark.parametrize("objectives", [2, 3, 4, 5])
def test_rank_and_crowding_agree_with_pymoo_and_moocore(objectives):
    for n, count in SHAPES:
        batch = np.stack(list(cases(objectives, count, n, special=False)))
        batch[1::4, n // 2 :] = batch[1::4, : n - n // 2]  # duplicates of smooth ones too
        ranks = many_ranks(batch)
        for fitness, ours, distance in zip(
            batch, np.asarray(ranks), np.asarray(many_crowdings(batch, ranks)), strict=True
        ):
            np.testing.assert_array_equal(ours, moocore.pareto_rank(fitness.astype(float)))
            np.testing.assert_array_equal(ours, pymoo_rank(fitness))
            np.testing.assert_allclose(
                distance, crowding_by_pymoo(fitness, ours), rtol=1e-4, atol=1e-6
            )


@pytest.mark.parametrize(
    ("n", "objectives"),
    [(5000, 2), (1 << 15, 2), (1500, 3), pytest.param(1 << 15, 3, marks=pytest.mark.slow)],
)
def test_rank_of_many_rows_agrees_with_moocore(n, objectives):
    fitness = np.random.default_rng(n).normal(size=(n, objectives)).astype(np.float32)
    fitness[: n // 4] = fitness[: n // 4].round(1)
    np.testing.assert_array_equal(rank(fitness), moocore.pareto_rank(fitness.astype(float)))


def test_rank_of_every_front_a_single_point():
    fitness = np.stack([np.arange(300)] * 3, axis=1).astype(np.float32)
    order = np.random.default_rng(0).permutation(300)
    assert rank(fitness[order]).tolist() == order.tolist()
    assert rank(fitness[order, :2]).tolist() == order.tolist()


def test_planted_bug_in_rank_is_found():
    def weak(fitness):  # ties in one objective do not dominate
        strict = (fitness[:, None] < fitness[None]).all(-1)
        return strict.any(0).astype(int)

    assert any(
        (weak(fitness) != pymoo_rank(fitness)).any() for fitness in cases(2, 20, special=False)
    )
    assert any((weak(fitness) != rank_by_peeling(fitness)).any() for fitness in cases(2, 20))
    assert any(
        (weak(fitness) != moocore.pareto_rank(fitness)).any()
        for fitness in cases(2, 20, special=False)
    )


def test_rank_of_one_row_and_vmap():
    assert rank(np.ones((1, 2), np.float32)).tolist() == [0]
    assert rank(np.full((1, 3), np.nan, np.float32)).tolist() == [0]
    for objectives in (2, 3):
        batch = np.stack(list(cases(objectives, 5)))
        np.testing.assert_array_equal(
            jax.jit(jax.vmap(pareto.rank))(batch), [rank(fitness) for fitness in batch]
        )


def crowding_by_pymoo(fitness, ranks, crowding_distance=calc_crowding_distance):
    expected = np.zeros(len(fitness))
    for k in np.unique(ranks):
        rows = np.flatnonzero(ranks == k)
        expected[rows] = crowding_distance(fitness[rows].astype(float)) if len(rows) > 2 else np.inf
    return expected


def test_crowding_of_one_objective_agrees_with_pymoo():
    for fitness in cases(1, special=False):
        ranks = np.asarray(rank(fitness))
        np.testing.assert_allclose(
            crowding(fitness, ranks), crowding_by_pymoo(fitness, ranks), rtol=1e-4, atol=1e-6
        )


def crowding_by_rule(fitness, ranks):
    """The written rule, one row and objective at a time."""
    expected = np.zeros(len(fitness))
    valid = np.flatnonzero(~np.isnan(fitness).any(1))
    for i, objective in itertools.product(valid, range(fitness.shape[1])):
        values = fitness[:, objective].astype(float)
        mine = [j for j in valid if ranks[j] == ranks[i]]
        finite = values[[j for j in mine if np.isfinite(values[j])]]
        order = [mine[k] for k in np.argsort(values[mine], kind="stable")]
        place = order.index(i)
        if len(mine) <= 2:
            expected[i] = np.inf
        elif len(finite) and finite.max() > finite.min():
            clipped = np.clip(values[order], finite.min(), finite.max()) / np.ptp(finite)
            gap = (
                np.inf if place in (0, len(order) - 1) else clipped[place + 1] - clipped[place - 1]
            )
            expected[i] += gap / fitness.shape[1]
    return expected


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_crowding_follows_the_rule_beside_nan_and_infinities(objectives):
    for fitness in [*cases(objectives), *(HARD if objectives == 2 else [])]:
        # A whole population as one rank: constant objectives.
        for ranks in (np.asarray(rank(fitness)), np.zeros(N, np.int32)):
            np.testing.assert_allclose(
                crowding(fitness, ranks), crowding_by_rule(fitness, ranks), rtol=1e-4, atol=1e-6
            )


def test_planted_bug_in_crowding_is_found():
    def unscaled(fitness):  # the gaps keep their units
        return calc_crowding_distance(fitness) * np.ptp(fitness, axis=0).max()

    wrong = 0
    for fitness in cases(2, special=False):
        ranks = np.asarray(rank(fitness))
        wrong += not np.allclose(
            crowding_by_pymoo(fitness, ranks, unscaled),
            crowding_by_pymoo(fitness, ranks),
            rtol=1e-4,
        )
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
        # Inf as if 2.
        (
            [[0, 4], [1, 2], [np.inf, 1], [2, 1.5]],
            [np.inf, 0.5 * (1 + 2.5 / 3), np.inf, 0.5 * (0.5 + 1 / 3)],
        ),
        ([[1, 1], [1, 1], [1, 1], [1, 1]], [0, 0, 0, 0]),  # duplicates
        ([[0, 2], [1, 1], [1, 1], [2, 0]], [np.inf, 0.5, 0.5, np.inf]),
        # A constant objective, all of one rank.
        ([[0, 1], [3, 1], [4, 1], [1, 1]], [np.inf, 0.375, np.inf, 0.375]),
        # Fronts of two and of one.
        ([[0, 1], [1, 0], [3, 3], [np.nan, 0]], [np.inf, np.inf, np.inf, 0]),
        ([[3e38, -3e38], [0, 0], [0, 0], [-3e38, 3e38]], [np.inf, 0.5, 0.5, np.inf]),
    ],
)
def test_crowding_as_documented(fitness, expected):
    fitness = np.array(fitness, np.float32)
    ranks = np.zeros(4, np.int32) if (fitness[:, 1] == 1).all() else rank(fitness)
    np.testing.assert_allclose(crowding(fitness, ranks), expected, rtol=1e-6)


def test_values_are_compared_in_the_type_that_they_come_in():
    for one, dtype in ((2**24, np.int32), (2**40, np.int64), (2.0**40, np.float64)):
        fitness = np.array([[one + 1, 2], [one, 2], [one + 2, 1]], dtype)
        assert pareto.rank(fitness).tolist() == [1, 0, 0]
        assert pareto.front(fitness).tolist() == [False, True, True]


def test_crowding_of_whole_numbers_is_that_of_floats():
    fitness = jnp.array([[0, 9], [1, 5], [3, 4], [9, 0]])
    np.testing.assert_array_equal(
        crowding(fitness, jnp.zeros(4, jnp.int32)), crowding(fitness * 1.0, jnp.zeros(4, jnp.int32))
    )


def test_of_no_points_there_is_nothing():
    none = jnp.zeros((0, 2))
    assert (
        pareto.rank(none).shape
        == pareto.front(none).shape
        == pareto.crowding(none, pareto.rank(none)).shape
        == (0,)
    )
    assert pareto.knee(none) == -1


def test_front_is_rank_0_without_failed_rows():
    for fitness in [*HARD, *cases(2)]:
        np.testing.assert_array_equal(
            front(fitness), (rank_by_peeling(fitness) == 0) & ~np.isnan(fitness).any(1)
        )


def test_knee_is_farthest_from_the_line_through_the_extremes():
    draw = np.random.default_rng(3)
    for _ in range(50):
        x = np.sort(draw.random(N))
        fitness = np.stack([7 + 30 * x, -5 + 0.01 * (1 - np.sqrt(x))], axis=1).astype(np.float32)
        scaled = (fitness - fitness.min(0)) / np.ptp(fitness, axis=0)
        start = scaled[0]
        along = scaled[-1] - scaled[0]
        distance = np.abs(
            along[0] * (scaled[:, 1] - start[1]) - along[1] * (scaled[:, 0] - start[0])
        ) / np.linalg.norm(along)
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
    ranks = jnp.array([1, 0, 0, 1, 0])
    distance = jnp.array([5.0, 1.0, jnp.inf, 5.0, 1.0])
    assert pareto.survivors(ranks, distance, 4).tolist() == [2, 1, 4, 0]


def test_survivors_of_many_agree_with_numpy():
    draw = np.random.default_rng(4)
    ranks = draw.integers(0, 5, 200).astype(np.int32)
    distance = draw.choice([0, 0.5, 1e-30, 2, np.inf], 200).astype(np.float32)
    assert (
        pareto.survivors(jnp.asarray(ranks), jnp.asarray(distance), 50).tolist()
        == np.lexsort((-distance, ranks))[:50].tolist()
    )


def test_a_sort_of_more_bits_than_a_word_has():
    draw = np.random.default_rng(5)
    keys = draw.choice(np.array([0, 1, 2**31, 2**32 - 1], np.uint32), (4, 500))
    keys[1] %= 7
    for bits in [(32, 3, 32, 32), (32, 3), (32, 3, 32)]:
        packed = [(jnp.asarray(key), width) for key, width in zip(keys, bits, strict=False)]
        assert pareto.lexsort(*packed).tolist() == np.lexsort(keys[: len(bits)][::-1]).tolist()


def test_within_a_scan_of_a_vmap():
    batch = np.stack(list(cases(2, 6)))

    def search(fitness):
        return jax.lax.scan(lambda carry, _: (carry, pareto.rank(carry)), fitness, length=2)[1]

    for compiled in (jax.jit(jax.vmap(search)), jax.vmap(jax.jit(search))):
        np.testing.assert_array_equal(compiled(batch)[:, 1], many_ranks(batch))


def test_everything_vmaps():
    batch = np.stack(list(cases(2, 6)))
    ranks = jax.jit(jax.vmap(pareto.rank))(batch)
    for many, one in [
        (jax.jit(jax.vmap(pareto.crowding))(batch, ranks), lambda f: crowding(f, rank(f))),
        (jax.jit(jax.vmap(pareto.knee))(batch), knee),
        (jax.jit(jax.vmap(pareto.front))(batch), front),
    ]:
        np.testing.assert_allclose(many, [one(fitness) for fitness in batch], rtol=1e-6)
