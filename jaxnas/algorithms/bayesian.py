"""Bayesian and predictor-assisted search: models of the objectives say what to evaluate next."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxnas.algorithms import memory, pareto
from jaxnas.algorithms.acquisition import batch, directions, volumes
from jaxnas.algorithms.aims import Aims
from jaxnas.algorithms.algorithm import AnySpace, Asked, check_limits, check_sizes
from jaxnas.algorithms.belief import Belief, believed, fitted, unfitted
from jaxnas.algorithms.compiled import in_turn
from jaxnas.algorithms.memory import Memory
from jaxnas.algorithms.proposal import pool
from jaxnas.algorithms.variation import Discrete, Variation
from jaxnas.errors import UserError, choose
from jaxnas.predictors.surrogates import SURROGATES, Surrogate
from jaxnas.types import Fitness, Genomes, PRNGKey

ACQUISITIONS = ("ehvi", "ucb", "thompson", "linas")
MARGIN = 0.1  # of the reference point, in ranges observed: what lies beyond them counts, too
DIRECTIONS = 64  # along which hypervolume is measured


class State(NamedTuple):
    """What was observed, and what was learnt from it."""

    memory: Memory
    fitted: Any  # surrogates, of each column of the fitness
    worst: Float[Array, "objectives"]  # of all that were feasible
    figures: dict[str, Array]  # of the candidates last told


@dataclass(frozen=True)
class Bayesian:
    """Learns a model of each objective and evaluates what promises most hypervolume.

    The first candidates are a Latin hypercube. Then, each generation: the surrogates learn from the
    best `memory` candidates; NSGA-II searches them for networks that are not evaluated yet, from
    the best known on; and of the best that it visits a batch is chosen, one by one, by
    `acquisition`: `ehvi`, the largest expected hypervolume improvement given those chosen before
    (greedy qEHVI, Daulton, Balandat & Bakshy, NeurIPS 2020), over joint samples of the surrogates;
    `ucb`, over one, which is optimistic; `thompson`, candidate i over sample i alone; or `linas`,
    the best of the inner search on what is expected, by rank and crowding (DyNAS-T, Cummings et al.
    2022).
    Hypervolume is measured from a little beyond the worst value observed of each objective.

    Candidates beyond a limit or a constraint add nothing, in as many samples as say so; as long as
    none can add anything, the least violation leads. Failed candidates teach nothing and are not
    asked for again. A batch has no parents.
    """

    population: int = 20
    """Candidates per generation, a batch; at least 2."""
    initial: int = 40
    """Candidates of the Latin hypercube, in whole generations."""
    predictor: str = "gp"
    """gp (Gaussian processes), ensemble (perceptrons) or trees (boosted, of scikit-learn)."""
    acquisition: str = "ehvi"
    """ehvi, ucb, thompson or linas."""
    memory: int = 256
    """Candidates that the surrogates learn from; the time of a Gaussian process is cubic in it."""
    inner_population: int = 100
    """Of NSGA-II on the surrogates."""
    inner_generations: int = 25
    pool: int = 256
    """Of the candidates that the inner search visits, those that a batch is chosen from."""
    samples: int = 64
    """Of the surrogates, over which `ehvi` is a mean."""
    optimism: float = 1.0
    """Standard deviations by which the inner search takes candidates for better than expected."""
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
        choose("predictor", self.predictor, SURROGATES)
        choose("acquisition", self.acquisition, dict.fromkeys(ACQUISITIONS))
        least = {"initial": 1, "samples": 1, "inner_generations": 1, "constraints": 0}
        for name, bound in (least | {"inner_population": 4, "optimism": 0.0}).items():
            if getattr(self, name) < bound:
                raise UserError(
                    f"{name} must be at least {bound}, got {getattr(self, name)}; set a larger one"
                )
        if self.memory < self.population:
            raise UserError(
                f"memory must be at least {self.population}, the population, got {self.memory}; "
                "set a larger one"
            )
        visited = self.inner_population * self.inner_generations
        if not self.population <= self.pool <= visited:
            raise UserError(
                f"pool must be from {self.population}, the population, to {visited}, what the "
                f"inner search visits, got {self.pool}; set another"
            )

    @property
    def _aims(self) -> Aims:
        return Aims(self.objectives, self.limits)

    @property
    def _surrogate(self) -> Surrogate:
        return choose("predictor", self.predictor, SURROGATES)()

    @property
    def _rounds(self) -> int:
        """Generations of the initial sample."""
        return -(-self.initial // self.population)

    def init(self, key: PRNGKey, space: AnySpace) -> State:
        columns = self.objectives + self.constraints
        nothing = jnp.full((self.population, self.objectives), jnp.nan, jnp.float32)
        return State(
            memory.empty(key, space, self.memory, columns, self.population, self.initial),
            unfitted(self._surrogate, space, columns),
            jnp.full(self.objectives, -jnp.inf, jnp.float32),
            {"predicted": nothing, "predicted_sd": nothing, "acquisition": jnp.float32(jnp.nan)},
        )

    def ask(self, key: PRNGKey, space: AnySpace, state: State) -> Asked:
        genomes = in_turn(partial(self._asked, space))(key, state)
        return Asked(genomes, jnp.full((self.population, 2), -1, jnp.int32))

    def tell(self, space: AnySpace, state: State, asked: Asked, fitness: Fitness) -> State:
        expected = self.population, self.objectives + self.constraints
        if fitness.shape != expected:
            raise UserError(
                f"fitness must have shape {expected}, got {fitness.shape}; set objectives and "
                "constraints of Bayesian to its columns"
            )
        return in_turn(partial(self._told, space))(
            state, asked.genomes, fitness.astype(jnp.float32)
        )

    def figures(self, state: State) -> dict[str, Array]:
        """Of the candidates last told: what was expected of them, and its standard deviation.

        And the hypervolume that the best of them was expected to add, as a share of the box from
        the least to the worst observed. NaN for the initial sample.
        """
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
        pool_key, sample_key = jax.random.split(key)
        belief = self._belief(space, state)
        found = pool(
            pool_key,
            belief,
            self._aims,
            self.variation,
            self.inner_population,
            self.inner_generations,
            0.0 if self.acquisition == "linas" else self.optimism,
            state.memory,
            self.pool,
        )
        if self.acquisition == "linas":
            return found.genomes[: self.population]
        if self.acquisition == "ucb":
            hoped = found.hoped[None]
        else:
            hoped = belief.samples(sample_key, found.genomes, self.samples)
        return found.genomes[self._batch(state, hoped, found.free)[0]]

    def _belief(self, space: AnySpace, state: State) -> Belief:
        known = state.memory
        return believed(self._surrogate, space, state.fitted, known.genomes, known.fitness)

    def _batch(
        self, state: State, hoped: Float[Array, "samples n columns"], free
    ) -> tuple[Int[Array, "population"], Float[Array, "population"]]:
        """Rows of a pool, chosen by what it might be, and the hypervolume each was to add."""
        aims = self._aims
        m = self.objectives
        observed = state.memory.fitness
        known = ~pareto.failed(observed)[:, None]
        low = jnp.where(known, observed, jnp.inf)[:, :m].min(axis=0)
        high = jnp.where(known, observed, -jnp.inf)[:, :m].max(axis=0)
        worst = jnp.where(jnp.isfinite(state.worst), state.worst, high)
        reference = worst + MARGIN * (worst - low)

        def promised(fitness):
            inside = volumes(fitness[..., :m], low, reference, directions(m, DIRECTIONS))
            return jnp.where((aims.violation(fitness) == 0)[..., None], inside, 0.0)

        return batch(
            promised(hoped),
            promised(observed).max(axis=0),
            aims.violation(hoped).mean(axis=0),
            free,
            self.population,
            self.acquisition != "thompson",
        )

    def _told(self, space: AnySpace, state: State, asked: Genomes, fitness: Fitness) -> State:
        figures = jax.lax.cond(
            state.memory.generation < self._rounds,
            lambda: state.figures,
            lambda: self._figures(space, state, asked),
        )
        known = memory.updated(state.memory, space, self._aims, asked, fitness)
        learnt = jax.lax.cond(
            known.generation < self._rounds,
            lambda: state.fitted,
            lambda: fitted(
                state.memory.key(0),
                self._surrogate,
                space,
                state.fitted,
                known.genomes,
                known.fitness,
            ),
        )
        feasible = (self._aims.violation(fitness) == 0)[:, None]
        worst = jnp.where(feasible, fitness, -jnp.inf)[:, : self.objectives]
        return State(known, learnt, jnp.maximum(state.worst, worst.max(axis=0)), figures)

    def _figures(self, space: AnySpace, state: State, asked: Genomes) -> dict[str, Array]:
        columns = self.objectives + self.constraints
        around = jnp.array([0.0, 1.0, -1.0], jnp.float32)[:, None] * jnp.ones(columns, jnp.float32)
        normal = jax.random.normal(state.memory.key(1), (self.samples, columns), jnp.float32)
        found = self._belief(space, state).at(asked, jnp.concatenate([around, normal]))
        median, high, low = found[:3, :, : self.objectives]
        gains = self._batch(state, found[3:], jnp.ones(self.population, bool))[1]
        return {
            "predicted": median,
            "predicted_sd": (high - low) / 2,
            "acquisition": gains[0],
        }
