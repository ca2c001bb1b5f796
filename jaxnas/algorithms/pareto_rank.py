"""Search by rank: networks that learn Pareto ranks as evaluations come in say what comes next."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxnas.algorithms import memory
from jaxnas.algorithms.aims import Aims
from jaxnas.algorithms.algorithm import Algorithm, AnySpace, Asked, check_limits, check_sizes
from jaxnas.algorithms.compiled import in_turn
from jaxnas.algorithms.evolution import RegularizedEvolution
from jaxnas.algorithms.memory import Memory
from jaxnas.algorithms.nsga2 import NSGA2
from jaxnas.algorithms.proposal import visited
from jaxnas.algorithms.random_search import RandomSearch
from jaxnas.algorithms.rank_networks import RankNetworks
from jaxnas.algorithms.variation import Discrete, Variation, repeated
from jaxnas.errors import UserError, choose
from jaxnas.predictors.encoders import Weights
from jaxnas.types import Fitness, Genomes, PRNGKey

LEARNS = ("rank", "objectives")
TOURNAMENT = 10  # members that compete to be a parent, of the inner evolution
# Of columns that are minimised: objectives, then a score or a violation.
INNER: dict[str, Callable[[int, Variation, int], Algorithm]] = {
    "nsga2": NSGA2,
    "evolution": lambda population, variation, columns: RegularizedEvolution(
        population, variation, columns, members=population, sample=TOURNAMENT
    ),
    "random": lambda population, variation, columns: RandomSearch(population),
}


class State(NamedTuple):
    """What was observed, and what was learnt from it."""

    memory: Memory
    weights: Weights  # of each network
    figures: dict[str, Array]  # of the candidates last told


@dataclass(frozen=True)
class ParetoRankSearch:
    """Learns the Pareto rank of what was evaluated and evaluates what promises the best rank.

    The first candidates are a Latin hypercube. `members` networks then learn the objectives, and
    after that, generation by generation and each from where it was, objectives and rank together
    (`predictors.pareto_rank`). An inner search on them, elitist as HW-PR-NAS's (`inner`: nsga2), by
    regularised evolution, or at random, begins with the best candidates known and minimises what is
    predicted of the objectives and the score of the rank. Of what it visits the next batch is
    chosen in turn: one candidate by a network's score, one from the front that all networks
    together predict, one by the next network's score. Where networks do not agree, evaluations say
    who is right. Benmeziane et al., ACM TACO 2023.

    The rank is that of constrained dominance: candidates within all limits and constraints come
    before those beyond. Failed candidates teach nothing and are not asked for again. A batch has
    no parents.
    """

    population: int = 20
    """Candidates per generation, a batch; at least 2."""
    initial: int = 40
    """Candidates of the Latin hypercube, in whole generations."""
    inner: str = "nsga2"
    """nsga2, evolution or random: what searches on the networks."""
    learns: str = "rank"
    """rank; or objectives alone, and the batch comes from the front that they predict."""
    members: int = 5
    """Networks, which differ by their initial weights and batches."""
    steps: int = 200
    """Of the first fit, of the objectives alone."""
    refit_steps: int = 100
    """Of each fit after it, with the rank."""
    memory: int = 256
    """Candidates that the networks learn from, the best."""
    inner_population: int = 100
    inner_generations: int = 25
    variation: Variation = field(default_factory=Discrete)
    """Crossover and mutation of the inner search: `Discrete` of choices, `Real` of a `Box`."""
    objectives: int = 2
    """Columns of the fitness, before those of `constraints`."""
    limits: tuple[float | None, ...] = ()
    """The most that each objective may be; None, or nothing at all, sets no limit."""
    constraints: int = 0
    """Columns after the objectives, feasible where they are at most 0."""

    def __post_init__(self):
        check_sizes(self.population, self.objectives)
        check_limits(self.limits, self.objectives)
        choose("inner search", self.inner, INNER)
        choose("target", self.learns, dict.fromkeys(LEARNS))
        least = {"initial": 1, "members": 1, "steps": 1, "refit_steps": 1, "constraints": 0}
        least |= {"inner_population": 4, "inner_generations": 1, "memory": self.population}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise UserError(
                    f"{name} must be at least {bound}, got {getattr(self, name)}; set a larger one"
                )
        visits = self.inner_population * self.inner_generations
        if visits < self.population:
            raise UserError(
                f"the inner search visits {visits} candidates, less than a population of "
                f"{self.population}; set a larger inner_population"
            )

    @property
    def _networks(self) -> RankNetworks:
        aims = Aims(self.objectives, self.limits)
        by_rank = self.learns == "rank"
        return RankNetworks(aims, self.members, self.steps, self.refit_steps, by_rank)

    def init(self, key: PRNGKey, space: AnySpace) -> State:
        columns = self.objectives + self.constraints
        known = memory.empty(key, space, self.memory, columns, self.population, self.initial)
        weights = self._networks.fresh(jax.random.fold_in(key, 1), space, known)
        predicted = jnp.full((self.population, self.objectives), jnp.nan, jnp.float32)
        return State(known, weights, {"predicted": predicted})

    def ask(self, key: PRNGKey, space: AnySpace, state: State) -> Asked:
        genomes = in_turn(partial(self._asked, space))(key, state)
        return Asked(genomes, jnp.full((self.population, 2), -1, jnp.int32))

    def tell(self, space: AnySpace, state: State, asked: Asked, fitness: Fitness) -> State:
        expected = self.population, self.objectives + self.constraints
        if fitness.shape != expected:
            raise UserError(
                f"fitness must have shape {expected}, got {fitness.shape}; set objectives and "
                "constraints of ParetoRankSearch to its columns"
            )
        return in_turn(partial(self._told, space))(
            state, asked.genomes, fitness.astype(jnp.float32)
        )

    def figures(self, state: State) -> dict[str, Array]:
        """Of the candidates last told: what was predicted of them. NaN for the initial sample."""
        return state.figures

    def _asked(self, space: AnySpace, key: PRNGKey, state: State) -> Genomes:
        return memory.asked(
            key,
            space,
            self.variation,
            state.memory,
            self.population,
            lambda key: self._proposed(key, space, state),
        )

    def _proposed(self, key: PRNGKey, space: AnySpace, state: State) -> Genomes:
        inner = INNER[self.inner](self.inner_population, self.variation, self.objectives + 1)
        networks = self._networks

        def judge(genomes):
            outputs = networks.outputs(space, state.weights, genomes)
            return networks.minimised(state.memory, outputs.mean(axis=0)), outputs

        genomes, outputs = visited(
            key, inner, space, self.variation, state.memory, self.inner_generations, judge
        )
        outputs = jnp.moveaxis(outputs, 1, 0).reshape(self.members, len(genomes), -1)
        new = ~repeated(space, genomes, state.memory.seen)
        places = networks.places(state.memory, outputs, new)
        return genomes[chosen_in_turn(places, new, self.population)]

    def _told(self, space: AnySpace, state: State, asked: Genomes, fitness: Fitness) -> State:
        rounds = len(state.memory.initial) // self.population
        figures = jax.lax.cond(
            state.memory.generation < rounds,
            lambda: state.figures,
            lambda: {"predicted": self._predicted(space, state, asked)},
        )
        networks = self._networks
        known = memory.updated(state.memory, space, networks.aims, asked, fitness)
        weights = jax.lax.cond(
            known.generation < rounds,
            lambda: state.weights,
            lambda: networks.refitted(
                state.memory.key(0), space, state.weights, known, known.generation == rounds
            ),
        )
        return State(known, weights, figures)

    def _predicted(self, space: AnySpace, state: State, genomes: Genomes) -> Fitness:
        networks = self._networks
        outputs = networks.outputs(space, state.weights, genomes).mean(axis=0)
        return networks.values(state.memory, outputs)[:, : self.objectives]


def chosen_in_turn(
    places: Float[Array, "judges n"], new: Bool[Array, "n"], count: int
) -> Int[Array, "count"]:
    """Rows of those that are new: each judge in turn takes its first, no row twice."""

    def choose(left, i):
        best = jnp.argmin(jnp.where(left, places[i % len(places)], jnp.inf))
        return left.at[best].set(False), best

    return jax.lax.scan(choose, new, jnp.arange(count, dtype=jnp.int32))[1]
