"""The arrays of a run: what a search has evaluated."""

import numpy as np

from jaxnas.objectives import costs, energy, latency
from jaxnas.objectives.columns import Columns
from jaxnas.records.reading import reading
from jaxnas.records.run_directory import RunDirectory

Arrays = dict[str, np.ndarray]

# Kinds of NumPy's.
EVALUATED = {"genomes": "iu", "fitness": "f", "generation": "iu", "parents": "iu"}
# Of objectives, which older runs do not have in their files.
LABELS = {latency.NAME: latency.LABEL, "energy_uj": energy.LABEL, **costs.LABELS}
YOUNGER = {"network": "iu", "feasible": "b"}  # which older runs lack
SELECTED = {"genomes": "iu", "search_error": "f", "selection_error": "f"}
ANSWERS = {"names": "U", "labels": "iu", "float32": "i", "int8": "i"}
DOUBT = {
    "error": "f",
    "mean_ms": "f",
    "low_ms": "f",
    "high_ms": "f",
    "measured_ms": "f",
    "measured": "b",
}


def read_candidates(run: RunDirectory, file: str) -> Arrays:
    """candidates.npz or random.npz: a row for each candidate, generation by generation.

    NaN where an evaluation failed.
    """
    arrays = run.read_npz(file)
    with reading(run, file):
        _check_kinds(arrays, EVALUATED)
        n = len(arrays["genomes"])
        shapes = [arrays[name].shape for name in EVALUATED]
        genes, objectives = (arrays[name].shape[-1] for name in ("genomes", "fitness"))
        if not n or shapes != [(n, genes), (n, objectives), (n,), (n, 2)] or objectives < 2:
            raise ValueError(f"arrays of shapes {shapes}, not candidates")
        _check_genomes(arrays["genomes"])
        _check_fitness(arrays["fitness"])
        turns = np.diff(arrays["generation"], prepend=-1)
        if turns[0] != 1 or not np.isin(turns[1:], (0, 1)).all():
            raise ValueError("generations that do not follow each other")
        if not ((arrays["parents"] >= -1) & (arrays["parents"] < n)).all():
            raise ValueError("parents that are no candidates")
        younger = {name: kind for name, kind in YOUNGER.items() if name in arrays}
        _check_kinds(arrays, younger)
        if any(arrays[name].shape != (n,) for name in younger):
            raise ValueError(f"{' or '.join(younger)} not of each candidate")
    return arrays


def columns_of(arrays: Arrays) -> Columns:
    """The fitness of candidates.npz or random.npz by name."""
    fitness = arrays["fitness"]
    names = tuple(map(str, arrays.get("objectives", ("error", "latency_ms"))))
    if len(names) != fitness.shape[1] or "error" not in names:
        raise ValueError(f"{fitness.shape[1]} objectives, where the names are {' '.join(names)}")
    return Columns(names, fitness)


def labels_of(arrays: Arrays) -> dict[str, str]:
    """What each objective of candidates.npz is, for people."""
    names = columns_of(arrays).names
    if "labels" in arrays:
        return dict(zip(names, map(str, arrays["labels"]), strict=True))
    return {name: LABELS.get(name, name) for name in names}


def read_doubt(run: RunDirectory) -> Arrays:
    """doubt.npz: candidates and measured networks, each once."""
    arrays = run.read_npz("doubt.npz")
    with reading(run, "doubt.npz"):
        _check_kinds(arrays, {"genomes": "iu", "rounds": "iu", "doubtful": "iu", **DOUBT})
        n = len(arrays["genomes"])
        shapes = {arrays[name].shape for name in DOUBT}
        if (
            not n
            or arrays["genomes"].ndim != 2
            or shapes != {(n,)}
            or arrays["rounds"].shape
            or arrays["doubtful"].shape
        ):
            raise ValueError(
                f"arrays of shapes {arrays['genomes'].shape} and {shapes}, not candidates"
            )
        _check_genomes(arrays["genomes"])
        _check_fitness(arrays["error"][:, None])
        _check_fitness(arrays["mean_ms"][:, None])
        if not np.isfinite(arrays["measured_ms"][arrays["measured"]]).any():
            raise ValueError("no network that was measured")
    return arrays


def read_selection(run: RunDirectory) -> Arrays | None:
    """selection.npz: the front's networks with their errors on two splits, as shares.

    None where no images were held out.
    """
    if not run.exists("selection.npz"):
        return None
    arrays = run.read_npz("selection.npz")
    with reading(run, "selection.npz"):
        _check_kinds(arrays, SELECTED)
        shapes = [arrays[name].shape for name in SELECTED]
        n = len(arrays["genomes"])
        if not n or arrays["genomes"].ndim != 2 or shapes[1:] != [(n,), (n,)]:
            raise ValueError(f"arrays of shapes {shapes}, not networks")
        _check_genomes(arrays["genomes"])
        errors = np.stack([arrays["search_error"], arrays["selection_error"]], axis=1)
        _check_fitness(errors)
        if not (np.isnan(errors) | ((errors >= 0) & (errors <= 1))).all():
            raise ValueError("errors that are no shares")
    return arrays


def read_answers(run: RunDirectory) -> Arrays:
    """answers.npz: each chosen network's class for every test image, -1 where it has no model.

    {} for older runs, which have none.
    """
    if not run.exists("answers.npz"):
        return {}
    arrays = run.read_npz("answers.npz")
    with reading(run, "answers.npz"):
        _check_kinds(arrays, ANSWERS)
        shapes = [arrays[name].shape for name in ANSWERS]
        each = (len(arrays["names"]), len(arrays["labels"]))
        if not all(each) or shapes != [each[:1], each[1:], each, each]:
            raise ValueError(f"arrays of shapes {shapes}, not answers")
    return arrays


def _check_kinds(arrays: Arrays, kinds: dict[str, str]) -> None:
    for name, kind in kinds.items():
        if arrays[name].dtype.kind not in kind:
            raise TypeError(f"{name} of {arrays[name].dtype}")


def _check_genomes(genomes: np.ndarray) -> None:
    if genomes.min() < 0 or genomes.max() >= 2**31:
        raise ValueError("choices that no gene has")


def _check_fitness(fitness: np.ndarray) -> None:
    if np.isinf(fitness).any() or np.isnan(fitness).any(axis=1).all():
        raise ValueError("no candidate whose evaluation is finite")
