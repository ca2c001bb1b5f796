"""selection.npz: the networks of the front, ranked anew on images that the search has not seen."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxnas.records.arrays import check_choices, check_finite, check_kinds
from jaxnas.records.reading import reading
from jaxnas.records.run_directory import RunDirectory

SELECTION = "selection.npz"
KINDS = {"genomes": "iu", "search_error": "f", "selection_error": "f"}


class Selection(NamedTuple):
    """Networks with their errors on two splits, as shares; NaN where an evaluation failed."""

    genomes: Int[np.ndarray, "n genes"]
    search_error: Float[np.ndarray, "n"]
    selection_error: Float[np.ndarray, "n"]


def read_selection(run: RunDirectory) -> Selection | None:
    """None where no images were held out."""
    if not run.exists(SELECTION):
        return None
    arrays = run.read_npz(SELECTION)
    with reading(run, SELECTION):
        check_kinds(arrays, KINDS)
        genomes, *errors = (arrays[name] for name in KINDS)
        n = len(genomes)
        if not n or genomes.ndim != 2 or any(one.shape != (n,) for one in errors):
            raise ValueError(f"arrays of shapes {[arrays[name].shape for name in KINDS]}")
        check_choices(genomes)
        both = np.stack(errors, axis=1)
        check_finite(both)
        if not (np.isnan(both) | ((both >= 0) & (both <= 1))).all():
            raise ValueError("errors that are no shares")
        return Selection(genomes, *errors)


def write_selection(run: RunDirectory, selection: Selection) -> None:
    """Write all of it."""
    run.write_npz(SELECTION, **selection._asdict())
