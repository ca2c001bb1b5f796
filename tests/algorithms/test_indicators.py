import jax
import jax.numpy as jnp
import moocore
import numpy as np
import pytest
from pymoo.indicators.hv import HV
from pymoo.indicators.igd_plus import IGDPlus

from jaxnas.algorithms.indicators import attainment, hypervolume, igd_plus
from jaxnas.errors import UserError

rng = np.random.default_rng
volume = jax.jit(hypervolume)
many_volumes = jax.jit(jax.vmap(hypervolume, (0, None)))


def batches(objectives, n, count=30):
    """Random fitness of one shape: smooth, a front, and with ties and duplicates.

    Some of it beyond the reference of ones.
    """
    draw = rng(objectives)
    smooth = draw.normal(0.4, 0.4, (count, n, objectives))
    front = np.abs(draw.normal(size=(count, n, objectives)))
    front /= np.linalg.norm(front, axis=2, keepdims=True)
    return np.concatenate([smooth, front, smooth.round(1)]).astype(np.float32)


@pytest.mark.parametrize(("objectives", "n"), [(2, 1), (3, 1), (4, 1), (2, 60), (3, 60), (4, 25)])
def test_hypervolume_agrees_with_pymoo_and_moocore(objectives, n):
    reference = np.linspace(1, 1.5, objectives, dtype=np.float32)
    batch = batches(objectives, n)
    for fitness, ours in zip(batch, many_volumes(batch, reference), strict=True):
        peer = moocore.hypervolume(fitness.astype(float), ref=reference.astype(float))
        assert ours == pytest.approx(peer, rel=1e-5)
        assert ours == pytest.approx(
            HV(ref_point=reference.astype(float))(fitness.astype(float)), rel=1e-5
        )


@pytest.mark.parametrize(("objectives", "n"), [(2, 20000), (3, 2000), (4, 200)])
def test_hypervolume_of_large_fronts_is_exact(objectives, n):
    """Far from the origin, in very different units."""
    fitness = np.abs(rng(n).normal(size=(n, objectives)))
    fitness = (
        fitness / np.linalg.norm(fitness, axis=1, keepdims=True) * [1e-6, 300, 2, 1e5][:objectives]
        + [0, 0, 40, 0][:objectives]
    )
    fitness = fitness.astype(np.float32)
    reference = np.array([1.1e-6, 330, 42.5, 2e5][:objectives], np.float32)
    assert volume(fitness, reference) == pytest.approx(
        moocore.hypervolume(fitness.astype(float), ref=reference.astype(float)), rel=1e-5
    )


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_hypervolume_of_doubles(objectives):
    fitness = batches(objectives, 25, 1)[1].astype(float) ** 0.9
    reference = np.linspace(1, 1.5, objectives)
    with jax.enable_x64(True):
        ours = volume(fitness, reference)
        assert ours.dtype == np.float64
        assert float(ours) == pytest.approx(moocore.hypervolume(fitness, ref=reference), rel=1e-10)


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_planted_bug_in_hypervolume_is_found(objectives):
    """A sweep that leaves out one point, as an error by one in the slots does."""
    reference = np.ones(objectives, np.float32)
    batch = batches(objectives, 12)
    wrong = zip(many_volumes(batch[:, 1:], reference), batch, strict=True)
    assert (
        sum(
            ours != pytest.approx(moocore.hypervolume(fitness, ref=reference), rel=1e-5)
            for ours, fitness in wrong
        )
        > 20
    )


def test_hypervolume_ignores_points_beyond_the_reference_and_failed_ones():
    reference = np.array([3, 3], np.float32)
    fitness = np.array(
        [[1, 2], [2, 1], [3, 0], [0, 3], [5, -5], [np.nan, 0], [0, np.nan], [np.inf, 0]], np.float32
    )
    assert volume(fitness, reference) == 3
    assert volume(fitness[2:], reference) == 0
    for extra in (1.0, 2.0):
        wider = np.concatenate([fitness, np.full((8, 1), extra, np.float32)], axis=1)
        assert volume(wider, np.array([3, 3, 3], np.float32)) == 3 * (3 - extra)
        assert (
            volume(wider[:, [2, 0, 1, 2]], np.array([3, 3, 3, 3], np.float32))
            == 3 * (3 - extra) ** 2
        )


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_hypervolume_is_never_nan(objectives):
    reference = np.ones(objectives, np.float32)
    assert volume(np.full((3, objectives), np.nan, np.float32), reference) == 0
    assert volume(np.full((3, objectives), np.inf, np.float32), reference) == 0
    assert (
        volume(np.full((3, objectives), 3e38, np.float32), np.full(objectives, 3.2e38, np.float32))
        == np.inf
    )
    infinite = np.zeros((3, objectives), np.float32)
    infinite[1, 0] = -np.inf
    assert volume(infinite, reference) == np.inf
    infinite[1, 1] = 2  # beyond the reference
    assert volume(infinite, reference) == 1
    infinite[1] = -3e38
    assert volume(infinite, reference) == np.inf
    for fitness in rng(0).choice(
        np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 0, 0.5, 1e-45], np.float32),
        (50, 3, objectives),
    ):
        assert not np.isnan(volume(fitness, reference))


def test_hypervolume_below_an_infinite_reference_and_of_no_points():
    points = jnp.array([[1.0, 2.0], [2.0, 1.0]])
    assert volume(points, jnp.array([jnp.inf, 3.0])) == jnp.inf
    assert volume(points, jnp.array([jnp.inf, 1.0])) == 0
    assert volume(points[:0], jnp.array([3.0, 3.0])) == 0


def test_hypervolume_of_what_it_cannot_do():
    with pytest.raises(
        UserError, match="hypervolume takes 1 to 4 objectives, got 5; leave out some"
    ):
        hypervolume(jnp.zeros((3, 5)), jnp.ones(5))
    with pytest.raises(UserError, match="at most 4096 points, got 5000; give it the front alone"):
        hypervolume(jnp.zeros((5000, 4)), jnp.ones(4))


@pytest.mark.parametrize("objectives", [1, 2, 5])
def test_igd_plus_agrees_with_pymoo_and_moocore(objectives):
    draw = rng(objectives)
    many = jax.jit(jax.vmap(igd_plus, (0, None)))
    front = draw.random((20, objectives))
    batch = draw.random((20, 30, objectives))
    for fitness, ours in zip(
        batch, many(batch.astype(np.float32), front.astype(np.float32)), strict=True
    ):
        assert ours == pytest.approx(moocore.igd_plus(fitness, ref=front), rel=1e-4, abs=1e-6)
        assert ours == pytest.approx(IGDPlus(front)(fitness), rel=1e-4, abs=1e-6)
        if objectives > 1:
            # A planted bug: IGD.
            assert ours != pytest.approx(moocore.igd(fitness, ref=front), rel=1e-2)


def test_igd_plus_of_failed_rows():
    front = jnp.array([[0.0, 1.0], [1.0, 0.0]])
    assert (
        igd_plus(jnp.array([[jnp.nan, 0], [0, 1], [1, jnp.nan], [jnp.inf, -jnp.inf]]), front) == 0.5
    )
    assert igd_plus(jnp.array([[jnp.nan, 0]]), front) == jnp.inf


def attained_by_counting(fitness, level, x):
    """The least y such that at least `level` seeds have a point no worse than (x, y): tried out."""
    for y in np.unique(fitness[~np.isnan(fitness).any(-1)][:, 1]):
        reached = [((seed[:, 0] <= x) & (seed[:, 1] <= y)).any() for seed in fitness]
        if sum(reached) >= level:
            return y
    return np.inf


def test_attainment_is_the_definition():
    draw = rng(0)
    levels = (1, 3, 5)
    attain = jax.jit(attainment, static_argnums=1)
    wrong = 0
    for i in range(20):
        fitness = (draw.integers(0, 6, (5, 4, 2)) if i % 2 else draw.normal(size=(5, 4, 2))).astype(
            np.float32
        )
        fitness[draw.random((5, 4)) < 0.2, i % 2] = np.nan
        xs, ys = map(np.asarray, attain(fitness, levels))
        assert (np.diff(xs[np.isfinite(xs)]) >= 0).all()
        assert set(xs[np.isfinite(xs)]) == set(fitness[~np.isnan(fitness).any(-1)][:, 0])
        for level, surface in zip(levels, ys, strict=True):
            np.testing.assert_array_equal(
                surface, [attained_by_counting(fitness, level, x) for x in xs]
            )
            wrong += (surface != [attained_by_counting(fitness, 4, x) for x in xs]).any()
    assert wrong > 20  # a planted bug: another level


def test_attainment_agrees_with_moocore():
    fitness = rng(1).random((7, 30, 2)).astype(np.float32)
    sets = np.repeat(np.arange(7), 30)
    for level in (1, 4, 7):
        corners = moocore.eaf(
            fitness.reshape(-1, 2).astype(float), sets, percentiles=[100 * level / 7]
        )[:, :2]
        xs, ys = map(np.asarray, attainment(jnp.asarray(fitness), [level]))
        at = np.searchsorted(xs, corners[:, 0].astype(np.float32), side="right") - 1
        np.testing.assert_array_equal(ys[0, at], corners[:, 1].astype(np.float32))
        assert len(set(ys[0][np.isfinite(ys[0])])) == len(corners)


def test_attainment_of_levels_that_are_none():
    for level in (0, 3):
        with pytest.raises(
            UserError, match=f"must be between 1 and 2, the number of seeds, got .1, {level}"
        ):
            attainment(jnp.zeros((2, 4, 2)), [1, level])
