"""Elitist evolution as Once-for-All and RaptorNet search with it.

The best stay, half of the children are mutated, half are crossed.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxnas.algorithms.algorithm import AnySpace, Asked, initial_or_children
from jaxnas.algorithms.nsga2 import NSGA2, State
from jaxnas.algorithms.variation import without_duplicates
from jaxnas.errors import UserError
from jaxnas.plugins import leaves_unread
from jaxnas.types import PRNGKey


@leaves_unread("mutation")  # half of the children are mutated for certain, the others never
@dataclass(frozen=True)
class Elitist(NSGA2):
    """Survival as in NSGA-II, of one objective simply the best.

    Parents are drawn from the best quarter, uniformly.

    The first half of the children are mutated copies of a parent, the second half are crossed from
    two and not mutated (Cai et al., "Once for All", ICLR 2020, appendix; Castagnetti et al. rank by
    multiply-adds under a latency limit).
    """

    objectives: int = 1
    """Columns of the fitness."""
    parents: float = 0.25
    """Share of the members that children descend from."""

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.parents <= 1:
            raise UserError(
                f"parents must be a share above 0 and at most 1, got {self.parents}; set one"
            )

    def ask(self, key: PRNGKey, space: AnySpace, state: State) -> Asked:
        parents_key, mutation_key, cross_key, duplicates_key = jax.random.split(key, 4)
        best = max(2, round(self.parents * self.population))
        # Members are sorted, best first.
        one, other = jax.random.randint(parents_key, (2, self.population), 0, best, jnp.int32)
        half = jnp.arange(self.population) < (self.population + 1) // 2
        mutated = self.variation.change(mutation_key, space, state.genomes[one], half)
        crossed, _, exchanged = self.variation.cross(
            cross_key, space, state.genomes[one], state.genomes[other]
        )
        children = jnp.where(half[:, None], mutated, crossed)
        parents = jnp.stack(
            [state.rows[one], jnp.where(~half & exchanged, state.rows[other], -1)], axis=1
        )
        if self.avoid_duplicates:
            children = without_duplicates(
                duplicates_key, space, self.variation, children, state.seen
            )
        return initial_or_children(state, Asked(children, parents))
