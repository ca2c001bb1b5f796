"""A latency limit that excludes nothing, noticed before the search."""

import math
from collections.abc import Iterator

import numpy as np

from jaxnas.config import SPACES
from jaxnas.errors import UserError
from jaxnas.networks.costs import layer_costs
from jaxnas.progress import log
from jaxnas.records.measurements import by_network, read_measurements
from jaxnas.spaces.space import Space
from jaxnas.stages.job import Job


def note_wide_limit(job: Job) -> None:
    """Says, also in metrics.jsonl, that the slowest network is within the limit.

    And which spaces have slower ones.
    """
    limit_ms = job.config.latency_limit_ms
    if limit_ms is None:
        return
    networks = by_network(read_measurements(job.run, job.space))
    measured = [(one.latency_ms, one.macs) for one in networks if one.latencies_ms]
    slowest_ms, macs = max(measured, default=(math.inf, 0))
    if slowest_ms >= limit_ms:
        return
    larger = _spaces_with(job, macs * limit_ms / slowest_ms)
    job.record("search", event="limit", slowest_ms=slowest_ms, larger=larger)
    advice = (
        f"; spaces with networks as slow as it allows, judged by multiply-adds: {', '.join(larger)}"
        if larger
        else ""
    )
    log(
        f"search: latency_limit_ms {limit_ms:g} excludes nothing: the slowest network measured "
        f"takes {slowest_ms:.3g} ms{advice}"
    )


def _spaces_with(job: Job, macs: float) -> list[str]:
    """Other known spaces that have, for these images, networks of so many multiply-adds."""
    return [
        name
        for name, smallest, largest in _ranges(job)
        if name != job.space.name and smallest <= macs <= largest
    ]


def _ranges(job: Job) -> Iterator[tuple[str, int, int]]:
    """Every known space with the multiply-adds of its smallest and largest network."""
    for name, make in SPACES.items():
        try:
            space = make(job.data.image_size[0], job.data.channels, job.data.classes)
        except UserError:  # it does not take such images
            continue
        yield name, _macs(space, space.smallest), _macs(space, space.largest)


def _macs(space: Space, genome: np.ndarray) -> int:
    return int(np.sum(layer_costs(space.layers(genome)).macs))
