"""How much each gene decides by itself."""

import numpy as np
from jaxtyping import Float, Int


def explained(
    genomes: Int[np.ndarray, "n genes"], values: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "genes"]:
    """The share of the variance of `values` that each gene explains by itself.

    Epsilon squared, which corrects the correlation ratio for chance (Kelley, An unbiased
    correlation ratio measure, 1935): 1 less the variance within choices over all of it, each by its
    degrees of freedom; not below 0. Rows that failed (NaN) count for nothing. Genomes must be drawn
    at random: those of a search are not independent of the values.

    >>> genomes = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 9)
    >>> explained(genomes, 3.0 * genomes[:, 0]).round(3).tolist()
    [1.0, 0.0]
    """
    there = np.isfinite(values)
    rows = genomes[there]
    known = values[there].astype(np.float64)
    whole = float(((known - known.mean()) ** 2).sum()) if len(known) else 0.0
    if whole == 0:
        return np.zeros(genomes.shape[1])
    return np.array([_one(column, known, whole) for column in rows.T])


def _one(column: Int[np.ndarray, "n"], values: Float[np.ndarray, "n"], whole: float) -> float:
    _, group, counts = np.unique(column, return_inverse=True, return_counts=True)
    n = len(values)
    if not 1 < len(counts) < n:
        return 0.0
    means = np.bincount(group, values) / counts
    within = float(((values - means[group]) ** 2).sum())
    return max(0.0, 1 - (within / (n - len(counts))) / (whole / (n - 1)))
