"""What every search algorithm is: a frozen dataclass of settings with init / ask / tell, all pure and jittable."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxnas.spaces.box import Box
from jaxnas.spaces.space import Space
from jaxnas.types import Fitness, Genomes, Parents, PRNGKey

AnySpace = Space | Box
State = Any  # a pytree of fixed shapes, each algorithm's own


class Asked(NamedTuple):
    """Candidates to evaluate, and the archive rows (order of evaluation, from 0) that they descend from, for candidates.npz."""

    genomes: Genomes
    parents: Parents


@runtime_checkable
class Algorithm(Protocol):
    """`population` candidates are asked for, evaluated and told, generation after generation.

    The settings are the dataclass itself, so equal settings share one compiled program. Nothing in here sees a
    network: fitness is an array, smaller is better, NaN means that the evaluation failed.
    """

    @property
    def population(self) -> int: ...

    def init(self, key: PRNGKey, space: AnySpace) -> State: ...

    def ask(self, key: PRNGKey, space: AnySpace, state: State) -> Asked: ...

    def tell(self, space: AnySpace, state: State, asked: Asked, fitness: Fitness) -> State: ...
