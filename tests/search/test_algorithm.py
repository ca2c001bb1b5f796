"""The contract of every search algorithm, through the loop that drives it."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.search import pareto
from jaxnas.search.loop import Archive, search
from jaxnas.search.nsga2 import NSGA2
from jaxnas.search.random_search import RandomSearch

ALGORITHMS = [RandomSearch(9), NSGA2(9)]
GENERATIONS = 5


@dataclass(frozen=True, eq=False)
class Traced:
    """Counts how often each function of an algorithm is traced."""

    algorithm: RandomSearch | NSGA2
    traces: list = field(default_factory=list)

    @property
    def population(self):
        return self.algorithm.population

    def init(self, key, space):
        self.traces.append("init")
        return self.algorithm.init(key, space)

    def ask(self, key, space, state):
        self.traces.append("ask")
        return self.algorithm.ask(key, space, state)

    def tell(self, state, asked, fitness):
        self.traces.append("tell")
        return self.algorithm.tell(state, asked, fitness)


@pytest.fixture(params=ALGORITHMS, ids=lambda algorithm: type(algorithm).__name__)
def algorithm(request):
    return request.param


def assert_identical(one, other):
    for a, b in zip(one, other, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def first_generations(archive, count):
    return Archive(*(array[archive.generation < count] for array in archive))


def test_candidates_are_of_the_space_and_descend_from_earlier_ones(algorithm, space, evaluate):
    archive = search(algorithm, space, jax.random.key(0), evaluate, GENERATIONS)
    n = 9 * GENERATIONS
    assert [array.shape for array in archive] == [(n, 31), (n, 2), (n,), (n, 2)]
    assert [array.dtype for array in archive] == [np.int32, np.float32, np.int32, np.int32]
    assert ((archive.genomes >= 0) & (archive.genomes < space.sizes)).all()
    np.testing.assert_array_equal(archive.generation, np.repeat(np.arange(GENERATIONS), 9))
    np.testing.assert_array_equal(archive.fitness, evaluate(archive.genomes))
    assert (archive.parents >= -1).all()
    assert (archive.parents < 9 * archive.generation[:, None]).all()
    assert (archive.parents[:9] == -1).all()


def test_one_trace_over_generations_and_seeds(algorithm, space, evaluate):
    traced = Traced(algorithm)
    archive = search(traced, space, jax.random.key(0), evaluate, GENERATIONS)
    search(traced, space, jax.random.key(1), evaluate, GENERATIONS, first_generations(archive, 0))
    search(traced, space, jax.random.key(0), evaluate, GENERATIONS, first_generations(archive, 3))
    assert sorted(traced.traces) == ["ask", "init", "tell"]


def test_the_key_decides_everything(algorithm, space, evaluate):
    one, same, other = (search(algorithm, space, jax.random.key(seed), evaluate, 3) for seed in (0, 0, 1))
    assert_identical(one, same)
    assert (one.genomes != other.genomes).any()
    assert (one.genomes[:9] != one.genomes[9:18]).any()


@pytest.mark.parametrize("done", range(1, GENERATIONS + 1))
def test_resuming_is_bit_identical(algorithm, space, evaluate, done):
    def flaky(genomes):
        fitness = evaluate(genomes)
        fitness[genomes.sum(axis=1) % 4 == 0, 0] = np.nan
        return fitness

    calls = []

    def counted(genomes):
        calls.append(1)
        return flaky(genomes)

    whole = search(algorithm, space, jax.random.key(2), flaky, GENERATIONS)
    assert np.isnan(whole.fitness).any()
    resumed = search(algorithm, space, jax.random.key(2), counted, GENERATIONS, first_generations(whole, done))
    assert_identical(resumed, whole)
    assert len(calls) == GENERATIONS - done


def test_seeds_are_a_vmap(algorithm, space, evaluate):
    def fitness(genomes):
        return jnp.stack([genomes.sum(axis=1), -genomes.max(axis=1)], axis=1).astype(jnp.float32)

    def run(key):
        def generation(state, step):
            asked = algorithm.ask(jax.random.fold_in(ask_key, step), space, state)
            return algorithm.tell(state, asked, fitness(asked.genomes)), asked.genomes

        init_key, ask_key = jax.random.split(key)
        return jax.lax.scan(generation, algorithm.init(init_key, space), jnp.arange(GENERATIONS))[1]

    many = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0)))
    for genomes, key in zip(many, jax.random.split(jax.random.key(0)), strict=True):
        archive = search(algorithm, space, key, lambda genomes: np.asarray(fitness(genomes)), GENERATIONS)
        np.testing.assert_array_equal(genomes.reshape(-1, 31), archive.genomes)


@pytest.mark.parametrize("kind", [NSGA2, RandomSearch])
def test_a_population_of_one_is_refused(kind):
    with pytest.raises(UserError, match="population must be at least 2, got 1"):
        kind(population=1)


def test_nsga2_beats_random_search(space, evaluate):
    reference = jnp.array([90.0, 100.0])
    hypervolume = jax.jit(pareto.hypervolume)
    for seed in range(5):
        archives = [search(kind(28), space, jax.random.key(seed), evaluate, 20) for kind in (NSGA2, RandomSearch)]
        nsga2, random = (float(hypervolume(jnp.asarray(archive.fitness), reference)) for archive in archives)
        assert nsga2 > 1.05 * random > 0
