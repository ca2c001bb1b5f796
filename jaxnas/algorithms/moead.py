"""MOEA/D (Zhang & Li 2007).

One subproblem for each weight, and neighbouring subproblems help each other.
"""

from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt

from jaxnas.algorithms import pareto
from jaxnas.algorithms.algorithm import (
    AnySpace,
    Asked,
    check_fitness,
    check_limits,
    check_sizes,
    initial_or_children,
    unevaluated,
)
from jaxnas.algorithms.scalarization import (
    SCALARS,
    das_dennis,
    divisions_within,
    extremes,
    nothing_extreme,
    scalars,
)
from jaxnas.algorithms.variation import (
    Discrete,
    Variation,
    check_probabilities,
    happens,
    nothing_seen,
    remember,
    without_duplicates,
)
from jaxnas.errors import UserError, choose
from jaxnas.types import Fitness, Genomes, PRNGKey


class State(NamedTuple):
    """The candidate that each subproblem holds, and how far the search is."""

    genomes: Genomes
    fitness: Fitness
    rows: Int[Array, "n"]  # where the archive has them; -1 before they are evaluated
    # The ideal point of everything seen, the nadir point of the last candidates.
    extremes: Float[Array, "2 objectives"]
    key: PRNGKey  # of who mates with whom
    evaluated: Int[Array, ""]  # candidates told so far
    generation: Int[Array, ""]  # generations told so far
    seen: UInt[Array, "slots"]  # networks evaluated before (variation.remember)


@dataclass(frozen=True)
class MOEAD:
    """Splits the front into as many subproblems as there are members.

    Each is the search for the best under its own weights.

    The weights are spread evenly (Das & Dennis). Objectives are scaled by the ideal point of
    everything seen and the worst of the members and children that are not dominated, so their units
    do not matter. The first generation is uniform over the space, one candidate a subproblem. Later
    ones: each subproblem breeds one child, from two of its neighbours or, less often, of the whole
    population, and the child takes the place of whatever it is no worse than in the pool that it
    was bred from.

    The original updates after every child. Here all children of a generation are bred from the
    members at its start, and the ideal and nadir point take all of them in before any is compared;
    then a subproblem keeps the best of its member and the children that are offered to it, which is
    what replacing one after another comes to. So that a batch is not wasted, a child that means the
    same network as an evaluated candidate or an earlier child is mutated again a few times. A
    subproblem whose candidate failed is offered every child. Under `limits` the one that exceeds
    them less is the better one, whatever its value, and only candidates within count for the
    scale (Jain & Deb 2014).
    """

    population: int = 28
    """Subproblems, and candidates per generation: any number from 2 for two objectives, else one
    that Das & Dennis's weights have."""
    variation: Variation = field(default_factory=Discrete)
    """Crossover and mutation: `Discrete` of choices, `Real` of a `Box`. Of two children of a pair
    one is dropped."""
    objectives: int = 2
    """Columns of the fitness, at least 2."""
    scalar: str = "tchebycheff"
    """tchebycheff, augmented_tchebycheff or weighted_sum."""
    neighbours: int = 20
    """Subproblems with the nearest weights, itself among them; all where there are fewer."""
    locality: float = 0.9
    """Probability that a child is bred from, and offered to, the neighbours only (Li &
    Zhang 2009)."""
    limits: tuple[float | None, ...] = ()
    """The most that each objective may be; None, or nothing at all, sets no limit."""
    avoid_duplicates: bool = True

    def __post_init__(self):
        check_sizes(self.population)
        if self.objectives < 2:
            raise UserError(
                f"objectives of MOEA/D must be at least 2, got {self.objectives} (a formulation "
                "makes one of all); use evolution for one"
            )
        check_limits(self.limits, self.objectives)
        if self.neighbours < 2:
            raise UserError(
                f"neighbours must be at least 2, got {self.neighbours}; set a larger number"
            )
        choose("scalar", self.scalar, SCALARS)
        check_probabilities(locality=self.locality)
        divisions = divisions_within(self.objectives, self.population)
        less, more = (
            len(das_dennis(self.objectives, d)) if d else 0 for d in (divisions, divisions + 1)
        )
        if less != self.population:
            raise UserError(
                f"population must be a number of evenly spread weights of {self.objectives} "
                f"objectives, got {self.population}; the nearest are {less or 'none'} below and "
                f"{more} above: set one of them"
            )

    @cached_property
    def weights(self) -> Float[np.ndarray, "n objectives"]:
        return das_dennis(self.objectives, divisions_within(self.objectives, self.population))

    @cached_property
    def neighbourhood(self) -> Int[np.ndarray, "n neighbours"]:
        """The nearest subproblems of each, itself first."""
        squares = ((self.weights[:, None] - self.weights) ** 2).sum(axis=2)
        return np.argsort(squares, axis=1, kind="stable")[:, : self.neighbours].astype(np.int32)

    def init(self, key: PRNGKey, space: AnySpace) -> State:
        sample_key, key = jax.random.split(key)
        return State(
            *unevaluated(sample_key, space, self.population, self.objectives),
            extremes=nothing_extreme(self.objectives),
            key=key,
            evaluated=jnp.int32(0),
            generation=jnp.int32(0),
            seen=nothing_seen(self.population),
        )

    def ask(self, key: PRNGKey, space: AnySpace, state: State) -> Asked:
        pairs_key, cross_key, mutation_key, duplicates_key = jax.random.split(key, 4)
        first, second = self._pairs(pairs_key, self._local(state))
        children, _, crossed = self.variation.cross(
            cross_key, space, state.genomes[first], state.genomes[second]
        )
        children = self.variation.mutate(mutation_key, space, children)
        if self.avoid_duplicates:
            children = without_duplicates(
                duplicates_key, space, self.variation, children, state.seen
            )
        parents = jnp.stack([state.rows[first], jnp.where(crossed, state.rows[second], -1)], axis=1)
        return initial_or_children(state, Asked(children, parents))

    def tell(self, space: AnySpace, state: State, asked: Asked, fitness: Fitness) -> State:
        check_fitness(self, fitness)
        rows = state.evaluated + jnp.arange(self.population, dtype=jnp.int32)
        told = asked.genomes, fitness.astype(jnp.float32), rows
        start = state.generation == 0
        members = jax.tree.map(
            partial(jnp.where, start), told, (state.genomes, state.fitness, state.rows)
        )
        seen_extremes = extremes(
            state.extremes, pareto.within(jnp.concatenate([told[1], members[1]]), self.limits)
        )
        offered = (~start & self._offered(state)) | pareto.failed(members[1])[:, None]
        best, better = self._best(seen_extremes, members[1], told[1], offered)
        genomes, fitness, rows = (
            jnp.where(better[:, None] if new.ndim == 2 else better, new[best], old)
            for new, old in zip(told, members, strict=True)
        )
        evaluated = state.evaluated + self.population
        seen = remember(state.seen, space, asked.genomes) if self.avoid_duplicates else state.seen
        return State(
            genomes, fitness, rows, seen_extremes, state.key, evaluated, state.generation + 1, seen
        )

    def _local(self, state: State) -> Bool[Array, "n"]:
        """Which subproblems keep to their neighbours in this generation."""
        return happens(
            jax.random.fold_in(state.key, state.generation), self.locality, (self.population,)
        )

    def _pairs(self, key: PRNGKey, local: Bool[Array, "n"]) -> Int[Array, "2 n"]:
        """Two different parents for each subproblem, of its neighbours or of all."""
        n = self.population
        neighbourhood = jnp.asarray(self.neighbourhood)
        pool = jnp.where(local, neighbourhood.shape[1], n)
        first_key, step_key = jax.random.split(key)
        first = jax.random.randint(first_key, (n,), 0, pool, jnp.int32)
        second = (first + jax.random.randint(step_key, (n,), 1, pool, jnp.int32)) % pool
        places = jnp.stack([first, second])
        return jnp.where(
            local,
            neighbourhood[jnp.arange(n), jnp.minimum(places, neighbourhood.shape[1] - 1)],
            places,
        )

    def _offered(self, state: State) -> Bool[Array, "subproblems children"]:
        near = np.zeros((self.population, self.population), bool)
        near[self.neighbourhood.T, np.arange(self.population)] = True
        return ~self._local(state) | jnp.asarray(near)

    def _best(
        self,
        extremes: Float[Array, "2 m"],
        members: Fitness,
        children: Fitness,
        offered: Bool[Array, "subproblems children"],
    ) -> tuple[Int[Array, "n"], Bool[Array, "n"]]:
        """The best child offered to each subproblem, and whether it is no worse than the member.

        Of equals the last.
        """
        weights = jnp.asarray(self.weights)
        values = jnp.where(offered, scalars(self.scalar, children, extremes, weights), jnp.inf)
        own = jax.vmap(
            lambda member, weight: scalars(self.scalar, member[None], extremes, weight)[0]
        )(members, weights)
        excess, own_excess = (
            jnp.nan_to_num(pareto.total_violation(rows, self.limits), nan=jnp.inf)
            for rows in (children, members)
        )
        least_excess = jnp.where(jnp.isfinite(values), excess, jnp.inf).min(axis=1)
        values = jnp.where(excess <= least_excess[:, None], values, jnp.inf)
        least = values.min(axis=1)
        better = (least_excess < own_excess) | ((least_excess == own_excess) & (least <= own))
        return self.population - 1 - values[:, ::-1].argmin(axis=1), better & jnp.isfinite(least)
