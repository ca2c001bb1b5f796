"""Fitness by name: nobody needs to know which column an objective is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Columns:
    """Fitness, and the names of its columns.

    >>> columns = Columns(("error", "mmacs"), np.array([[0.1, 5.0], [0.2, 3.0]]))
    >>> columns["mmacs"].tolist()
    [5.0, 3.0]
    """

    names: tuple[str, ...]
    fitness: Float[np.ndarray, "n objectives"]

    def __getitem__(self, name: str) -> Float[np.ndarray, "n"]:
        return self.fitness[:, self.names.index(name)]

    @property
    def costs(self) -> tuple[str, ...]:
        """The names but the error's."""
        return tuple(name for name in self.names if name != "error")

    def but(self, **changed: Float[np.ndarray, "n"]) -> "Columns":
        """The same with other values in some columns."""
        return joined(self.names, {name: self[name] for name in self.names} | changed)


def joined(names: Sequence[str], values: Mapping[str, Float[np.ndarray, "n"]]) -> Columns:
    """Named values as fitness, in this order."""
    return Columns(tuple(names), np.stack([values[name] for name in names], axis=1))
