"""When a run's search ends before its last generation, by its settings."""

import jax.numpy as jnp
import numpy as np

from jaxnas.algorithms.loop import Archive
from jaxnas.algorithms.stopping import Budget, stalled
from jaxnas.config import SearchConfig, make_formulation
from jaxnas.records.candidates import Searched
from jaxnas.stages.evaluation import feasible


class Stop:
    """Asked after each generation; of a search that is taken up again with what is recorded."""

    def __init__(self, settings: SearchConfig, recorded: Searched | None = None):
        self.settings = settings
        before = 0.0 if recorded is None else recorded.seconds or 0.0
        self.budget = None if settings.seconds is None else Budget(settings.seconds, before)

    @property
    def spent(self) -> float | None:
        """Seconds of the search so far, where they are limited."""
        return None if self.budget is None else self.budget.spent

    def __call__(self, archive: Archive) -> str | None:
        """Why the search ends here; None: it goes on, or this is its last generation.

        The archive's fitness has a column for each constraint after the objectives.
        """
        settings = self.settings
        if int(archive.generation[-1]) + 1 == settings.generations:
            return None
        if settings.patience is not None and (reason := self._stalled(archive, settings.patience)):
            return reason
        return None if self.budget is None else self.budget.exceeded()

    def _stalled(self, archive: Archive, patience: int) -> str | None:
        """By the hypervolume; under a formulation by its best value, which is what is sought."""
        settings = self.settings
        kept = feasible(archive.fitness, settings)
        fitness = archive.fitness[:, : len(settings.objectives)]
        if settings.formulation is None:
            return stalled(archive._replace(fitness=fitness), kept, patience)
        value = make_formulation(settings.formulation)(jnp.asarray(fitness, jnp.float32))
        column = np.asarray(value)[:, None]
        if stalled(archive._replace(fitness=column), kept, patience) is None:
            return None
        return f"the best by {settings.formulation} had not improved for {patience}"
