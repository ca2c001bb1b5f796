"""candidates.npz and random.npz: what a search has evaluated, generation by generation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxnas.algorithms import pareto
from jaxnas.algorithms.loop import ROWS, Archive
from jaxnas.objectives import costs, energy, latency
from jaxnas.objectives.columns import Columns
from jaxnas.records.arrays import Arrays, check_choices, check_finite, check_kinds
from jaxnas.records.reading import reading
from jaxnas.records.run_directory import RunDirectory
from jaxnas.spaces.genomes import check_genomes
from jaxnas.spaces.space import Space

CANDIDATES = "candidates.npz"
RANDOM = "random.npz"
# Kinds of NumPy's.
KINDS = {"genomes": "iu", "fitness": "f", "generation": "iu", "parents": "iu"}
YOUNGER = {"feasible": "b", "network": "iu"}  # which older runs lack
FIGURE = "figure_"  # begins the names of what the algorithm says of itself
# Of objectives, which older runs do not have in their files.
LABELS = {latency.NAME: latency.LABEL, "energy_uj": energy.LABEL, **costs.LABELS}


@dataclass(frozen=True)
class Searched:
    """The candidates of a search, a row each; NaN where an evaluation failed."""

    archive: Archive
    labels: dict[str, str]  # what each objective is, for people; in the order of the columns
    feasible: Bool[np.ndarray, "n"] | None = None  # None: an older run
    network: Int[np.ndarray, "n"] | None = None  # its number; None before the search is complete
    constraints: Columns | None = None  # figures that have a bound and are not minimised
    seconds: float | None = None  # that it took so far, where they are limited

    @property
    def columns(self) -> Columns:
        """Fitness by name."""
        return Columns(tuple(self.labels), self.archive.fitness)

    @property
    def counted(self) -> Columns:
        """Fitness by name of the candidates that may be on the front.

        Of a search under constraints the feasible ones; NaN of the others.
        """
        if self.constraints is None or self.feasible is None:
            return self.columns
        fitness = np.where(self.feasible[:, None], self.archive.fitness, np.nan)
        return Columns(tuple(self.labels), fitness)

    @property
    def whole(self) -> Columns:
        """Fitness, and after it the constraints, by name: what the search was told."""
        if self.constraints is None:
            return self.columns
        fitness = np.concatenate([self.archive.fitness, self.constraints.fitness], axis=1)
        return Columns((*self.labels, *self.constraints.names), fitness)

    @property
    def front(self) -> Int[np.ndarray, "front"]:
        """The rows on the front, one of each network."""
        rows = pareto.front_rows(self.counted.fitness)
        if self.network is None:
            return rows
        return rows[np.sort(np.unique(self.network[rows], return_index=True)[1])]

    def __getitem__(self, objective: str) -> Float[np.ndarray, "n"]:
        return self.columns[objective]


def read_searched(
    run: RunDirectory,
    file: str,
    space: Space | None = None,
    objectives: Sequence[str] | None = None,
) -> Searched:
    """What a search has evaluated so far.

    It must be of the `space`, and of the `objectives`, where these are given.
    """
    arrays = run.read_npz(file)
    with reading(run, file):
        _check(arrays)
        labels = _labels(arrays)
        if objectives is not None and tuple(labels) != tuple(objectives):
            raise ValueError(f"objectives {tuple(labels)}, where the settings name {objectives}")
        if space is not None:
            check_genomes(space, arrays["genomes"])
        return Searched(
            archive_from(arrays),
            labels,
            **{name: arrays.get(name) for name in YOUNGER},
            constraints=_constraints(arrays, labels),
            seconds=float(arrays["seconds"]) if "seconds" in arrays else None,
        )


def write_searched(run: RunDirectory, file: str, searched: Searched, seed: int) -> None:
    """Write all of it."""
    younger = {"feasible": searched.feasible, "network": searched.network}
    younger |= {"seconds": None if searched.seconds is None else np.float64(searched.seconds)}
    if searched.constraints is not None:
        younger["constraints"] = np.array(searched.constraints.names)
        younger["constrained"] = searched.constraints.fitness
    run.write_npz(
        file,
        **arrays_of(searched.archive),
        **{name: array for name, array in younger.items() if array is not None},
        seed=np.int64(seed),
        objectives=np.array(list(searched.labels)),
        labels=np.array(list(searched.labels.values())),
    )


def arrays_of(archive: Archive) -> Arrays:
    """An archive as the arrays of a file."""
    rows = {name: getattr(archive, name) for name in ROWS}
    figures = {f"{FIGURE}{name}": array for name, array in archive.figures.items()}
    stopped = {} if archive.stopped is None else {"stopped": np.array(archive.stopped)}
    return rows | figures | stopped


def archive_from(arrays: Arrays) -> Archive:
    """The archive that a file holds.

    Raises:
        KeyError, TypeError, ValueError: it holds none.
    """
    figures = {
        name.removeprefix(FIGURE): array
        for name, array in arrays.items()
        if name.startswith(FIGURE)
    }
    generations = int(arrays["generation"][-1]) + 1
    if any(len(array) != generations or array.dtype.kind != "f" for array in figures.values()):
        raise ValueError(f"figures {' '.join(figures)} are no numbers of {generations} generations")
    stopped = str(arrays["stopped"]) if "stopped" in arrays else None
    return Archive(**{name: arrays[name] for name in ROWS}, figures=figures, stopped=stopped)


def _labels(arrays: Arrays) -> dict[str, str]:
    names = [str(name) for name in arrays.get("objectives", ("error", "latency_ms"))]
    columns = arrays["fitness"].shape[1]
    if len(set(names)) != columns or "error" not in names:
        raise ValueError(f"{columns} objectives, where the names are {' '.join(names)}")
    if "labels" in arrays:
        return dict(zip(names, map(str, arrays["labels"]), strict=True))
    return {name: LABELS.get(name, name) for name in names}


def _constraints(arrays: Arrays, labels: dict[str, str]) -> Columns | None:
    """None where there are none."""
    if "constraints" not in arrays:
        return None
    names = tuple(map(str, arrays["constraints"]))
    figures = arrays["constrained"]
    shape = (len(arrays["genomes"]), len(names))
    if (
        figures.dtype.kind != "f"
        or figures.shape != shape
        or len({*names, *labels}) < len(names) + len(labels)
    ):
        raise ValueError(f"constraints {' '.join(names)} with figures of shape {figures.shape}")
    check_finite(figures)
    return Columns(names, figures)


def _check(arrays: Arrays) -> None:
    check_kinds(arrays, KINDS)
    n = len(arrays["genomes"])
    shapes = [arrays[name].shape for name in KINDS]
    genes, objectives = (arrays[name].shape[-1] for name in ("genomes", "fitness"))
    if not n or shapes != [(n, genes), (n, objectives), (n,), (n, 2)] or objectives < 2:
        raise ValueError(f"arrays of shapes {shapes}, not candidates")
    check_choices(arrays["genomes"])
    check_finite(arrays["fitness"])
    turns = np.diff(arrays["generation"], prepend=-1)
    if turns[0] != 1 or not np.isin(turns[1:], (0, 1)).all():
        raise ValueError("generations that do not follow each other")
    if not ((arrays["parents"] >= -1) & (arrays["parents"] < n)).all():
        raise ValueError("parents that are no candidates")
    younger = {name: kind for name, kind in YOUNGER.items() if name in arrays}
    check_kinds(arrays, younger)
    if any(arrays[name].shape != (n,) for name in younger):
        raise ValueError(f"{' or '.join(younger)} not of each candidate")
