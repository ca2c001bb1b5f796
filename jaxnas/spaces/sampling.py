"""Sample genomes whose cost (MACs, milliseconds, bytes) is below a limit, by construction.

Where the cost is a sum of terms of a few genes each, `sample_below` is exactly uniform: it counts
the genomes for each remaining budget, then draws gene by gene. For any other cost,
`sample_weighted` reweights the draws of a sampler. Uniform means over genomes: a network that
several genomes encode is drawn as often as it has genomes.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int64, Num

from jaxnas.errors import UserError
from jaxnas.spaces.space import Space
from jaxnas.types import Genomes, PRNGKey

BINS = 1 << 14  # steps of the budget, in which genomes are counted
CHUNK = 1 << 12  # genomes drawn at a time
TRIES = 1000  # draws per genome asked for, at most
COMBINATIONS = 1 << 20  # of the genes that a term of the cost links, at most


class Term(NamedTuple):
    """What some genes cost together, the smaller the better.

    The cost of a genome is the sum of its terms.
    """

    genes: tuple[int, ...]  # positions
    # One axis per gene, by choice index; NaN or infinity = impossible.
    costs: Num[np.ndarray, "*choices"]


class Weighted(NamedTuple):
    """Resampled genomes, and how many independent uniform draws they are worth."""

    genomes: Genomes
    effective: float


class Step(NamedTuple):
    """One term of the sum, given a state.

    The choices of the genes that earlier terms and this or later ones share.
    """

    genes: tuple[int, ...]  # decided by this term
    sizes: tuple[int, ...]  # their numbers of choices; an option is a choice of each
    cost: Float64[np.ndarray, "states options"]
    after: Int64[np.ndarray, "states options"]  # the state in front of the next term


def macs(space: Space) -> tuple[Term, ...]:
    """Multiply-adds as a sum over the space's parts: the same numbers as `space.costs`."""
    return tuple(Term(term.genes, term.macs) for term in space.terms)


def smallest_reachable(space: Space, cost: Sequence[Term]) -> float:
    """The cost of the cheapest genome, exactly."""
    return float(_least(_steps(space, cost))[0][0])


def sample_below(key: PRNGKey, space: Space, n: int, cost: Sequence[Term], limit: float) -> Genomes:
    """`n` genomes that cost at most `limit`, exactly uniform over all that do.

    Independent (so they may repeat); on the host.

    Dyer, "Approximate counting by dynamic programming", STOC 2003: costs above the least possible
    are rounded down to 1/`BINS` of the budget and genomes counted per remaining budget. That counts
    all within the limit and a few beyond, which are drawn as often as any other and then thrown
    away. Counts and sums of costs are float64, so exact to 1 in 10^15 or so, and MACs are exact.
    Terms that share genes should be neighbours.

    Raises:
        UserError: nothing is within the limit (the message has the smallest reachable cost), or the
            terms link too many genes, or fewer than one draw in `TRIES` is within the limit.
    """
    steps = _steps(space, cost)
    least = _least(steps)
    smallest = float(least[0][0])
    if not (math.isfinite(smallest) and limit >= smallest):
        raise UserError(
            f"no network of {space.name} costs at most {limit:.10g}: the smallest reachable cost "
            f"is {smallest:.10g}; raise the limit"
        )
    bins = _bins(steps, least, limit - smallest)
    counts = _counts(steps, bins)
    random = _generator(key)
    found = [np.zeros((0, len(space.genes)), np.int32)]
    drawn = 0
    while sum(map(len, found)) < n:
        if drawn >= TRIES * n:
            raise UserError(
                f"fewer than {n} of {drawn} genomes drawn from {space.name} cost at most "
                f"{limit:.10g}; choose another limit nearby"
            )
        genomes, costs = _draw(random, steps, bins, counts, len(space.genes), CHUNK)
        found.append(genomes[costs <= limit])
        drawn += CHUNK
    return jnp.asarray(np.concatenate(found)[:n])


def _generator(key: PRNGKey) -> np.random.Generator:
    return np.random.default_rng(np.asarray(jax.random.bits(key, (4,), jnp.uint32)))


def _steps(space: Space, cost: Sequence[Term]) -> list[Step]:
    """The terms of the sum in order, then terms of 0 for the genes that cost nothing."""
    priced = {gene for term in cost for gene in term.genes}
    free = [Term((i,), np.zeros(size)) for i, size in enumerate(space.sizes) if i not in priced]
    terms = [*cost, *free]
    steps = []
    known = ()
    for i, term in enumerate(terms):
        later = {gene for other in terms[i + 1 :] for gene in other.genes}
        new = tuple(dict.fromkeys(gene for gene in term.genes if gene not in known))
        shared = tuple(gene for gene in (*known, *new) if gene in later)
        steps.append(_step(space, term, known, new, shared))
        known = shared
    return steps


def _step(
    space: Space, term: Term, known: tuple[int, ...], new: tuple[int, ...], shared: tuple[int, ...]
) -> Step:
    sizes = {gene: int(space.sizes[gene]) for gene in (*known, *new)}
    states = math.prod(sizes[gene] for gene in known)
    options = math.prod(sizes[gene] for gene in new)
    if states * options > COMBINATIONS:
        names = ", ".join(space.genes[gene].name for gene in sizes)
        raise UserError(
            f"a cost that links {names} has {states * options} combinations, more than "
            f"{COMBINATIONS}: use sample_weighted"
        )
    if term.costs.shape != tuple(sizes[gene] for gene in term.genes):
        raise UserError(
            f"costs of genes {term.genes} of {space.name} must have an axis per gene, got "
            f"{term.costs.shape}; reshape them"
        )
    choices = dict(
        zip(
            sizes,
            np.indices(tuple(sizes.values())).reshape(len(sizes), states * options),
            strict=True,
        )
    )
    cost = np.asarray(term.costs, np.float64)[tuple(choices[gene] for gene in term.genes)]
    after = np.zeros(states * options, np.int64)
    for gene in shared:
        after = after * sizes[gene] + choices[gene]
    cost = np.where(np.isnan(cost), np.inf, cost).reshape(states, options)
    return Step(new, tuple(sizes[gene] for gene in new), cost, after.reshape(states, options))


def _least(steps: list[Step]) -> list[np.ndarray]:
    """The least cost of each term and all after it, for each state before it."""
    least = [np.zeros(1)]
    for step in reversed(steps):
        least.insert(0, (step.cost + least[0][step.after]).min(axis=1))
    return least


def _bins(steps: list[Step], least: list[np.ndarray], budget: float) -> list[np.ndarray]:
    """The budget that each option uses: its excess over the best one, in steps, rounded down.

    `BINS` + 1 means too much.
    """
    quantum = budget / BINS if budget > 0 else 1.0
    bins = []
    for step, here, there in zip(steps, least, least[1:], strict=False):
        reached = step.cost + there[step.after]
        possible = np.isfinite(reached)
        excess = np.where(possible, reached, 0.0) - np.where(np.isfinite(here), here, 0.0)[:, None]
        # A rounding error must not round up.
        taken = np.floor(np.maximum(excess, 0.0) / quantum * (1 - 1e-9))
        bins.append(np.where(possible, np.minimum(taken, BINS + 1), BINS + 1).astype(np.int64))
    return bins


def _counts(steps: list[Step], bins: list[np.ndarray]) -> list[np.ndarray]:
    """Number of completions from each state (row) and remaining budget (column).

    Up to one constant factor per term.
    """
    counts = [np.ones((1, BINS + 1))]
    for step, taken in zip(reversed(steps), reversed(bins), strict=True):
        ways = np.zeros((len(taken), BINS + 1))
        for state, option in zip(*np.nonzero(taken <= BINS), strict=True):
            least = taken[state, option]
            ways[state, least:] += counts[0][step.after[state, option], : BINS + 1 - least]
        counts.insert(0, ways / ways.max())
    return counts


def _draw(
    random: np.random.Generator,
    steps: list[Step],
    bins: list[np.ndarray],
    counts: list[np.ndarray],
    genes: int,
    n: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Genomes, uniform over those counted, int32 (n, genes), and their costs (n,)."""
    genomes = np.zeros((n, genes), np.int32)
    rows = np.arange(n)
    costs = []
    state = np.zeros(n, np.int64)
    left = np.full(n, BINS)
    for step, taken, ways in zip(steps, bins, counts[1:], strict=True):
        room = left[:, None] - taken[state]
        weights = np.where(room >= 0, ways[step.after[state], np.maximum(room, 0)], 0.0).cumsum(
            axis=1
        )
        # Above 0, so that weights of 0 are passed.
        threshold = (1 - random.random((n, 1))) * weights[:, -1:]
        option = (weights < threshold).sum(axis=1)
        genomes[:, list(step.genes)] = (
            np.stack(np.unravel_index(option, step.sizes), axis=1) if step.genes else 0
        )
        costs.append(step.cost[state, option])
        state = step.after[state, option]
        left = room[rows, option]
    total = np.zeros(n)
    for cost in reversed(costs):  # in the order of `_least`: the cheapest genome costs exactly that
        total = cost + total
    return genomes, total


def sample_weighted(
    key: PRNGKey,
    n: int,
    sampler: Callable[[PRNGKey, int], tuple[Genomes, Float[Array, "draws"]]],
    cost: Callable[[Genomes], Num[Array, "draws"]],
    limit: float,
    draws: int,
) -> Weighted:
    """`n` genomes within the limit of any cost, uniform in the limit of many `draws`.

    Sampling and importance resampling (Rubin 1987).

    `sampler` (key, draws) gives genomes and the logarithm of the probability, up to a constant,
    with which it draws each; it should reach every genome within the limit. Those within are drawn
    again, with replacement, by the inverse of that probability. Where `effective` is well below `n`
    genomes repeat: draw more, or from a sampler that knows the cost better, such as `sample_below`
    for a cost that is a sum and close to this one (its logarithms are all 0).

    Raises:
        UserError: no draw is within the limit; the message has the smallest cost drawn.
    """
    draw_key, resample_key = jax.random.split(key)
    genomes, log_probability = sampler(draw_key, draws)
    costs = np.asarray(cost(genomes))
    within = costs <= limit
    if not within.any():
        smallest = float(np.fmin.reduce(costs))
        raise UserError(
            f"none of {draws} genomes drawn costs at most {limit:.10g}: the smallest cost reached "
            f"is {smallest:.10g}; raise the limit"
        )
    inverse = np.where(within, -np.asarray(log_probability, np.float64), -np.inf)
    weights = np.exp(inverse - inverse.max())
    chosen = _generator(resample_key).choice(draws, n, p=weights / weights.sum())
    return Weighted(genomes[chosen], float(weights.sum() ** 2 / (weights**2).sum()))
