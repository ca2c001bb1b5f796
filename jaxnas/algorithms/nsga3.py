"""NSGA-III (Deb & Jain 2014).

Ranks first, then a fair share of the front for each reference direction.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property
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
    with_members,
)
from jaxnas.algorithms.scalarization import LARGEST, das_dennis, two_layers
from jaxnas.algorithms.variation import (
    Discrete,
    Variation,
    mated,
    nothing_seen,
    remember,
    without_duplicates,
)
from jaxnas.errors import UserError
from jaxnas.types import Fitness, Genomes, PRNGKey

DIRECTIONS = 10**5  # at most


class Scale(NamedTuple):
    """What the objectives are measured by; everything ever told counts, infinities do not."""

    ideal: Float[Array, "objectives"]
    worst: Float[Array, "objectives"]
    # Row i: the fitness farthest out along objective i.
    extremes: Float[Array, "objectives objectives"]


class State(NamedTuple):
    """The members of the population, failed ones last, and how far the search is."""

    genomes: Genomes
    fitness: Fitness
    rows: Int[Array, "n"]  # where the archive has the members; -1 before they are evaluated
    scale: Scale
    key: PRNGKey  # of the choices that `tell` makes
    evaluated: Int[Array, ""]  # candidates told so far
    generation: Int[Array, ""]  # generations told so far
    seen: UInt[Array, "slots"]  # networks evaluated before (variation.remember)


@dataclass(frozen=True)
class NSGA3:
    """Evolves a population towards a front that is even in angle.

    Made for three objectives and more.

    The first generation is uniform over the space. Later ones: every member that did not fail is a
    parent equally often, paired at random. A child that means the same network as an evaluated
    candidate or an earlier child is mutated again a few times, and then accepted as it is.

    Parents and children compete for the places by rank. Of the rank that does not fit as a whole,
    places go to the reference direction with the fewest members, one at a time, ties at random: to
    its nearest candidate if it has none, else to a random one (algorithm 4). Objectives are scaled
    by the intercepts of the plane through the extreme points (section IV-C), which are kept from
    generation to generation (Blank, Deb & Roy 2019); where there is no such plane, by the worst of
    the front, and where that has no extent either, by the worst of all. Other than there, extreme
    points are looked for in units of the front's extent, so that the units of the objectives do not
    matter.

    Under `limits` a candidate beyond one is dominated by every one within, and by those that exceed
    less; parents then win tournaments of two by their excess, and only candidates within count for
    the scale (Jain & Deb 2014).
    """

    population: int = 28
    """Members, and candidates per generation; at least 2, even or odd."""
    variation: Variation = field(default_factory=Discrete)
    """Crossover and mutation: `Discrete` of choices, `Real` of a `Box`."""
    objectives: int = 2
    """Columns of the fitness."""
    divisions: int | None = None
    """Of each objective's axis by the reference directions (Das & Dennis); None: as many as give no
    more directions than members, with a second layer inside where none of them lies
    within (`scalarization.two_layers`)."""
    limits: tuple[float | None, ...] = ()
    """The most that each objective may be; None, or nothing at all, sets no limit."""
    avoid_duplicates: bool = True

    def __post_init__(self):
        check_sizes(self.population, self.objectives)
        check_limits(self.limits, self.objectives)
        if self.divisions is not None and self.divisions < 1:
            raise UserError(
                f"divisions must be at least 1, got {self.divisions}; set a larger number, or None"
            )
        m = self.objectives
        if self.divisions and (count := math.comb(self.divisions + m - 1, m - 1)) > DIRECTIONS:
            raise UserError(
                f"divisions must give at most {DIRECTIONS} reference directions, but "
                f"{self.divisions} give {count} of {m} objectives; set a smaller number, or None"
            )

    @cached_property
    def directions(self) -> Float[np.ndarray, "directions objectives"]:
        """The reference directions, of length 1."""
        m = self.objectives
        directions = (
            das_dennis(m, self.divisions) if self.divisions else two_layers(m, self.population)
        )
        return directions / (directions**2).sum(axis=1, keepdims=True) ** 0.5

    def init(self, key: PRNGKey, space: AnySpace) -> State:
        sample_key, key = jax.random.split(key)
        m = self.objectives
        return State(
            *unevaluated(sample_key, space, self.population, m),
            scale=Scale(
                *(
                    jnp.full(shape, value, jnp.float32)
                    for shape, value in ((m, jnp.inf), (m, -jnp.inf), ((m, m), jnp.inf))
                )
            ),
            key=key,
            evaluated=jnp.int32(0),
            generation=jnp.int32(0),
            seen=nothing_seen(self.population),
        )

    def ask(self, key: PRNGKey, space: AnySpace, state: State) -> Asked:
        pairs_key, cross_key, mutation_key, duplicates_key = jax.random.split(key, 4)
        children, parents = mated(
            cross_key,
            space,
            self.variation,
            state.genomes,
            state.rows,
            _pairs(pairs_key, state.fitness, self.limits),
        )
        children = self.variation.mutate(mutation_key, space, children)
        if self.avoid_duplicates:
            children = without_duplicates(
                duplicates_key, space, self.variation, children, state.seen
            )
        return initial_or_children(state, Asked(children, parents))

    def tell(self, space: AnySpace, state: State, asked: Asked, fitness: Fitness) -> State:
        check_fitness(self, fitness)
        genomes, fitness, rows = with_members(state, asked, fitness)
        rank = pareto.rank_within(fitness, self.limits)
        scale, nadir = rescaled(state.scale, pareto.within(fitness, self.limits), rank == 0)
        niche, distance = associated(fitness, scale.ideal, nadir, jnp.asarray(self.directions))
        key = jax.random.fold_in(state.key, state.generation)
        kept = chosen(
            key,
            rank,
            niche,
            distance,
            pareto.failed(fitness),
            len(self.directions),
            self.population,
        )
        evaluated = state.evaluated + self.population
        return State(
            *(array[kept] for array in (genomes, fitness, rows)),
            scale=scale,
            key=state.key,
            evaluated=evaluated,
            generation=state.generation + 1,
            seen=remember(state.seen, space, asked.genomes)
            if self.avoid_duplicates
            else state.seen,
        )


def _pairs(
    key: PRNGKey, fitness: Fitness, limits: tuple[float | None, ...]
) -> Int[Array, "2 pairs"]:
    """Members that did not fail (all if all did), each as often as the others, in random pairs.

    Under limits who exceeds less wins.
    """
    n = len(fitness)
    valid = jnp.sum(~pareto.failed(fitness))  # failed members are the last ones
    valid = jnp.where(valid > 0, valid, n)
    order = jax.random.permutation(key, n)[jnp.arange(n + n % 2) % n] % valid
    if limits:
        rival = (
            jax.random.permutation(jax.random.fold_in(key, 1), n)[jnp.arange(n + n % 2) % n] % valid
        )
        excess = pareto.total_violation(fitness, limits)
        order = jnp.where(excess[rival] < excess[order], rival, order)
    return order.reshape(2, -1)


def rescaled(
    scale: Scale, fitness: Fitness, front: Bool[Array, "n"]
) -> tuple[Scale, Float[Array, "objectives"]]:
    """The scale with this fitness, and the nadir point.

    Where the plane through the extreme points meets the axes.

    An intercept is no larger than the worst value seen. Tolerances are shares of the front's
    extent.
    """
    finite = jnp.isfinite(fitness).all(axis=1, keepdims=True)
    inside = finite & front[:, None]
    ideal = jnp.minimum(scale.ideal, jnp.where(finite, fitness, jnp.inf).min(axis=0))
    worst = jnp.maximum(scale.worst, jnp.where(finite, fitness, -jnp.inf).max(axis=0))
    of_front = jnp.where(inside, fitness, -jnp.inf).max(axis=0) - ideal
    of_all = jnp.where(finite, fitness, -jnp.inf).max(axis=0) - ideal
    extent = jnp.where((of_front > 0) & jnp.isfinite(of_front), of_front, 1.0)
    extremes = _extremes(
        jnp.concatenate([scale.extremes, jnp.where(inside, fitness, jnp.inf)]), ideal, extent
    )
    corners = (extremes - ideal) / extent
    plane = jnp.linalg.solve(corners, jnp.ones(len(corners), jnp.float32))
    meets = jnp.isclose(corners @ plane, 1.0, rtol=1e-3).all() & (1 / plane > 1e-6).all()
    nadir = jnp.where(meets, jnp.minimum(1 / plane, (worst - ideal) / extent), of_front / extent)
    nadir = jnp.where(nadir > 1e-6, nadir, of_all / extent)
    return Scale(ideal, worst, extremes), ideal + nadir * extent


def _extremes(
    fitness: Fitness, ideal: Float[Array, "objectives"], extent: Float[Array, "objectives"]
) -> Float[Array, "objectives objectives"]:
    """For each axis the row nearest to it.

    Least in the achievement scalarizing function, equation 4.
    """
    away = (fitness - ideal) / extent
    away = jnp.where(away < 1e-3, 0.0, away)
    weights = jnp.where(jnp.eye(len(ideal), dtype=bool), 1.0, 1e6)
    return fitness[(away[None] * weights[:, None]).max(axis=2).argmin(axis=1)]


def associated(
    fitness: Fitness,
    ideal: Float[Array, "objectives"],
    nadir: Float[Array, "objectives"],
    directions: Float[Array, "d objectives"],
) -> tuple[Int[Array, "n"], Float[Array, "n"]]:
    """The reference direction that each row is nearest to, and its distance from it.

    Algorithm 3.
    """
    scaled = jnp.clip(
        (fitness - ideal) / jnp.where(nadir > ideal, nadir - ideal, 1.0), 0.0, LARGEST
    )
    scaled = jnp.where(jnp.isnan(scaled), 0.0, scaled)
    # The longer the nearer, because all directions have length 1.
    along = (scaled[:, None] * directions).sum(axis=2)
    niche = along.argmax(axis=1).astype(jnp.int32)
    away = scaled - along.max(axis=1, keepdims=True) * directions[niche]
    return niche, (away**2).sum(axis=1)


def chosen(
    key: PRNGKey,
    rank: Int[Array, "n"],
    niche: Int[Array, "n"],
    distance: Float[Array, "n"],
    failed: Bool[Array, "n"],
    niches: int,
    count: int,
) -> Int[Array, "count"]:
    """The `count` rows that survive, best ranks first.

    Those of the rank that is split as algorithm 4 takes them.

    It takes from the niche with the fewest members, so a niche's k-th candidate has its turn when
    as many as it had, and k more, are its members: sorting by that number, ties at random by niche,
    is the same without a loop.
    """
    n = len(rank)
    member_key, niche_key = jax.random.split(key)
    split = rank == jnp.sort(rank)[count - 1]
    members = jax.ops.segment_sum(
        (rank < jnp.sort(rank)[count - 1]).astype(jnp.int32), niche, niches
    )
    turn = jax.random.uniform(member_key, (n,), jnp.float32)
    nearest = _least(jnp.where(split, distance, jnp.inf), niche, niches)
    first = _least(jnp.where(nearest & split, turn, jnp.inf), niche, niches) & (members[niche] == 0)
    group = jnp.where(split, niche, niches)
    order = jnp.lexsort((jnp.where(first, -1.0, turn), group))
    start = jnp.searchsorted(group[order], jnp.arange(niches + 1))
    position = jnp.zeros(n, jnp.int32).at[order].set(jnp.arange(n, dtype=jnp.int32)) - start[group]
    level = jnp.where(failed, jnp.arange(n), members[niche] + position)
    return jnp.lexsort((jax.random.uniform(niche_key, (niches,), jnp.float32)[niche], level, rank))[
        :count
    ]


def _least(values: Float[Array, "n"], niche: Int[Array, "n"], niches: int) -> Bool[Array, "n"]:
    """Which values are the least of their niche."""
    return values == jax.ops.segment_min(values, niche, niches)[niche]
