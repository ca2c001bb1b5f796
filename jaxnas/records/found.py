"""doubt.npz: what a search that asked the device has found."""

import jax.numpy as jnp
import numpy as np

from jaxnas.predictors.predictor import Prediction
from jaxnas.profiling.active_search import Found
from jaxnas.records.arrays import Arrays, check_choices, check_finite, check_kinds
from jaxnas.records.reading import reading
from jaxnas.records.run_directory import RunDirectory
from jaxnas.spaces.genomes import check_genomes
from jaxnas.spaces.space import Space

FOUND = "doubt.npz"
COLUMNS = {
    "error": "f",
    "mean_ms": "f",
    "low_ms": "f",
    "high_ms": "f",
    "measured_ms": "f",
    "measured": "b",
}
KINDS = {"genomes": "iu", "rounds": "iu", "doubtful": "iu", **COLUMNS}


def read_found(run: RunDirectory, space: Space | None = None) -> Found:
    """Candidates and measured networks, each once; of the `space`, where it is given."""
    arrays = run.read_npz(FOUND)
    with reading(run, FOUND):
        _check(arrays)
        if space is not None:
            check_genomes(space, arrays["genomes"])
        predicted = (jnp.asarray(arrays[name]) for name in ("mean_ms", "low_ms", "high_ms"))
        return Found(
            arrays["genomes"],
            arrays["error"],
            Prediction(*predicted),
            arrays["measured_ms"],
            arrays["measured"],
            int(arrays["rounds"]),
            int(arrays["doubtful"]),
        )


def write_found(run: RunDirectory, found: Found) -> None:
    """Write all of it."""
    mean_ms, low_ms, high_ms = map(np.asarray, found.predicted)
    run.write_npz(
        FOUND,
        genomes=found.genomes,
        error=found.error,
        mean_ms=mean_ms,
        low_ms=low_ms,
        high_ms=high_ms,
        measured_ms=found.measured_ms,
        measured=found.measured,
        rounds=found.rounds,
        doubtful=found.undecided,
    )


def _check(arrays: Arrays) -> None:
    check_kinds(arrays, KINDS)
    n = len(arrays["genomes"])
    shapes = {arrays[name].shape for name in COLUMNS}
    counts = arrays["rounds"].shape == arrays["doubtful"].shape == ()
    if not n or arrays["genomes"].ndim != 2 or shapes != {(n,)} or not counts:
        raise ValueError(f"arrays of shapes {arrays['genomes'].shape} and {shapes}, not candidates")
    check_choices(arrays["genomes"])
    check_finite(arrays["error"][:, None])
    check_finite(arrays["mean_ms"][:, None])
    if not np.isfinite(arrays["measured_ms"][arrays["measured"]]).any():
        raise ValueError("no network that was measured")
