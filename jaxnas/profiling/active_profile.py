"""Which subnets are measured to learn a device's latency, and when enough are measured."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxnas.algorithms import pareto
from jaxnas.errors import UserError
from jaxnas.predictors.ensemble import Calibrated, Ensemble
from jaxnas.spaces.genomes import key_of
from jaxnas.spaces.space import Space
from jaxnas.types import Genomes, PRNGKey

MAX_TILT = 4.0  # at which a gene of two choices is drawn small, or large, 98 times in 100
MAX_DRAWS = 100  # rounds of drawing before a sample of different genomes is given up

FIRST_BATCH = 40  # subnets measured before the predictor is fitted for the first time
BATCH = 20  # subnets measured between two fits
MIN_FRESH = 20  # fresh subnets that an error is computed from, at least
CANDIDATES_EACH = 50  # from which each informative subnet is chosen
FRONT_POOL = 1000  # candidates whose front is monitored
FRONT_REGRET = 0.005  # mean latency regret below which the front is stable


def covering_sample(key: PRNGKey, space: Space, n: int) -> Genomes:
    """`n` different genomes that reach the whole range from the smallest to the largest.

    These are the first two rows.

    Uniform draws almost never come near the corners: the sum of thirty genes is close to its mean.
    So each genome draws its own tilt, uniform, and then each gene a choice with probability
    proportional to exp(tilt * position), position 0 for the smallest and 1 for the largest choice.
    Static genes are not tilted; their choices are dealt out evenly. Genomes are canonical. Raises
    a `UserError` where the space does not have `n`.
    """
    corners = np.stack([space.smallest, space.largest])
    return _distinct(key, space, n, corners, corners[:0], _tilted)


def uniform_sample(
    key: PRNGKey, space: Space, n: int, exclude: Int[Array | np.ndarray, "taken genes"]
) -> Genomes:
    """`n` different genomes drawn uniformly, none of them in `exclude`.

    Canonical, and errors as `covering_sample`.
    """
    return _distinct(key, space, n, space.smallest[None][:0], exclude, _uniform)


@partial(jax.jit, static_argnames=("space", "n"))
def _uniform(key: PRNGKey, space: Space, n: int) -> Genomes:
    return space.sample(key, n)


@partial(jax.jit, static_argnames=("space", "n"))
def _tilted(key: PRNGKey, space: Space, n: int) -> Genomes:
    tilt_key, choice_key, static_key = jax.random.split(key, 3)
    choices = jnp.arange(space.sizes.max())
    sizes = jnp.asarray(space.sizes)[:, None]
    position = choices / jnp.maximum(sizes - 1, 1)
    tilt = jax.random.uniform(tilt_key, (n, 1, 1), minval=-MAX_TILT, maxval=MAX_TILT)
    logits = jnp.where(choices < sizes, tilt * position, -jnp.inf)  # (n, genes, choices)
    genomes = jax.random.categorical(choice_key, logits).astype(jnp.int32)
    for i, gene in enumerate(space.genes):
        if gene.static:
            even = jnp.arange(n, dtype=jnp.int32) % len(gene.choices)
            genomes = genomes.at[:, i].set(
                jax.random.permutation(jax.random.fold_in(static_key, i), even)
            )
    return genomes


def _distinct(
    key: PRNGKey,
    space: Space,
    n: int,
    start,
    exclude,
    draw: Callable[[PRNGKey, Space, int], Genomes],
) -> Genomes:
    """The first `n` different canonical genomes of `start`, then of rounds of `draw`.

    None is in `exclude`.
    """

    def canonical_rows(genomes) -> np.ndarray:
        return np.asarray(_canonical(space, jnp.asarray(genomes, jnp.int32)))

    seen = {key_of(row) for row in canonical_rows(exclude)}
    excluded = len(seen)
    rows = []
    for r in range(MAX_DRAWS if n + excluded <= space.size() else 0):
        batch = start if r == 0 else draw(jax.random.fold_in(key, r), space, n + excluded)
        for row in canonical_rows(batch):
            if len(rows) < n and key_of(row) not in seen:
                seen.add(key_of(row))
                rows.append(row)
        if len(rows) == n:
            return jnp.asarray(np.array(rows, np.int32).reshape(n, len(space.genes)))
    raise UserError(
        f"cannot draw {n} different subnets from space {space.name}: it has {space.size()} "
        f"genomes, {excluded} of them already taken; measure fewer subnets"
    )


@partial(jax.jit, static_argnames="space")
def _canonical(space: Space, genomes: Genomes) -> Genomes:
    return jax.vmap(space.canonical)(genomes)


class Step(NamedTuple):
    """What an active profile measures next."""

    genomes: Int[np.ndarray, "m genes"]  # none when the profile is complete
    fresh: Bool[np.ndarray, "m"]  # which of these are drawn uniformly, to estimate the error
    error: float  # mean relative error of fresh subnets; NaN while there are fewer than 20
    reason: str  # why the profile is complete, "" while it is not


@dataclass(frozen=True)
class ActiveProfile:
    """Active profiling: measure subnets in batches until fresh ones are predicted within `until`.

    The first batch is 40 subnets that cover the space (half of `most`, if that is less). Each later
    batch has 20: half are fresh, drawn uniformly; half are informative, those that the members of
    an ensemble disagree on most, each the best of 50 candidates.

    The profile is complete when one of three conditions holds. The mean relative error on fresh
    subnets, each predicted by the members that did not train on it, is at most `until`. Or the
    front of predicted latency against MACs, which stand in for accuracy, is stable: choosing the
    front with the previous batch's predictor would cost at most 0.5 % latency on average. Or `most`
    subnets are measured.
    """

    space: Space
    until: float
    most: int
    predictor: Ensemble = Ensemble()  # noqa: RUF009  (frozen)

    def __post_init__(self):
        if not 0 < self.until < 1:
            raise UserError(
                "the error to measure until must be a share above 0 and below 1, got "
                f"{self.until}: 0.03 is 3 %"
            )

    def step(
        self,
        key: PRNGKey,
        genomes: Int[np.ndarray, "n genes"],
        latency_ms: Float[np.ndarray, "n"],
        fresh: Bool[np.ndarray, "n"],
    ) -> Step:
        """What to measure after `genomes`, which are in the order in which they were measured.

        A NaN latency is a failure. The result depends on the arguments alone: a batch that was
        interrupted is planned again from the measurements before it, and the rest of it returned.
        """
        keys = [jax.random.fold_in(key, i) for i in range(4)]
        n = len(genomes)
        first = min(FIRST_BATCH, self.most // 2)
        if n < first:
            planned = np.asarray(covering_sample(keys[0], self.space, first))
            return self._rest(planned, np.zeros(first, bool), genomes, first, np.nan)
        known = n if n >= self.most else first + (n - first) // BATCH * BATCH
        model = self._fit(keys[1], genomes[:known], latency_ms[:known])
        unseen = fresh[:known][np.isfinite(latency_ms[:known])]
        error = float(model.errors()[unseen].mean()) if unseen.sum() >= MIN_FRESH else np.nan
        reason = (
            self._reason(keys, model, error, genomes[:known], latency_ms[:known])
            if known == n
            else ""
        )
        if reason:
            return Step(genomes[:0], np.zeros(0, bool), error, reason)
        planned, marks = self._batch(
            jax.random.fold_in(keys[2], known),
            model,
            genomes[:known],
            min(BATCH, self.most - known),
        )
        return self._rest(planned, marks, genomes, known + len(planned), error)

    def _fit(self, key: PRNGKey, genomes: np.ndarray, latency_ms: np.ndarray) -> Calibrated:
        good = np.isfinite(latency_ms)
        return self.predictor.fit(
            jax.random.fold_in(key, len(genomes)),
            self.space,
            genomes[good],
            latency_ms[good].astype(np.float32),
        )

    def _reason(
        self, keys, model: Calibrated, error: float, genomes: np.ndarray, latency_ms: np.ndarray
    ) -> str:
        n = len(genomes)
        if error <= self.until:
            return f"the error on fresh subnets is {error:.1%}, at most {self.until:.1%}"
        if n >= self.most:
            return f"{self.most} subnets are measured, which is the most"
        if self.space.parts and n >= min(FIRST_BATCH, self.most // 2) + 2 * BATCH:
            previous = self._fit(keys[1], genomes[:-BATCH], latency_ms[:-BATCH])
            pool = covering_sample(keys[3], self.space, min(FRONT_POOL, self.space.size() // 2))
            macs = np.asarray(self.space.costs(pool).macs, np.float32)
            if _regret(macs, *(np.asarray(one(pool)) for one in (previous, model))) <= FRONT_REGRET:
                return "the front of latency against MACs no longer changes"
        return ""

    def _batch(
        self, key: PRNGKey, model: Calibrated, known: np.ndarray, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fresh and informative subnets alternate, so that a drift of the device affects both."""
        fresh_key, draw_key = jax.random.split(key)
        half = (size + 1) // 2
        fresh = np.asarray(
            _distinct(fresh_key, self.space, half, known[:0], known, partial(_rounded, _uniform))
        )
        taken = np.concatenate([known, fresh])
        drawn = min(CANDIDATES_EACH * (size - half), self.space.size() - len(taken))
        candidates = np.asarray(
            _distinct(draw_key, self.space, drawn, known[:0], taken, partial(_rounded, _tilted))
        )
        groups = np.array_split(np.arange(drawn), size - half) if size > half else []
        unsure = np.asarray(model.disagreement(candidates))
        informative = candidates[[group[unsure[group].argmax()] for group in groups]].reshape(
            -1, known.shape[1]
        )
        marks = np.arange(size) % 2 == 0
        planned = np.empty((size, known.shape[1]), np.int32)
        planned[marks] = fresh
        planned[~marks] = informative
        return planned, marks

    def _rest(
        self, planned: np.ndarray, marks: np.ndarray, genomes: np.ndarray, until: int, error: float
    ) -> Step:
        """The part of a batch that is not measured yet; with it, `until` subnets are measured."""
        seen = set(map(key_of, genomes))
        left = np.array([key_of(genome) not in seen for genome in planned])
        room = until - len(genomes)
        return Step(planned[left][:room], marks[left][:room], float(error), "")


def _rounded(
    draw: Callable[[PRNGKey, Space, int], Genomes], key: PRNGKey, space: Space, n: int
) -> Genomes:
    """`n` draws or more: of few sizes, for few compiled programs."""
    return draw(key, space, -(-n // 512) * 512)


def _regret(
    macs: Float[np.ndarray, "n"],
    previous_ms: Float[np.ndarray, "n"],
    current_ms: Float[np.ndarray, "n"],
) -> float:
    """Mean relative latency lost by using the previous predictor's front.

    Judged by the current predictor, at equal or more MACs.

    >>> _regret(np.array([1.0, 2.0, 2.0]), np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.2, 2.0]))
    0.05
    """
    old, new = (
        np.flatnonzero(_front(jnp.stack([-jnp.asarray(macs), jnp.asarray(ms)], axis=1)))
        for ms in (previous_ms, current_ms)
    )
    enough = macs[old][None] >= macs[new][:, None]
    return float(
        np.mean(np.where(enough, current_ms[old][None], np.inf).min(axis=1) / current_ms[new] - 1)
    )


_front = jax.jit(pareto.front)
