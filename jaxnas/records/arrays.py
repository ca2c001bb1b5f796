"""What arrays of a run's npz files may hold; what they may not is a `TypeError` or `ValueError`."""

from collections.abc import Mapping

import numpy as np

Arrays = dict[str, np.ndarray]


def check_kinds(arrays: Arrays, kinds: Mapping[str, str]) -> None:
    """Each named array must be there, and of one of NumPy's kinds: `i` `u` `f` `b` `U`."""
    for name, kind in kinds.items():
        if arrays[name].dtype.kind not in kind:
            raise TypeError(f"{name} of {arrays[name].dtype}")


def check_choices(genomes: np.ndarray) -> None:
    """No choice may be one that no gene has."""
    if genomes.min() < 0 or genomes.max() >= 2**31:
        raise ValueError("choices that no gene has")


def check_finite(fitness: np.ndarray) -> None:
    """A row must be finite, or NaN where its evaluation failed; one at least must be finite."""
    if np.isinf(fitness).any() or np.isnan(fitness).any(axis=1).all():
        raise ValueError("no candidate whose evaluation is finite")
