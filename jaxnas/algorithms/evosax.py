"""Any algorithm of evosax that needs only a population size and a solution, on random keys."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxnas.algorithms import pareto
from jaxnas.algorithms.algorithm import AnySpace, Asked, check_fitness, check_limits, check_sizes
from jaxnas.algorithms.scalarization import SCALARS, extremes, nothing_extreme, scalars
from jaxnas.errors import UserError, choose
from jaxnas.plugins import leaves_unread
from jaxnas.spaces.box import Box
from jaxnas.types import Fitness, Genomes, PRNGKey


class State(NamedTuple):
    """What evosax knows, and what it asks for next."""

    strategy: Any  # evosax's state
    keys: Float[Array, "n genes"]  # random keys of the next candidates
    front: Fitness  # the best that was seen, the nadir point's; NaN where there is none
    extremes: Float[Array, "2 objectives"]  # the ideal and the nadir point of everything seen
    key: PRNGKey
    generation: Int[Array, ""]  # generations told so far


@leaves_unread("initial")  # its state goes by the random keys of what it asked for
@dataclass(frozen=True)
class Evosax:
    """An evolution strategy or genetic algorithm of evosax, as it is by default (Lange 2022).

    evosax minimises one function of real numbers. A real x is a random key: its place in the
    standard normal distribution, u from 0 to 1, stands for choice floor(u * choices), in a `Box`
    for the value u of the way from low to high. So a search that starts from the mean 0 with the
    deviation 1, as nearly all of them do, starts uniform over the space, and no x lies outside.

    Several objectives are made one, with the same `weights` for the whole run, and scaled by the
    ideal point of all seen and the nadir point of its front (so the value of a candidate drifts
    while these still change). evosax is told s / (1 + s) of that scalar s, which keeps the order
    and is below 1; a failed candidate is told 1, worse than every other. Under `limits` a candidate
    beyond is told 1 + v / (1 + v) of its excess v, and a failed one 2 (Deb 2000). Candidates have
    no parents and may repeat.
    """

    name: str = "CMA_ES"
    """evosax's name: CMA_ES, xNES, DifferentialEvolution, PSO, ...; a wrong one gets the list."""
    population: int = 28
    """Candidates per generation, at least 2; some algorithms want an even number."""
    objectives: int = 2
    """Columns of the fitness."""
    weights: tuple[float, ...] = ()
    """Of the objectives; nothing: all count alike."""
    scalar: str = "augmented_tchebycheff"
    """tchebycheff, augmented_tchebycheff or weighted_sum."""
    limits: tuple[float | None, ...] = ()
    """The most that each objective may be; None, or nothing at all, sets no limit."""

    def __post_init__(self):
        check_sizes(self.population, self.objectives)
        check_limits(self.limits, self.objectives)
        if self.weights and (
            len(self.weights) != self.objectives
            or min(self.weights) < 0
            or not sum(self.weights) > 0
        ):
            raise UserError(
                f"weights must be one per objective, {self.objectives}, 0 or more and not all 0, "
                f"or none; got {self.weights}"
            )
        choose("evosax algorithm", self.name, known())
        choose("scalar", self.scalar, SCALARS)

    def init(self, key: PRNGKey, space: AnySpace) -> State:
        genes = len(space.genes)
        strategy, params = _strategy(self.name, self.population, genes)

        @_one_at_a_time
        def started(init_key, first_key):
            if _evolves_population(strategy):
                keys = jax.random.normal(first_key, (self.population, genes), jnp.float32)
                return strategy.init(init_key, keys, jnp.zeros(self.population), params), keys
            return strategy.ask(
                first_key, strategy.init(init_key, jnp.zeros(genes), params), params
            )[::-1]

        key, init_key, first_key = jax.random.split(key, 3)
        state, keys = started(init_key, first_key)
        front = jnp.full((self.population, self.objectives), jnp.nan, jnp.float32)
        return State(state, keys, front, nothing_extreme(self.objectives), key, jnp.int32(0))

    def ask(self, key: PRNGKey, space: AnySpace, state: State) -> Asked:
        return Asked(decoded(space, state.keys), jnp.full((self.population, 2), -1, jnp.int32))

    def tell(self, space: AnySpace, state: State, asked: Asked, fitness: Fitness) -> State:
        check_fitness(self, fitness)
        fitness = fitness.astype(jnp.float32)
        best = jnp.concatenate([pareto.within(fitness, self.limits), state.front])
        seen = extremes(state.extremes, best)
        rank = pareto.rank(best)
        front = best[pareto.survivors(rank, pareto.crowding(best, rank), self.population)]
        strategy, params = _strategy(self.name, self.population, len(space.genes))

        @_one_at_a_time
        def advanced(key, old, keys, generation, fitness, seen):
            init_key, tell_key, ask_key = jax.random.split(key, 3)
            told = self._shaped(fitness, seen)
            new, _ = strategy.tell(tell_key, keys, told, old, params)
            if _evolves_population(strategy):
                first = strategy.init(init_key, keys, told, params)
                new = jax.tree.map(partial(jnp.where, generation == 0), first, new)
            return strategy.ask(ask_key, new, params)[::-1]

        key = jax.random.fold_in(state.key, state.generation)
        new, keys = advanced(key, state.strategy, state.keys, state.generation, fitness, seen)
        return State(new, keys, front, seen, state.key, state.generation + 1)

    def _shaped(self, fitness: Fitness, extremes: Float[Array, "2 m"]) -> Float[Array, "n"]:
        weights = jnp.asarray(self.weights or (1.0,) * self.objectives, jnp.float32)
        value = scalars(self.scalar, fitness, extremes, weights / weights.sum())
        below = jnp.finfo(jnp.float32).epsneg
        told = jnp.where(jnp.isinf(value), 1.0, jnp.minimum(value / (1 + value), 1 - below))
        if not self.limits:
            return told
        excess = pareto.total_violation(fitness, self.limits)
        return jnp.where(
            jnp.isnan(excess),
            2.0,
            jnp.where(excess > 0, 1 + jnp.minimum(excess / (1 + excess), 1 - 2 * below), told),
        )


def decoded(space: AnySpace, keys: Float[Array, "n genes"]) -> Genomes:
    """The choices, or values of a `Box`, that random keys stand for."""
    share = jax.scipy.special.ndtr(keys)
    if isinstance(space, Box):
        low = jnp.asarray(space.low, jnp.float32)
        high = jnp.asarray(space.high, jnp.float32)
        return low + share * (high - low)
    sizes = jnp.asarray(space.sizes)
    return jnp.minimum(jnp.floor(share * sizes).astype(jnp.int32), sizes - 1)


def known() -> dict[str, type]:
    """The algorithms that need only a population size and a solution."""
    # Takes half a second, which who does not use it is spared.
    from evosax.algorithms import algorithms

    def needs(kind):
        parameters = list(inspect.signature(kind).parameters.values())
        return [parameter.name for parameter in parameters if parameter.default is parameter.empty]

    return {
        name: kind
        for name, kind in algorithms.items()
        if needs(kind) == ["population_size", "solution"]
    }


@cache
def _strategy(name: str, population: int, genes: int) -> tuple[Any, Any]:
    """evosax's algorithm and its settings.

    One object for all, because evosax's programs are compiled for each object.
    """
    with jax.enable_x64(False), jax.ensure_compile_time_eval():
        try:
            strategy = known()[name](population_size=population, solution=jnp.zeros(genes))
        except AssertionError as error:
            raise UserError(
                f"evosax's {name} refuses a population of {population} with {genes} genes: "
                f"{error}; set another one"
            ) from error
        return strategy, strategy.default_params


def _evolves_population(strategy: Any) -> bool:
    from evosax.algorithms.population_based.base import PopulationBasedAlgorithm

    return isinstance(strategy, PopulationBasedAlgorithm)


def _one_at_a_time(function: Callable) -> Callable:
    """Searches that are mapped are taken one after another, as they are alone, bit for bit.

    In a batch, sums and products round differently, of which eigenvectors make another search. Nor
    does the compiler fuse this with what surrounds it. Results lose weak types, so that every state
    has the type of the first, and evosax counts in 32 bits, whatever JAX is set to.
    """

    @jax.custom_batching.sequential_vmap
    def alone(*arguments):
        with jax.enable_x64(False):
            found = jax.lax.optimization_barrier(function(*jax.lax.optimization_barrier(arguments)))
            return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), found)

    return alone
