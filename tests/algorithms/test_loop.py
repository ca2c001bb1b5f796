from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.algorithms.algorithm import Algorithm
from jaxnas.algorithms.compiled import search_many
from jaxnas.algorithms.loop import Archive, search
from jaxnas.algorithms.nsga2 import NSGA2
from jaxnas.algorithms.random_search import RandomSearch
from jaxnas.algorithms.seeded import Seeded
from jaxnas.algorithms.variation import Discrete
from jaxnas.errors import UserError

ALGORITHM = NSGA2(9)


@pytest.fixture(scope="module")
def archive(space, evaluate):
    return search(ALGORITHM, space, jax.random.key(0), evaluate, 3)


def resume(space, evaluate, recorded, algorithm: Algorithm = ALGORITHM, seed=0, generations=4):
    return search(algorithm, space, jax.random.key(seed), evaluate, generations, recorded)


def test_every_evaluated_generation_is_handed_over(space, evaluate, archive):
    seen = []
    recorded = Archive(*(array[:9] for array in archive[:4]))
    search(
        ALGORITHM,
        space,
        jax.random.key(0),
        evaluate,
        3,
        recorded,
        lambda generation, so_far: seen.append((generation, so_far)),
    )
    assert [generation for generation, _ in seen] == [1, 2]
    assert [len(so_far.genomes) for _, so_far in seen] == [18, 27]
    for whole, part in zip(archive[:4], seen[0][1][:4], strict=True):
        np.testing.assert_array_equal(whole[:18], part)


@pytest.mark.parametrize("recorded", [0, 1, 2])
def test_a_report_may_stop_a_search_which_then_stays_so(space, evaluate, archive, recorded):
    def enough(generation, so_far):
        assert len(so_far.fitness) == 9 * (generation + 1)
        return "enough" if generation == 1 else None

    before = Archive(*(array[: 9 * recorded] for array in archive[:4]))
    if recorded == 2:
        before = before._replace(stopped="enough")
    found = search(ALGORITHM, space, jax.random.key(0), evaluate, 3, before, enough)
    assert found.stopped == "enough"
    for whole, part in zip(archive[:4], found[:4], strict=True):
        np.testing.assert_array_equal(whole[:18], part)


def test_a_search_cannot_stop_after_its_last_generation(space, evaluate):
    found = search(
        ALGORITHM, space, jax.random.key(0), evaluate, 2, on_generation=lambda i, _: "now" * i
    )
    assert found.stopped is None


@dataclass(frozen=True)
class Talkative(RandomSearch):
    """Says how many candidates it was told of, and expects them to be half of that."""

    def figures(self, state):
        return {"told": 1.0 * state, "predicted": jnp.full((self.population, 2), state / 2)}


def test_figures_are_of_every_generation_replayed_or_not(space, evaluate):
    algorithm = Seeded(Talkative(4), (tuple(31 * [0]),))
    seen = []
    whole = search(
        algorithm,
        space,
        jax.random.key(0),
        evaluate,
        3,
        on_generation=lambda _, archive: seen.append(archive.figures["told"].tolist()),
    )
    assert seen == [[4], [4, 8], [4, 8, 12]] and whole.figures["predicted"].shape == (3, 4, 2)
    again = search(algorithm, space, jax.random.key(0), evaluate, 3, Archive(*whole[:4]))
    many = search_many(
        algorithm,
        space,
        jax.random.key(0)[None],
        lambda genomes, _: jnp.stack([genomes.sum(1), genomes.max(1)], axis=1),
        3,
    )
    for name in ("told", "predicted"):
        np.testing.assert_array_equal(again.figures[name], whole.figures[name])
        np.testing.assert_array_equal(many.figures[name][0], whole.figures[name])
    assert search(ALGORITHM, space, jax.random.key(0), evaluate, 1).figures == {}


def test_an_empty_archive_is_a_start(space, evaluate, archive):
    recorded = Archive(*(array[:0] for array in archive[:4]))
    np.testing.assert_array_equal(
        resume(space, evaluate, recorded, generations=3).genomes, archive.genomes
    )


def test_recorded_with_other_settings(space, evaluate, archive):
    for algorithm, seed in (
        (ALGORITHM, 1),
        (NSGA2(9, Discrete(mutation=1.0)), 0),
        (RandomSearch(9), 0),
    ):
        with pytest.raises(UserError, match="were recorded with other settings or are corrupt"):
            resume(space, evaluate, archive, algorithm, seed)


def test_a_changed_genome_fitness_or_parent_is_found(space, evaluate, archive):
    for name, row, value in (("genomes", 26, 1), ("fitness", 0, -99), ("parents", 26, 1)):
        array = getattr(archive, name).copy()
        array[row] = np.where(array[row] == value, 0, value)
        with pytest.raises(
            UserError,
            match=r"those of generation [12] were recorded with other settings or are corrupt",
        ):
            resume(space, evaluate, archive._replace(**{name: array}))


def test_partial_generations_and_wrong_shapes(space, evaluate, archive):
    broken = [
        Archive(*(array[:12] for array in archive[:4])),
        archive._replace(genomes=archive.genomes[:, :5]),
        archive._replace(fitness=archive.fitness[:, 0]),
        archive._replace(fitness=archive.fitness[:5]),
        archive._replace(generation=archive.generation[::-1]),
        archive._replace(parents=archive.parents[:, :1]),
    ]
    for recorded in broken:
        with pytest.raises(
            UserError, match=r"whole generations of 9.*recorded with other settings or are corrupt"
        ):
            resume(space, evaluate, recorded)
    with pytest.raises(UserError, match="whole generations of 7"):
        resume(space, evaluate, archive, NSGA2(7))


def test_fewer_generations_than_recorded_or_than_one(space, evaluate, archive):
    with pytest.raises(UserError, match="3 generations are recorded, but 2 were asked for"):
        resume(space, evaluate, archive, generations=2)
    with pytest.raises(UserError, match="generations must be at least 1, got 0"):
        resume(space, evaluate, None, generations=0)


def test_a_generation_that_fails_whole_is_survived_once_anything_has_succeeded(space, evaluate):
    seen = []

    def failing(genomes):
        fitness = evaluate(genomes)
        return fitness if len(seen) == 9 else np.where([True, False], np.nan, fitness)

    def on_generation(generation, _):
        seen.append(generation)

    archive = search(ALGORITHM, space, jax.random.key(0), failing, 11, on_generation=on_generation)
    assert np.isfinite(archive.fitness).all(axis=1).sum() == 9 and len(archive.fitness) == 99


@pytest.mark.parametrize("generations", [3, 12])
def test_a_search_in_which_nothing_has_ever_succeeded_stops(space, evaluate, generations):
    seen = []
    with pytest.raises(
        UserError,
        match=(
            rf"first {min(generations, 10)} generations .* all {9 * min(generations, 10)} have NaN "
            r"fitness"
        ),
    ):
        search(
            ALGORITHM,
            space,
            jax.random.key(0),
            lambda genomes: np.where([True, False], np.nan, evaluate(genomes)),
            generations,
            on_generation=lambda generation, _: seen.append(generation),
        )
    assert seen == list(range(min(generations, 10) - 1))


def test_evaluate_must_return_a_row_per_candidate(space):
    with pytest.raises(ValueError, match=r"must return shape \(9, objectives\), got \(9,\)"):
        search(ALGORITHM, space, jax.random.key(0), lambda genomes: genomes.sum(axis=1), 1)
