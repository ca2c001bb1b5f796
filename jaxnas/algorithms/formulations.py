"""Formulations: several objectives made one, for who wants one network instead of a front.

Each is a pure, traced function of fitness (n, objectives) to one column, less is better, NaN of a
failed candidate. `Formulated` (formulated.py) lets any algorithm minimise it. The order of the
objectives is that of the fitness, and their units are their own.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.algorithms import pareto, scalarization
from jaxnas.algorithms.reward import Reward
from jaxnas.errors import UserError
from jaxnas.types import Fitness

Column = Float[Array, "n"]
Limits = tuple[float | None, ...]  # of each objective; nothing at all: none has one
BITS = 24  # of a whole number that float32 holds exactly


@runtime_checkable
class Formulation(Protocol):
    """What is minimised, and the limits that are kept beside."""

    def __call__(self, fitness: Fitness) -> Column: ...

    def limits(self, objectives: int) -> Limits:
        """The most that each objective may be, beside the limits of the search.

        Raises:
            UserError: the settings are not those of so many objectives.
        """
        ...


@dataclass(frozen=True)
class WeightedSum:
    """The sum of the weighted objectives; it finds the convex parts of a front only."""

    weights: tuple[float, ...]
    """One for each objective, 0 or more, in 1/unit."""

    def __post_init__(self):
        _check_weights(self.weights)

    def __call__(self, fitness: Fitness) -> Column:
        return _or_failed(fitness, scalarization.weighted_sum(fitness, _array(self.weights)))

    def limits(self, objectives: int) -> Limits:
        _check_count("weights of weighted_sum", self.weights, objectives)
        return ()


@dataclass(frozen=True)
class Chebyshev:
    """The largest weighted distance from the ideal point, which finds every part of a front.

    A weight of 0 counts as 1e-6.
    """

    weights: tuple[float, ...]
    """One for each objective, 0 or more, in 1/unit."""
    ideal: tuple[float, ...] = ()
    """The best that each objective could be; nothing: 0."""

    def __post_init__(self):
        _check_weights(self.weights)

    def __call__(self, fitness: Fitness) -> Column:
        away = fitness - _array(self.ideal or (0.0,) * fitness.shape[1])
        return _or_failed(fitness, scalarization.tchebycheff(away, _array(self.weights)))

    def limits(self, objectives: int) -> Limits:
        _check_count("weights of chebyshev", self.weights, objectives)
        if self.ideal:
            _check_count("ideal of chebyshev", self.ideal, objectives)
        return ()


@dataclass(frozen=True)
class WeightedProduct:
    """The product of the objectives, each to the power of its weight; of 0 or more each.

    A candidate with an objective below 0 has no such product and counts as failed.
    """

    weights: tuple[float, ...]
    """The exponent of each objective, 0 or more: units do not matter."""

    def __post_init__(self):
        _check_weights(self.weights)

    def __call__(self, fitness: Fitness) -> Column:
        product = jnp.prod(fitness ** _array(self.weights), axis=1)
        return _or_failed(fitness, jnp.where((fitness >= 0).all(axis=1), product, jnp.nan))

    def limits(self, objectives: int) -> Limits:
        _check_count("weights of weighted_product", self.weights, objectives)
        return ()


@dataclass(frozen=True)
class MnasNet:
    """The negative of MnasNet's reward (Tan et al., CVPR 2019, equations 2 and 3).

    That is accuracy * (cost / target)^exponent, with a factor for each objective after the first,
    which is the error. An accuracy of 0 and below is not traded for costs.
    """

    target: tuple[float, ...]
    """Of each objective after the first, in its unit, above 0."""
    exponent: float = -0.07
    """Of each ratio of a cost to its target: 5 % more accuracy are worth twice the cost."""
    hard: bool = False
    """The exponent is 0 up to the target and -1 beyond."""
    worst_error: float = 1.0
    """The first objective of a network that is never right: 1 for a share, 100 for percent."""

    def __post_init__(self):
        _check_finite("target of mnasnet", self.target)
        if not min(*self.target, self.worst_error) > 0:
            raise UserError(
                f"target and worst_error of mnasnet must be above 0, got {_text(self.target)} and "
                f"{self.worst_error:g}: set the cost that is wanted"
            )

    def __call__(self, fitness: Fitness) -> Column:
        reward = Reward(self.target, self.exponent, self.hard, self.worst_error)
        return _or_failed(fitness, -reward.of(fitness, _array(self.target)))

    def limits(self, objectives: int) -> Limits:
        _check_count("target of mnasnet", self.target, objectives - 1, "after the first")
        return ()


@dataclass(frozen=True)
class EpsilonConstraint:
    """The first objective, where no other is beyond its limit (Haimes et al. 1971)."""

    most: tuple[float, ...]
    """Of each objective after the first, in its unit."""

    def __post_init__(self):
        _check_finite("most of epsilon_constraint", self.most)

    def __call__(self, fitness: Fitness) -> Column:
        return _or_failed(fitness, fitness[:, 0])

    def limits(self, objectives: int) -> Limits:
        _check_count("most of epsilon_constraint", self.most, objectives - 1, "after the first")
        return (None, *self.most)


@dataclass(frozen=True)
class Lexicographic:
    """The first objective decides, of equals the second, and so on.

    Two candidates are equal in an objective where both lie in the same step of its `tolerances`:
    so the order is transitive, which "no farther apart than the tolerance" is not.

    The column is the number of steps of the first objective, and as its fraction those of the
    others. float32 holds the order exactly for S = 2^(24 / objectives) steps of each from 0 on:
    4,096 of two objectives, 256 of three, 64 of four. Steps of a later objective below 0 count as
    the 0th, those beyond the last as the last.
    """

    tolerances: tuple[float, ...]
    """The length of a step of each objective, in its unit, above 0."""

    def __post_init__(self):
        _check_finite("tolerances of lexicographic", self.tolerances)
        if min(self.tolerances) <= 0:
            raise UserError(
                f"tolerances of lexicographic must be above 0, got {_text(self.tolerances)}: set "
                "the difference of each objective that does not matter"
            )

    def __call__(self, fitness: Fitness) -> Column:
        most = 2 ** (BITS // len(self.tolerances))
        steps = jnp.floor(fitness / _array(self.tolerances))
        column = steps[:, 0]
        for i, later in enumerate(steps.T[1:], 1):
            column += jnp.clip(later, 0, most - 1) * jnp.float32(most**-i)
        return _or_failed(fitness, column)

    def limits(self, objectives: int) -> Limits:
        _check_count("tolerances of lexicographic", self.tolerances, objectives)
        return ()


def tightest(one: Limits, other: Limits) -> Limits:
    """Both limits of each objective are kept where the lower one is.

    >>> tightest((None, 3.0, 2.0), (1.0, 4.0, None)), tightest((), (None, 1.0))
    ((1.0, 3.0, 2.0), (None, 1.0))
    """
    if not (one and other):
        return one or other
    pairs = zip(one, other, strict=True)
    return tuple(min((x for x in pair if x is not None), default=None) for pair in pairs)


def _or_failed(fitness: Fitness, column: Column) -> Column:
    return jnp.where(pareto.failed(fitness), jnp.nan, column)


def _array(values: tuple[float, ...]) -> Float[Array, "objectives"]:
    return jnp.asarray(values, jnp.float32)


def _text(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values) or "none"


def _check_finite(what: str, values: tuple[float, ...]) -> None:
    if not values or not all(map(math.isfinite, values)):
        raise UserError(f"{what} must be finite numbers, got {_text(values)}: set one or more")


def _check_weights(weights: tuple[float, ...]) -> None:
    if not (weights and all(0 <= weight < math.inf for weight in weights) and sum(weights)):
        raise UserError(
            f"weights of a formulation must be 0 or more and not all 0, got {_text(weights)}: set "
            "one for each objective"
        )


def _check_count(what: str, values: tuple[float, ...], count: int, which: str = "") -> None:
    if len(values) != count:
        which = f" {which}" if which else ""
        raise UserError(
            f"{what} must be {count}, one for each objective{which}, got {len(values)} "
            f"({_text(values)}): set as many"
        )
