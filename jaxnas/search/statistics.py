"""Whether one search beats another: hypervolume curves and their bands, rank tests with effect sizes, Holm's correction."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy import stats

from jaxnas.search.indicators import hypervolume

RESAMPLES = 2000


def hypervolume_curve(
    fitness: Float[np.ndarray, "n objectives"], generation: Int[np.ndarray, "n"], reference: Float[np.ndarray, "objectives"]
) -> Float[np.ndarray, "g"]:
    """Hypervolume of everything evaluated up to each generation; failed rows and those beyond the reference add nothing."""
    generations = int(generation.max()) + 1
    return np.asarray(_curve(generations, jnp.asarray(fitness), jnp.asarray(generation), jnp.asarray(reference, jnp.float32)))


@partial(jax.jit, static_argnums=0)
def _curve(generations: int, fitness, generation, reference) -> Float[Array, "g"]:
    def until(last):
        return hypervolume(jnp.where((generation <= last)[:, None], fitness, jnp.nan), reference)

    return jax.lax.map(until, jnp.arange(generations, dtype=jnp.int32))


def bootstrap_band(
    curves: Float[np.ndarray, "seeds points"], seed: int, level: float = 0.95
) -> tuple[Float[np.ndarray, "points"], Float[np.ndarray, "points"]]:
    """The ends of a pointwise confidence band of the median curve: percentiles over resampled seeds (Efron 1979).

    Whole curves are drawn, with replacement. Percentiles rather than scipy's default BCa, which is NaN where all seeds agree.
    """
    drawn = np.random.default_rng(seed).integers(0, len(curves), (RESAMPLES, len(curves)))
    medians = np.stack([np.median(column[drawn], axis=1) for column in curves.T], axis=1)
    low, high = np.quantile(medians, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


class Comparison(NamedTuple):
    """Two samples, one figure a seed and larger is better: two-sided p-values, and how large the difference is."""

    mann_whitney_p: float  # the seeds of the two have nothing to do with each other
    wilcoxon_p: float  # signed ranks of the differences, seed by seed
    a12: float  # the share of pairs in which the first is larger, ties half (Vargha and Delaney 2000); 0.5: no difference
    rank_biserial: float  # signed ranks in favour of the first less those against, as a share of all (Kerby 2014); -1 to 1


def compare_samples(first: Float[np.ndarray, "n"], second: Float[np.ndarray, "n"]) -> Comparison:
    """Both tests of two samples with the same seeds; samples that do not differ at all get p = 1."""
    if np.ptp(np.concatenate([first, second])) == 0:
        return Comparison(1.0, 1.0, 0.5, 0.0)
    mann_whitney = stats.mannwhitneyu(first, second, alternative="two-sided")
    a12 = float(mann_whitney.statistic) / (len(first) * len(second))
    differs = (first - second)[first != second]
    if not differs.size:
        return Comparison(float(mann_whitney.pvalue), 1.0, a12, 0.0)
    signed_ranks: Any = stats.wilcoxon(differs)
    ranks = stats.rankdata(np.abs(differs))
    rank_biserial = float((ranks * np.sign(differs)).sum() / ranks.sum())
    return Comparison(float(mann_whitney.pvalue), float(signed_ranks.pvalue), a12, rank_biserial)


def holm(p_values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """P-values of a family of tests, corrected such that the chance of any false alarm is kept (Holm 1979).

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1))
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(stepped, 1)
    return corrected
