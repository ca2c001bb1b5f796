"""Whether one search beats another.

Hypervolume curves and their bands, rank tests of all pairs with effect sizes.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from math import comb
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnas.algorithms.indicators import hypervolume, sobol_directions, volume_by_reach

RESAMPLES = 2000
LEVEL = 0.05  # of the tests: the chance that any difference is claimed where there is none
# Of an estimated hypervolume; the replicates give its standard error.
REPLICATES = 16
DIRECTIONS = 512
CHUNK = 64  # directions at a time


def hypervolume_curve(
    fitness: Float[np.ndarray, "n objectives"],
    generation: Int[np.ndarray, "n"],
    reference: Float[np.ndarray, "objectives"],
) -> Float[np.ndarray, "g"]:
    """Hypervolume of everything evaluated up to each generation.

    Failed rows and those beyond the reference add nothing.
    """
    generations = int(generation.max()) + 1
    return np.asarray(
        _curve(
            generations,
            jnp.asarray(fitness),
            jnp.asarray(generation),
            jnp.asarray(reference, jnp.float32),
        )
    )


@partial(jax.jit, static_argnums=0)
def _curve(generations: int, fitness, generation, reference) -> Float[Array, "g"]:
    def until(last):
        return hypervolume(jnp.where((generation <= last)[:, None], fitness, jnp.nan), reference)

    return jax.lax.map(until, jnp.arange(generations, dtype=jnp.int32))


def estimated_curve(
    fitness: Float[np.ndarray, "n objectives"],
    generation: Int[np.ndarray, "n"],
    reference: Float[np.ndarray, "objectives"],
) -> tuple[Float[np.ndarray, "g"], Float[np.ndarray, "g"]]:
    """`hypervolume_curve` for any number of objectives, estimated, and its standard error.

    The mean over directions of how far the dominated volume reaches from the reference, to the
    power of the number of objectives (Deng & Zhang, IEEE Transactions on Evolutionary Computation
    23, 2019, equation 12). All calls use the same directions, so two curves differ by less than
    their standard errors say.
    """
    m = fitness.shape[1]
    reach = _reach(
        int(generation.max()) + 1,
        jnp.asarray(reference - fitness, jnp.float32),
        jnp.asarray(generation),
        jnp.asarray(_directions(m)),
    )
    powers = (np.asarray(reach, np.float64) ** m).reshape(REPLICATES, DIRECTIONS, -1)
    means = volume_by_reach(m) * powers.mean(axis=1)
    return means.mean(axis=0), means.std(axis=0, ddof=1) / REPLICATES**0.5


@partial(jax.jit, static_argnums=0)
def _reach(
    generations: int,
    depth: Float[Array, "n m"],
    generation: Int[Array, "n"],
    directions: Float[Array, "d m"],
) -> Float[Array, "d g"]:
    """How far along each direction the volume reaches that is dominated until each generation."""
    depth = jnp.where(jnp.isnan(depth).any(axis=1, keepdims=True), 0, jnp.maximum(depth, 0))

    def one(direction):
        lengths = (depth / direction).min(axis=1)
        return jax.lax.cummax(jax.ops.segment_max(lengths, generation, generations))

    return jax.lax.map(one, directions, batch_size=CHUNK)


def _directions(objectives: int) -> Float[np.ndarray, "d m"]:
    return np.concatenate(
        [sobol_directions(objectives, DIRECTIONS, seed) for seed in range(REPLICATES)]
    )


def bootstrap_band(
    curves: Float[np.ndarray, "seeds points"], seed: int, level: float = 0.95
) -> tuple[Float[np.ndarray, "points"], Float[np.ndarray, "points"]]:
    """The ends of a pointwise confidence band of the median curve.

    Percentiles over resampled seeds (Efron 1979).

    Whole curves are drawn, with replacement. scipy.stats.bootstrap gives the same band by
    `method="percentile"`, in three times the time; its default, BCa, is NaN where all seeds agree.
    """
    drawn = np.random.default_rng(seed).integers(0, len(curves), (RESAMPLES, len(curves)))
    medians = np.stack([np.median(column[drawn], axis=1) for column in curves.T], axis=1)
    low, high = np.quantile(medians, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


class Comparison(NamedTuple):
    """Two samples, one figure a seed and larger is better: whether they differ, and how much.

    The seeds of two algorithms have nothing in common but the problem, so no test pairs them.
    """

    p: float  # two-sided, Mann and Whitney's U
    # The share of pairs in which the first is larger, ties half (Vargha and Delaney 2000); 0.5: no
    # difference.
    a12: float


def compare_samples(first: Float[np.ndarray, "n"], second: Float[np.ndarray, "n"]) -> Comparison:
    """The test and the effect size of two samples; samples that do not differ at all get p = 1."""
    if np.ptp(np.concatenate([first, second])) == 0:
        return Comparison(1.0, 0.5)
    from scipy import stats  # most of a second of import

    found = stats.mannwhitneyu(first, second, alternative="two-sided")
    return Comparison(float(found.pvalue), float(found.statistic) / (len(first) * len(second)))


def compare_all(samples: Mapping[str, Float[np.ndarray, "n"]]) -> dict[tuple[str, str], Comparison]:
    """Every ordered pair of samples, with p-values corrected after Holm for all unordered ones.

    The family is every pair, so whichever pairs are looked at afterwards, also those with the
    sample that turned out best, the chance of any false claim is kept.
    """
    pairs = list(combinations(samples, 2))
    found = [compare_samples(samples[first], samples[second]) for first, second in pairs]
    corrected = holm(np.array([one.p for one in found])).tolist()
    return {
        names: Comparison(p, a12)
        for (first, second), one, p in zip(pairs, found, corrected, strict=True)
        for names, a12 in (((first, second), one.a12), ((second, first), 1 - one.a12))
    }


def is_better(one: Comparison) -> bool:
    """The first sample is shown to be larger than the second."""
    return one.p < LEVEL and one.a12 > 0.5


def leaders(pairs: Mapping[tuple[str, str], Comparison]) -> list[str]:
    """The samples that no other one is shown to be larger than, in order of appearance."""
    names = dict.fromkeys(first for first, _ in pairs)
    return [
        name
        for name in names
        if not any(second == name and is_better(one) for (_, second), one in pairs.items())
    ]


def mean_ranks(pairs: Mapping[tuple[str, str], Comparison]) -> dict[str, float]:
    """The rank that each sample has on average when one value of each is drawn; 1 is the largest.

    One more than the sum, over the others, of the share of pairs that the other wins. It takes no
    pairing of the values of two samples.

    >>> mean_ranks({("a", "b"): Comparison(0.1, 0.75), ("b", "a"): Comparison(0.1, 0.25)})
    {'a': 1.25, 'b': 1.75}
    """
    names = dict.fromkeys(first for first, _ in pairs)
    return {
        name: 1 + sum(1 - one.a12 for (first, _), one in pairs.items() if first == name)
        for name in names
    }


def not_shown_to_differ(
    names: Sequence[str], pairs: Mapping[tuple[str, str], Comparison]
) -> list[tuple[int, int]]:
    """The longest runs of neighbours in which no pair is shown to differ, as (first, last).

    Runs of one are left out.
    """
    groups: list[tuple[int, int]] = []
    for first in range(len(names)):
        last = first
        while last + 1 < len(names) and all(
            pairs[names[i], names[last + 1]].p >= LEVEL for i in range(first, last + 1)
        ):
            last += 1
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups


def least_seeds(algorithms: int) -> int:
    """The fewest seeds with which the clearest difference of one pair is shown.

    Of a pair among those of so many algorithms.

    >>> least_seeds(2), least_seeds(8)
    (4, 7)
    """
    pairs = comb(algorithms, 2)
    return next(n for n in range(2, 100) if pairs * 2 / comb(2 * n, n) < LEVEL)


def holm(p_values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """P-values of a family of tests.

    Corrected such that the chance of any false alarm is kept (Holm 1979).

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1))
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(stepped, 1)
    return corrected
