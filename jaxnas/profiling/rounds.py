"""How several rounds of measuring one network come to one figure.

A machine's slow phases outlast a single measurement.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Protocol, runtime_checkable

import numpy as np

from jaxnas.hardware.device import Device, ExportedModel, Measurement

# Two rounds whose latencies differ by no larger share have found the network's latency.
AGREEMENT = 0.03


@runtime_checkable
class Rounds(Protocol):
    """The settings of a profile that say how often a network is measured."""

    @property
    def rounds(self) -> int: ...

    @property
    def more_rounds(self) -> int: ...


def unsettled(settings: Rounds, done: int, latency_ms: Sequence[float]) -> bool:
    """Whether a network needs another round after as many as are done.

    `latency_ms`: of the rounds that did not fail.
    """
    if done < settings.rounds:
        return True
    fastest = sorted(latency_ms)[:2]
    return (
        done < settings.rounds + settings.more_rounds
        and len(fastest) == 2
        and fastest[1] > (1 + AGREEMENT) * fastest[0]
    )


def confirmed(latency_ms: Sequence[float]) -> int:
    """Which of a network's rounds counts: the fastest that another one came to as well, to 3 %.

    The fastest where no two agree.

    A machine has slow phases, and now and then a fast one that never returns.

    >>> confirmed([1.31, 1.07, 1.30, 1.28]), confirmed([2.0, 1.0])
    (3, 1)
    """
    order = np.argsort(latency_ms, kind="stable")
    for i, other in pairwise(order):
        if latency_ms[other] <= (1 + AGREEMENT) * latency_ms[i]:
            return int(i)
    return int(order[0])


def measure_in_rounds(device: Device, model: ExportedModel, settings: Rounds) -> Measurement:
    """Measures in as many rounds as needed, and joins them (`of_rounds`).

    A failure only if every round failed.
    """
    each: list[Measurement] = []
    while unsettled(settings, len(each), [one.latency_ms for one in each if not one.failure]):
        each.append(device.measure(replace(model, turn=len(each))))
    right = [one for one in each if not one.failure]
    return of_rounds(right) if right else each[0]


def of_rounds(rounds: Sequence[Measurement]) -> Measurement:
    """Several measurements of one network, none of them failed, as one.

    The latency is that of the round that counts (`confirmed`), the median that of the rounds'
    medians, `repeats` the runs of all. At least 80 % of these took from `p10_ms` (the least of the
    rounds') to `p90_ms` (the largest), at least 99 % at most `p99_ms` (the largest). Only the
    figures of single rounds are known, so the quantiles are bounds of those of all runs.
    """
    figures = {
        name: np.array([getattr(one, name) for one in rounds])
        for name in ("latency_ms", "p10_ms", "median_ms", "p90_ms", "p99_ms")
    }
    return replace(
        rounds[confirmed(figures["latency_ms"].tolist())],
        p10_ms=float(figures["p10_ms"].min()),
        median_ms=float(np.median(figures["median_ms"])),
        p90_ms=float(figures["p90_ms"].max()),
        p99_ms=float(figures["p99_ms"].max()),
        repeats=sum(one.repeats for one in rounds),
    )
