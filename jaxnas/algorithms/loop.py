"""The search loop: ask, evaluate, tell.

Everything evaluated is kept, and a search resumes from what was kept.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float32, Int32

from jaxnas.algorithms.algorithm import Algorithm, AnySpace, Asked, State, figures_of
from jaxnas.errors import UserError
from jaxnas.types import Fitness, PRNGKey

MAY_FAIL = 10  # generations that may fail as a whole before anything has succeeded


class Archive(NamedTuple):
    """Every candidate evaluated, in order: `population` rows a generation."""

    genomes: Int32[np.ndarray, "n genes"]
    fitness: Float32[np.ndarray, "n objectives"]  # minimised; NaN = failed
    generation: Int32[np.ndarray, "n"]  # 0 is the initial population
    parents: Int32[np.ndarray, "n 2"]  # rows of this archive; -1 = none
    # What the algorithm says of itself after each generation, by name (`figures_of`).
    figures: Mapping[str, np.ndarray] = {}
    stopped: str | None = None  # why the search ended before its last generation, if it did


ROWS = ("genomes", "fitness", "generation", "parents")  # of an archive: a row a candidate
Report = Callable[[int, Archive], str | None]


def _ignore(generation: int, archive: Archive) -> None:
    pass


def search(
    algorithm: Algorithm,
    space: AnySpace,
    key: PRNGKey,
    evaluate: Callable[[np.ndarray], np.ndarray],
    generations: int,
    recorded: Archive | None = None,
    on_generation: Report = _ignore,
) -> Archive:
    """Run `generations` generations and return everything evaluated.

    The initial population is the first.

    `evaluate` maps genomes, int32 (population, genes), to fitness (population, objectives), kept as
    float32. `on_generation` gets the number and the archive after each generation evaluated, to
    save it. A text that it returns stops the search, and says why in the archive's `stopped`. Given
    back as `recorded`, the archive is replayed, not evaluated again, and the outcome is
    bit-identical to that of a search never interrupted; a stopped one does not go on.

    Raises:
        UserError: `recorded` is not the start of this search, or every candidate of the first
            `MAY_FAIL` generations, or of all, failed.
    """
    if generations < 1:
        raise UserError(
            f"generations must be at least 1, got {generations}; the initial population counts as "
            "one"
        )
    done = _recorded_generations(recorded, algorithm.population, len(space.genes), generations)
    archive = recorded if done else None
    if archive is not None and archive.stopped is not None:
        generations = done
    init_key, ask_key = jax.random.split(key)
    state = _init(algorithm, init_key, space)
    figures: list[dict[str, Any]] = []
    for generation in range(generations):
        asked = _ask(algorithm, jax.random.fold_in(ask_key, generation), space, state)
        if archive is not None and generation < done:
            fitness = _replay(archive, generation, asked)
        else:
            fitness = _evaluate(evaluate, asked)
        state = _tell(algorithm, space, state, asked, fitness)
        figures.append(jax.device_get(_figures(algorithm, state)))
        if generation < done:
            continue
        archive = _append(archive, generation, asked, fitness)._replace(figures=_stacked(figures))
        if generation + 1 == min(MAY_FAIL, generations):
            _check_succeeds(archive)
        reason = on_generation(generation, archive)
        if reason and generation + 1 < generations:
            return archive._replace(stopped=reason)
    assert archive is not None  # there is at least one generation
    return archive._replace(figures=_stacked(figures))


@partial(jax.jit, static_argnames=("algorithm", "space"))
def _init(algorithm: Algorithm, key: PRNGKey, space: AnySpace) -> State:
    return algorithm.init(key, space)


@partial(jax.jit, static_argnames=("algorithm", "space"))
def _ask(algorithm: Algorithm, key: PRNGKey, space: AnySpace, state: State) -> Asked:
    return algorithm.ask(key, space, state)


@partial(jax.jit, static_argnames=("algorithm", "space"))
def _tell(
    algorithm: Algorithm, space: AnySpace, state: State, asked: Asked, fitness: Fitness
) -> State:
    return algorithm.tell(space, state, asked, fitness)


@partial(jax.jit, static_argnames=("algorithm",))
def _figures(algorithm: Algorithm, state: State) -> dict[str, Array]:
    return figures_of(algorithm, state)


def _stacked(figures: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """A row a generation."""
    return {name: np.stack([each[name] for each in figures]) for name in figures[0]}


def _recorded_generations(
    recorded: Archive | None, population: int, genes: int, generations: int
) -> int:
    """How many generations are recorded; checks that they are whole and not more than asked for."""
    if recorded is None:
        return 0
    n = len(recorded.genomes)
    done = n // population
    shapes = [np.shape(getattr(recorded, name)) for name in ROWS]
    expected = [(n, genes), (n, *shapes[1][-1:]), (done * population,), (n, 2)]
    if shapes != expected or not np.array_equal(
        recorded.generation, np.repeat(np.arange(done), population)
    ):
        raise UserError(
            f"expected recorded candidates of {genes} genes in whole generations of {population}, "
            f"got arrays of shapes {shapes}; they were recorded with other settings or are "
            "corrupt: use the same settings or start anew"
        )
    if done > generations:
        raise UserError(
            f"{done} generations are recorded, but {generations} were asked for; ask for {done} or "
            "more, or start anew"
        )
    return done


def _replay(recorded: Archive, generation: int, asked: Asked) -> np.ndarray:
    """The recorded fitness of the candidates asked for, if they are the recorded ones."""
    rows = recorded.generation == generation
    if not (
        np.array_equal(asked.genomes, recorded.genomes[rows])
        and np.array_equal(asked.parents, recorded.parents[rows])
    ):
        raise UserError(
            f"expected this search's candidates, but those of generation {generation} were "
            "recorded with other settings or are corrupt; use the same settings and seed, or start "
            "anew"
        )
    return np.asarray(recorded.fitness[rows], np.float32)


def _evaluate(evaluate: Callable[[np.ndarray], np.ndarray], asked: Asked) -> np.ndarray:
    genomes = np.asarray(asked.genomes)
    fitness = np.array(evaluate(genomes), np.float32)
    if fitness.ndim != 2 or len(fitness) != len(genomes):
        raise ValueError(
            f"evaluate must return shape ({len(genomes)}, objectives), got {fitness.shape}"
        )
    return fitness


def _check_succeeds(archive: Archive) -> None:
    """Refuses to go on where nothing has ever succeeded.

    Algorithms cope with single generations that fail.
    """
    if np.isnan(archive.fitness).any(axis=1).all():
        raise UserError(
            f"expected some candidates of the first {archive.generation[-1] + 1} generations to "
            f"evaluate, but all {len(archive.fitness)} have NaN fitness; mend the objectives and "
            "start anew"
        )


def _append(archive: Archive | None, generation: int, asked: Asked, fitness: np.ndarray) -> Archive:
    new = Archive(
        np.array(asked.genomes),
        fitness,
        np.full(len(fitness), generation, np.int32),
        np.array(asked.parents),
    )
    if archive is None:
        return new
    both = {name: np.concatenate([getattr(archive, name), getattr(new, name)]) for name in ROWS}
    return new._replace(**both)
