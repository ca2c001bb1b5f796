"""Which network to take, from what was measured on the device and on the test split alone."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from jaxnas.report import words

LEVEL = 0.05  # of the paired tests
# Of 90 pairs of medians of one network 70 agreed within 5 % (hardware/timing.py: `summarise`).
MEDIAN_NOISE = 0.05


class Measured(NamedTuple):
    """A chosen network as it was measured."""

    letter: str
    accuracy: float  # on the test split
    interval: tuple[float, float]  # 95 %, of that
    ms: float  # median; the fastest run where there is no median
    noise: float  # share of `ms` below which differences mean nothing
    # Which test images it answers right; None where a run does not say.
    right: Bool[np.ndarray, "images"] | None


def more_accurate(one: Measured, other: Measured) -> bool:
    """Whether `one` is shown to be more accurate.

    By McNemar's exact test, as both see the same images.

    By their intervals where it is not known which images they answer right.
    """
    if one.right is None or other.right is None:
        return one.interval[0] > other.interval[1]
    from scipy.stats import binomtest  # most of a second of import

    won = int(np.sum(one.right & ~other.right))
    lost = int(np.sum(other.right & ~one.right))
    return won > lost and float(binomtest(won, won + lost).pvalue) < LEVEL


def faster(one: Measured, other: Measured) -> bool:
    """Whether `one` is faster by more than the noise of both."""
    return one.ms < other.ms * (1 - max(one.noise, other.noise))


def dominating(networks: Sequence[Measured], i: int) -> list[Measured]:
    """The networks that are at least as accurate and as fast as the i-th.

    And better in one of the two.
    """
    mine = networks[i]
    return [
        one
        for one in networks
        if one.accuracy >= mine.accuracy
        and one.ms <= mine.ms
        and (one.accuracy, one.ms) != (mine.accuracy, mine.ms)
    ]


def recommended(networks: Sequence[Measured], within: float, limit_ms: float | None) -> Measured:
    """The fastest of those that are as accurate as the best; of those as fast, the most accurate.

    As accurate: not shown to be less so, and at most `within` (a share of the images) less. Only
    networks within the limit count; where none is, the fastest is taken.
    """
    allowed = [one for one in networks if limit_ms is None or one.ms <= limit_ms]
    if not allowed:
        return min(networks, key=_by_time)
    best = min(allowed, key=_by_accuracy)
    close = [
        one
        for one in allowed
        if best.accuracy - one.accuracy <= within and not more_accurate(best, one)
    ]
    # The tests of pairs follow no order.
    close = [one for one in allowed if one.accuracy >= min(other.accuracy for other in close)]
    fastest = min(close, key=_by_time)
    as_fast_ms = max(one.ms for one in close if not faster(fastest, one))
    return min((one for one in close if one.ms <= as_fast_ms), key=_by_accuracy)


def _by_accuracy(one: Measured) -> tuple[float, float]:
    return -one.accuracy, one.ms


def _by_time(one: Measured) -> tuple[float, float]:
    return one.ms, -one.accuracy


def advice(
    networks: Sequence[Measured], within: float, limit_ms: float | None, commonest: float
) -> str:
    """What to take, and what the others are against it, in one or a few sentences.

    Nothing, where no network is shown to be above `commonest`, the accuracy of the commonest class
    alone.
    """
    best = max(networks, key=lambda one: one.accuracy)
    if best.interval[0] <= commonest:
        return (
            "None is shown to know more than the commonest class: always answering that is right "
            f"on {words.percent(commonest)} of the test images, the best network on "
            f"{words.percent(best.accuracy)}."
        )
    take = recommended(networks, within, limit_ms)
    others = [one for one in networks if one is not take]
    said = [
        (
            f"Take {take.letter}: {words.percent(take.accuracy)} test accuracy at "
            f"{words.significant(take.ms)} ms."
        )
    ]
    if limit_ms is not None and take.ms > limit_ms:
        said.append(f"None keeps the limit of {limit_ms:g} ms; it comes closest.")
    even = [one.letter for one in others if not more_accurate(one, take) and not faster(one, take)]
    if even:
        said.append(
            f"{words.listed(even)} {'is' if len(even) == 1 else 'are'} not better within the noise."
        )
    said += [_compared(one, take, limit_ms) for one in others if one.letter not in even]
    return " ".join(said)


def _compared(one: Measured, take: Measured, limit_ms: float | None) -> str:
    """What speaks for a network that is better in something than the recommended one.

    And what against.
    """
    points = 100 * abs(one.accuracy - take.accuracy)
    if faster(one, take):
        return (
            f"{one.letter} takes {words.percent(1 - one.ms / take.ms)} less time and is "
            f"{points:.1f} percentage points less accurate."
        )
    over = "" if limit_ms is None or one.ms <= limit_ms else ", over the limit"
    return (
        f"{one.letter} is {points:.1f} percentage points more accurate and takes "
        f"{words.significant(one.ms)} ms{over}."
    )


def labels(networks: Sequence[Measured], i: int, said: str = "measured") -> list[str]:
    """What the i-th network is among all by its figures.

    Latencies are said to be measured or simulated.
    """
    mine = networks[i]
    better = dominating(networks, i)
    found = []
    if any(one.accuracy < mine.accuracy for one in networks) and mine.accuracy == max(
        one.accuracy for one in networks
    ):
        found.append("most accurate on test")
    if any(one.ms > mine.ms for one in networks) and mine.ms == min(one.ms for one in networks):
        found.append(f"fastest {said}")
    if better:
        clear = [one for one in better if more_accurate(one, mine) or faster(one, mine)]
        noise = "" if clear else ", within the noise"
        found.append(f"dominated by {words.listed([one.letter for one in better])}{noise}")
    return found
