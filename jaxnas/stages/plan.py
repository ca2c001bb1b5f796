"""What of a run is still to be measured, from its settings and what measurements.csv holds."""

from typing import NamedTuple

import jax
import numpy as np

from jaxnas.profiling.active_profile import ActiveProfile, Step, covering_sample, uniform_sample
from jaxnas.profiling.rounds import unsettled
from jaxnas.records.measurements import MEASURED, Profiled, by_network, read_measurements
from jaxnas.records.reading import reading
from jaxnas.spaces.genomes import check_genomes, key_of
from jaxnas.stages.job import Job


class Todo(NamedTuple):
    """A measurement to be made."""

    turn: int
    split: str
    genome: np.ndarray


Plan = list[tuple[str, np.ndarray]]  # splits and genomes, in order


def unmeasured(job: Job) -> tuple[list[Todo], Step | None]:
    """What measurements.csv lacks, in order; and the step of an active profile.

    First the whole plan, or the profile's next batch; then more rounds of unsettled networks.
    """
    rows = read_measurements(job.run)
    networks = by_network(rows)
    again = _unsettled(job, networks)
    if again:
        return again, None
    plan, step = (
        (_plan(job), None) if job.config.profile.until is None else growing_plan(job, networks)
    )
    measured = {(row.turn, key_of(row.genome)) for row in rows}
    todo = [
        Todo(turn, split, genome)
        for turn in range(job.config.profile.rounds)
        for split, genome in plan
        if (turn, key_of(genome)) not in measured
    ]
    return todo, step


def _unsettled(job: Job, networks: list[Profiled]) -> list[Todo]:
    """Another round of the networks whose fastest two differ too much.

    Empty until every network that was started has all its rounds.
    """
    settings = job.config.profile
    if any(len(one.rounds) < settings.rounds for one in networks):
        return []
    return [
        Todo(len(one.rounds), one.split, one.genome)
        for one in networks
        if unsettled(settings, len(one.rounds), one.latencies_ms)
    ]


def growing_plan(job: Job, networks: list[Profiled]) -> tuple[Plan, Step]:
    """What the active profile measures after these networks.

    Of three fresh networks two are for validation, one is for test; others train. The profile does
    not see the latencies of test networks, so that they neither choose what is measured nor end it.
    A network that lacks rounds is not measured yet: it is still part of the last batch.
    """
    whole = [one for one in networks if len(one.rounds) >= job.config.profile.rounds]
    with reading(job.run, MEASURED):
        genomes = np.array([one.genome for one in whole], np.int32).reshape(
            len(whole), len(job.space.genes)
        )
        check_genomes(job.space, genomes)
    latency_ms = [np.nan if one.split == "test" else one.latency_ms for one in whole]
    fresh = np.array([one.split != "train" for one in whole], bool)
    step = _active_profile(job).step(
        job.key("plan"), genomes, np.array(latency_ms, np.float64), fresh
    )
    third = (fresh.sum() + np.cumsum(step.fresh)) % 3 == 2
    splits = np.where(step.fresh, np.where(third, "test", "validation"), "train")
    return list(zip(splits.tolist(), step.genomes, strict=True)), step


def _active_profile(job: Job) -> ActiveProfile:
    until = job.config.profile.until
    assert until is not None
    return ActiveProfile(job.space, until, most_networks(job))


def most_networks(job: Job) -> int:
    """Networks of the whole plan, or of an active profile that never ends early."""
    settings = job.config.profile
    return settings.train + settings.validation + settings.test


def _plan(job: Job) -> Plan:
    """What to measure, in order.

    Splits are shuffled together, so that a drift of the machine hits them alike.
    """
    settings = job.config.profile
    keys = jax.random.split(job.key("plan"), 3)
    cover = np.asarray(covering_sample(keys[0], job.space, settings.train))
    uniform = np.asarray(
        uniform_sample(keys[1], job.space, settings.validation + settings.test, cover)
    )
    splits = (
        ["train"] * len(cover) + ["validation"] * settings.validation + ["test"] * settings.test
    )
    order = np.asarray(jax.random.permutation(keys[2], len(splits)))
    genomes = np.concatenate([cover, uniform])
    return [(splits[i], genomes[i]) for i in order]
