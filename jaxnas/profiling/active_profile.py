"""Which subnets are measured to learn a device's latency, and when they are enough."""

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

TILT = 4.0  # at its ends a gene of two choices is drawn small, or large, 98 times in 100
ROUNDS = 100  # of drawing before a sample of different genomes is given up

FIRST = 40  # subnets measured before the first look
BATCH = 20  # and between two looks
FRESH = 20  # subnets drawn uniformly that an error is taken from, at least
GROUP = 50  # candidates that each informative subnet is chosen from
POOL = 1000  # candidates of the front that is watched
LOSS = 0.005  # what it may cost to have chosen by the predictor before


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
    tilt = jax.random.uniform(tilt_key, (n, 1, 1), minval=-TILT, maxval=TILT)
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
    for r in range(ROUNDS if n + excluded <= space.size() else 0):
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
    """What a sitting wants next."""

    genomes: Int[np.ndarray, "m genes"]  # to be measured; none when the sitting is over
    fresh: Bool[np.ndarray, "m"]  # drawn uniformly, to see how well strangers are predicted
    error: float  # mean relative error of fresh subnets; NaN while there are fewer than 20
    reason: str  # why the sitting is over, "" while it is not


@dataclass(frozen=True)
class Sitting:
    """A device's latency in one sitting: subnets are measured until strangers are predicted well.

    First come 40 subnets that cover the space (half of `most`, if that is less), then batches of
    20: half are fresh, drawn uniformly, half informative, those that an ensemble's members disagree
    on most, each among 50 of its own. It is over when the mean relative error on the fresh ones,
    each predicted by the members that have not seen it, is at most `until`; or when the front of
    predicted latency against MACs, which stand in for accuracy, no longer changes: whoever had
    chosen it a batch earlier would lose 0.5 % of latency at most, in the mean; or after `most`
    subnets.
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
        """What to measure after `genomes`, in the order in which they were measured.

        NaN latencies failed.

        A function of its arguments alone: a batch that was cut off is planned again from what came
        before it, and the rest returned.
        """
        keys = [jax.random.fold_in(key, i) for i in range(4)]
        n = len(genomes)
        first = min(FIRST, self.most // 2)
        if n < first:
            planned = np.asarray(covering_sample(keys[0], self.space, first))
            return self._rest(planned, np.zeros(first, bool), genomes, first, np.nan)
        known = n if n >= self.most else first + (n - first) // BATCH * BATCH
        model = self._fit(keys[1], genomes[:known], latency_ms[:known])
        strangers = fresh[:known][np.isfinite(latency_ms[:known])]
        error = float(model.errors()[strangers].mean()) if strangers.sum() >= FRESH else np.nan
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
        if self.space.parts and n >= min(FIRST, self.most // 2) + 2 * BATCH:
            before = self._fit(keys[1], genomes[:-BATCH], latency_ms[:-BATCH])
            pool = covering_sample(keys[3], self.space, min(POOL, self.space.size() // 2))
            macs = np.asarray(self.space.costs(pool).macs, np.float32)
            if _loss(macs, *(np.asarray(one(pool)) for one in (before, model))) <= LOSS:
                return "the front of latency against MACs no longer changes"
        return ""

    def _batch(
        self, key: PRNGKey, model: Calibrated, known: np.ndarray, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fresh and informative subnets in turn, so that a drift of the device hits them alike."""
        fresh_key, draw_key = jax.random.split(key)
        half = (size + 1) // 2
        fresh = np.asarray(
            _distinct(fresh_key, self.space, half, known[:0], known, partial(_rounded, _uniform))
        )
        taken = np.concatenate([known, fresh])
        drawn = min(GROUP * (size - half), self.space.size() - len(taken))
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
        """What is left of a batch, after which `until` subnets are measured."""
        seen = set(map(key_of, genomes))
        left = np.array([key_of(genome) not in seen for genome in planned])
        room = until - len(genomes)
        return Step(planned[left][:room], marks[left][:room], float(error), "")


def _rounded(
    draw: Callable[[PRNGKey, Space, int], Genomes], key: PRNGKey, space: Space, n: int
) -> Genomes:
    """`n` draws or more: of few sizes, for few compiled programs."""
    return draw(key, space, -(-n // 512) * 512)


def _loss(
    macs: Float[np.ndarray, "n"], before_ms: Float[np.ndarray, "n"], now_ms: Float[np.ndarray, "n"]
) -> float:
    """How much slower, by the predictor of now, the front of before is than that of now.

    With as many MACs; mean over the latter.

    >>> _loss(np.array([1.0, 2.0, 2.0]), np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.2, 2.0]))
    0.05
    """
    old, new = (
        np.flatnonzero(_front(jnp.stack([-jnp.asarray(macs), jnp.asarray(ms)], axis=1)))
        for ms in (before_ms, now_ms)
    )
    enough = macs[old][None] >= macs[new][:, None]
    return float(np.mean(np.where(enough, now_ms[old][None], np.inf).min(axis=1) / now_ms[new] - 1))


_front = jax.jit(pareto.front)
