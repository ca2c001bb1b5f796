"""Question: how much faster is NSGA-II as one compiled program than pymoo, evox and DEAP, and does
it find as much?

Command: jaxnas bench search   (or python experiments/bench/search.py), about 16 minutes on two
         cores

A figure "jaxnas / X" is how many times faster jaxnas is than X. Exit code 1 if a bar is missed.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from figures import Bar, Contender, Report, check_json, race, run_bench, timed
from scipy.stats import mannwhitneyu
from search_jaxnas import last_populations, make_archive, make_predicted_search
from search_problems import DTLZ2, INT31, ZDT1, ZDT2, ZDT3, Problem

from jaxnas.algorithms import pareto
from jaxnas.errors import UserError, how_to_install
from jaxnas.progress import progress


class Pace(NamedTuple):
    """One measurement of the time per generation."""

    population: int
    generations: int
    rounds: int
    evox: bool = True


@dataclass(frozen=True)
class Sizes:
    """How much work."""

    paces: tuple[Pace, ...]
    population: int  # of whole runs, and of those whose hypervolume counts
    generations: int
    rounds: int
    seeds: int
    points: int  # ranked at once
    reference: float  # of hypervolumes, in every objective


FULL = Sizes(
    (Pace(28, 500, 5), Pace(1000, 20, 5), Pace(10_000, 5, 3, evox=False)),
    100,
    250,
    5,
    15,
    10_000,
    1.1,
)
QUICK = Sizes((Pace(8, 5, 2), Pace(12, 3, 1, evox=False)), 12, 6, 2, 3, 100, 10.0)

TOLERANCES = {ZDT1: 0.1, ZDT2: 0.1, ZDT3: 0.1, DTLZ2: 0.5}  # percent of pymoo's median hypervolume
KEPT = "duplicates kept"
UNIQUE = "duplicates eliminated"
LEAST = {KEPT: {28: 15.0, 1000: 10.0, 10_000: 5.0}, UNIQUE: {28: 20.0, 1000: 20.0, 10_000: 40.0}}
PACE = "population {}, {}: jaxnas / pymoo"
WIN = "{}: hypervolume above pymoo's"
RANK = "rank: jaxnas / moocore"
SAME = "rank: same as moocore's"
LIMITS = {1: 0.1, 30: 1.0}  # seeds: seconds that a search by predictors alone may take, 28 x 50
PREDICTED = "predicted search, seeds {}"
UNDER = "predicted search, seeds {}: {:g} s / jaxnas"
BARS = (
    *(
        Bar(PACE.format(population, how), least)
        for how, bars in LEAST.items()
        for population, least in bars.items()
    ),
    Bar(RANK, 1 / 1.5),
    Bar(SAME, 1.0),
    *(Bar(UNDER.format(seeds, limit), 1.0) for seeds, limit in LIMITS.items()),
    *(Bar(WIN.format(problem.name), -percent) for problem, percent in TOLERANCES.items()),
)


@dataclass(frozen=True)
class Settings:
    """What is measured."""

    json: Path | None = None
    """Write the figures to this file too."""
    quick: bool = False
    """Try the bench itself with small populations: no bars, and figures that mean nothing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The bench; returns the exit code."""
    return run_bench("search", __doc__ or "", Settings, bench, arguments)


def bench(settings: Settings) -> Report:
    """All figures."""
    check_json(settings.json)
    peers = _peers()
    sizes = QUICK if settings.quick else FULL
    report = Report("search", _notes(sizes, peers), bars=() if settings.quick else BARS)
    rank(report, sizes, peers)
    for pace in sizes.paces:
        generation(report, pace, peers)
    whole_run(report, sizes, peers)
    predicted_search(report, sizes)
    for problem in TOLERANCES:
        quality(report, problem, sizes, peers)
    return report


def _peers() -> Any:
    """The peers' module."""
    try:
        import search_peers
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "evox", "deap", "pymoo", "moocore"):
            raise
        raise UserError(
            f"bench search compares with {error.name}, which is not installed: "
            f"{how_to_install('bench')}"
        ) from None
    return search_peers


def rank(report: Report, sizes: Sizes, peers: Any) -> None:
    """Ranks of random points, two objectives, ten times a round."""
    points = np.random.default_rng(0).random((sizes.points, 2), np.float32)
    ranked = jax.jit(pareto.rank)
    on_device = jax.device_put(points)
    doubles = points.astype(np.float64)
    same = np.array_equal(ranked(on_device), peers.pareto_rank(doubles))
    ours = Contender(
        "jaxnas", lambda: [jax.block_until_ready(ranked(on_device)) for _ in range(10)]
    )
    seconds, _ = race(
        "rank",
        [ours, Contender("moocore", lambda: [peers.pareto_rank(doubles) for _ in range(10)])],
        4 * sizes.rounds,
    )
    for name, taken in seconds.items():
        report.add(f"rank: {name}", "ms", *(100 * np.array(taken)))
    report.add(RANK, "x", *(np.array(seconds["moocore"]) / seconds["jaxnas"]))
    report.add(SAME, "of 1", same)


def generation(report: Report, pace: Pace, peers: Any) -> None:
    """Time per generation on the problem of 31 genes: whole runs over their generations."""
    entries = _contenders(INT31, pace.population, pace.generations, peers, pace.evox)
    title = f"population {pace.population}"
    seconds = _raced(report, title, entries, pace.rounds)
    for name, taken in seconds.items():
        report.add(f"{title}: {name}", "ms per generation", *(1000 / pace.generations * taken))
    for how in (KEPT, UNIQUE):
        report.add(
            PACE.format(pace.population, how),
            "x",
            *(seconds[f"pymoo, {how}"] / seconds[f"jaxnas, {how}"]),
        )
    for name in ("DEAP", "evox", "evox compiled"):
        if name in seconds:
            report.add(
                f"{title}: jaxnas, {KEPT} / {name}",
                "x",
                *(seconds[name] / seconds[f"jaxnas, {KEPT}"]),
            )


def whole_run(report: Report, sizes: Sizes, peers: Any) -> None:
    """ZDT1 from the first to the last generation; all seeds at once where a program can."""
    entries = _contenders(ZDT1, sizes.population, sizes.generations, peers, evox=True)
    together = f"jaxnas, {sizes.seeds} seeds"
    archive = make_archive(ZDT1, sizes.population, sizes.generations, unique=True)
    entries[together] = lambda _: archive(_keys(sizes.seeds))
    seconds = _raced(report, "whole run", entries, sizes.rounds)
    for name, taken in seconds.items():
        report.add(f"whole run: {name}", "s", *taken)
    for how in (KEPT, UNIQUE):
        report.add(
            f"whole run, {how}: jaxnas / pymoo",
            "x",
            *(seconds[f"pymoo, {how}"] / seconds[f"jaxnas, {how}"]),
        )
    report.add(
        f"whole run, {sizes.seeds} seeds: jaxnas / pymoo",
        "x",
        *(sizes.seeds * seconds[f"pymoo, {UNIQUE}"] / seconds[together]),
    )


def predicted_search(report: Report, sizes: Sizes) -> None:
    """A job's search with all objectives predicted: of one seed, and of many at once."""
    search = make_predicted_search(28, 50)
    entries = {PREDICTED.format(seeds): partial(search, _keys(seeds)) for seeds in LIMITS}
    first = {name: timed(run)[0] for name, run in entries.items()}
    seconds, _ = race(
        "predicted search",
        [Contender(name, run) for name, run in entries.items()],
        4 * sizes.rounds,
    )
    for seeds, limit in LIMITS.items():
        name = PREDICTED.format(seeds)
        report.add(f"{name}, first call", "s", first[name])
        report.add(name, "s", *seconds[name])
        report.add(UNDER.format(seeds, limit), "x", *(limit / np.array(seconds[name])))


def quality(report: Report, problem: Problem, sizes: Sizes, peers: Any) -> None:
    """Hypervolume of the last population over the seeds."""
    size = problem, sizes.population, sizes.generations
    found: dict[str, Any] = {
        f"jaxnas, {how}": last_populations(*size, _keys(sizes.seeds), how == UNIQUE)
        for how in (UNIQUE, KEPT)
    }
    runs = {
        "pymoo": peers.pymoo(*size, unique=True),
        "evox": peers.evox(*size, compiled=False),
        "DEAP": peers.deap(*size),
    }
    with progress(f"hypervolume of {problem.name}", sizes.seeds * len(runs)) as advance:
        for name, run in runs.items():
            found[name] = []
            for seed in range(sizes.seeds):
                found[name].append(run(seed))
                advance()
    reference = [sizes.reference] * problem.objectives
    volumes = {
        name: [peers.hypervolume(np.asarray(last, np.float64), ref=reference) for last in each]
        for name, each in found.items()
    }
    for name, each in volumes.items():
        report.add(f"{problem.name}: hypervolume, {name}", "", *each)
    ours = volumes[f"jaxnas, {UNIQUE}"]
    theirs = volumes["pymoo"]
    report.add(WIN.format(problem.name), "%", 100 * (np.median(ours) / np.median(theirs) - 1))
    for name, each in volumes.items():
        if name != "pymoo":
            report.add(
                f"{problem.name}: Mann-Whitney p, {name} and pymoo",
                "",
                mannwhitneyu(each, theirs).pvalue,
            )


def _contenders(
    problem: Problem, population: int, generations: int, peers: Any, evox: bool
) -> dict[str, Callable[[int], Any]]:
    """Runs by name, each called with a seed."""
    size = problem, population, generations
    entries = {}
    for how in (KEPT, UNIQUE):
        entries[f"jaxnas, {how}"] = partial(_one_seed, make_archive(*size, unique=how == UNIQUE))
        entries[f"pymoo, {how}"] = peers.pymoo(*size, unique=how == UNIQUE)
    entries["DEAP"] = peers.deap(*size)
    if evox:
        entries |= {
            "evox": peers.evox(*size, compiled=False),
            "evox compiled": peers.evox(*size, compiled=True),
        }
    return entries


def _one_seed(archive: Callable[[jax.Array], Any], seed: int) -> Any:
    return archive(jax.random.key(seed)[None])


def _keys(seeds: int) -> jax.Array:
    return jax.vmap(jax.random.key)(np.arange(seeds))


def _raced(
    report: Report, title: str, entries: dict[str, Callable[[int], Any]], rounds: int
) -> dict[str, np.ndarray]:
    """Seconds of whole runs.

    What the first call of those that compile takes longer is reported apart.
    """
    first = {
        name: timed(partial(run, 0))[0]
        for name, run in entries.items()
        if name.startswith("jaxnas") or name == "evox compiled"
    }
    seconds, _ = race(
        title, [Contender(name, partial(run, 0)) for name, run in entries.items()], rounds
    )
    for name, taken in first.items():
        report.add(f"{title}: {name}, first call", "s", taken)
        report.add(f"{title}: {name}, compile", "s", taken - float(np.median(seconds[name])))
    return {name: np.array(taken) for name, taken in seconds.items()}


def _notes(sizes: Sizes, peers: Any) -> dict[str, str]:
    paces = ", ".join(
        f"{pace.generations} generations at population {pace.population}" for pace in sizes.paces
    )
    return {
        "time per generation": (
            "whole runs of int31 over their generations, the initial one included, as many on "
            f"every side: {paces}"
        ),
        "operators on int31": (
            "jaxnas uniform crossover and harmonic mutation; pymoo SBX and polynomial mutation, "
            "rounded; evox the same, rounded where evaluated; DEAP uniform crossover and reset: "
            "they differ"
        ),
        "duplicates": "pymoo refills, jaxnas mutates again; evox and DEAP keep theirs",
        "whole run": (
            f"zdt1, population {sizes.population}, {sizes.generations} generations; pymoo takes "
            f"{sizes.seeds} times as long for {sizes.seeds} seeds as for one"
        ),
        "hypervolume": f"below {sizes.reference:g}, of the last population, {sizes.seeds} seeds; "
        f"{sizes.population * sizes.generations} evaluations; "
        "SBX index 15 and mutation index 20, but evox's defaults 20 and 20",
        "rank": f"{sizes.points:,} random points, 2 objectives",
        "evox": "its memory grows with the square of the population: not run at 10,000",
        "versions": ", ".join(f"{name} {version}" for name, version in peers.versions().items()),
        "threads": f"torch {peers.torch.get_num_threads()}, XLA's default",
        "compilation cache": os.environ.get("JAX_COMPILATION_CACHE_DIR", "off"),
        "load": f"{os.getloadavg()[0]:.1f} before the start: figures of a busy machine say little",
    }


if __name__ == "__main__":
    sys.exit(main())
