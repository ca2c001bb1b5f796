"""When a search may end before its last generation: its front no longer grows, or its time is up.

Both are asked after each generation (`loop.search`) and answer with a reason, or None to go on.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxnas.algorithms import pareto
from jaxnas.algorithms.indicators import hypervolume
from jaxnas.algorithms.loop import Archive

GROWTH = 1e-3  # of the hypervolume, relative: less is none
MARGIN = 0.1  # by which the reference point lies beyond the worst values, of their range


def stalled(archive: Archive, feasible: Bool[np.ndarray, "n"], patience: int) -> str | None:
    """Whether the hypervolume has grown by at most `GROWTH` in the last `patience` generations.

    It counts all candidates evaluated that are `feasible` and did not fail, below a reference that
    the first generation with any success fixes: the worst value of each objective there, and a
    tenth of the range from the best one beyond. As long as nothing lies below, the search goes on.
    """
    last = int(archive.generation[-1])
    if last < patience:
        return None
    scaled = np.where(feasible[:, None], _scaled(archive), np.nan)
    before, now = (
        _hypervolume(scaled[archive.generation <= until]) for until in (last - patience, last)
    )
    if before == 0 or now > (1 + GROWTH) * before:
        return None
    return f"the hypervolume had not grown for {patience}"


class Budget:
    """`seconds` of wall time for a search, of which `spent` were spent before it was taken up.

    The rest begins at once.
    """

    def __init__(self, seconds: float, spent: float = 0.0):
        self.seconds = seconds
        self.began = time.perf_counter() - spent

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self.began

    def exceeded(self) -> str | None:
        """The reason to stop, once they are over."""
        if self.spent < self.seconds:
            return None
        return f"its {self.seconds:g} seconds were over"


def stopped_in_words(archive: Archive, generations: int) -> str | None:
    """After which of its generations a search has stopped, and why; None if it has not."""
    if archive.stopped is None:
        return None
    last = int(archive.generation[-1]) + 1
    return f"stopped after generation {last} of {generations}: {archive.stopped}"


def _scaled(archive: Archive) -> Float[np.ndarray, "n objectives"]:
    """The fitness, from 0 for the best values of the first generation to 1 for the reference."""
    fitness = archive.fitness.astype(np.float64)
    succeeded = np.isfinite(fitness).all(axis=1)
    if not succeeded.any():
        return np.full_like(fitness, np.nan)
    first = archive.generation == archive.generation[succeeded][0]
    known = fitness[first & succeeded]
    best = known.min(axis=0)
    extent = (1 + MARGIN) * (known.max(axis=0) - best)
    return (fitness - best) / np.where(extent > 0, extent, 1)


def _hypervolume(scaled: Float[np.ndarray, "n objectives"]) -> float:
    """Below 1 in every objective.

    Of the front alone, filled up to a power of two, so that few programs are compiled.
    """
    rows = scaled[(scaled < 1).all(axis=1)].astype(np.float32)
    front = rows[np.asarray(_front(jnp.asarray(_filled(rows))))[: len(rows)]]
    return float(_covered(jnp.asarray(_filled(front)), jnp.ones(scaled.shape[1])))


def _filled(rows: Float[np.ndarray, "n objectives"]) -> Float[np.ndarray, "filled objectives"]:
    more = (1 << max(len(rows) - 1, 0).bit_length()) - len(rows)
    return np.pad(rows, ((0, more), (0, 0)), constant_values=np.nan)


_front = jax.jit(pareto.front)
_covered = jax.jit(hypervolume)
