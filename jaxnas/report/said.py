"""What algorithms say of themselves (`figures_of`): curves, and predicted against observed."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxnas.predictors.metrics import kendall

PREDICTED = "predicted"  # the figure that is drawn against the fitness
LABELS = {  # in this order; others come after these
    "reward": "mean reward of a generation",
    "entropy": "entropy (share of the most)",
    "acquisition": "best acquisition value",
}


class Said(NamedTuple):
    """The figures of one algorithm, and its evaluations after each generation."""

    evaluations: Int[np.ndarray, "g"]
    figures: Mapping[str, Float[np.ndarray, "seeds g *each"]]
    fitness: Float[np.ndarray, "seeds n objectives"]

    @property
    def curves(self) -> dict[str, Float[np.ndarray, "seeds g"]]:
        """Those of a number each generation, if any is known."""
        return {
            name: array
            for name, array in self.figures.items()
            if array.ndim == 2 and np.isfinite(array).any()
        }

    @property
    def predicted(self) -> Float[np.ndarray, "seeds n objectives"] | None:
        """What was expected of each candidate, NaN where nothing was; None: of no candidate."""
        array = self.figures.get(PREDICTED)
        seeds, n, objectives = self.fitness.shape
        # Of a formulation one column is predicted, which nobody has observed.
        if array is None or array.shape[-1] < objectives or not np.isfinite(array).any():
            return None
        return array.reshape(seeds, n, -1)[..., :objectives]

    def pairs(self, objective: int) -> list[Float[np.ndarray, "2 k"]]:
        """Of each seed, what was predicted and observed where both are known."""
        assert self.predicted is not None
        both = np.stack([self.predicted[..., objective], self.fitness[..., objective]], axis=1)
        return [each[:, np.isfinite(each).all(axis=0)] for each in both]

    def correlation(self, objective: int) -> float:
        """Kendall's tau of predicted and observed, the median of the seeds."""
        return float(np.median([kendall(*pair) for pair in self.pairs(objective)]))


def figure_names(said: Mapping[str, Said]) -> dict[str, str]:
    """The curves that any algorithm has, in order, and their labels."""
    found = dict.fromkeys(name for one in said.values() for name in one.curves)
    first = {name: label for name, label in LABELS.items() if name in found}
    return first | {name: name for name in found if name not in first}
