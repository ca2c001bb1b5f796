"""What a search minimises: objectives by name, and the fitness that they are for a population."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from jaxnas.data.augment import Augmentation
from jaxnas.hardware.device import Device
from jaxnas.numerics.analog import InMemory
from jaxnas.numerics.numerics import Numerics
from jaxnas.predictors.predictor import Model
from jaxnas.spaces.space import Space
from jaxnas.supernets.supernet import Params, Supernet
from jaxnas.training.evaluate import FLOAT32, Examples
from jaxnas.training.evaluate_analog import Trials
from jaxnas.training.parallel import dealt
from jaxnas.training.population import HybridConfig
from jaxnas.training.views import Images
from jaxnas.types import Fitness, Genomes, PRNGKey


class EvaluationInputs(NamedTuple):
    """Arrays that objectives read, an argument of the compiled program.

    Captured, they would be compiled in.
    """

    params: Params
    models: dict[str, Model]  # fitted predictors, by the objective that each predicts
    static: Int[Array, ""]  # choice of the static gene (resolution) that `examples` have
    examples: Examples
    training: Images | None = None  # None where no objective trains candidates


# Figures of each genome that several objectives are made of.
Evaluation = Callable[[Genomes, EvaluationInputs], Array]


@dataclass(frozen=True)
class Objective:
    """One figure to be minimised, of each genome."""

    name: str
    """Of its column, as `SearchConfig.objectives` has it."""
    unit: str
    label: str
    """For the axis of a figure, with the unit."""
    measure: Callable[[Genomes, EvaluationInputs], Float[Array, "n"]]
    """Traced. NaN where the evaluation failed."""
    shared: tuple[Evaluation, Callable[[Array], Float[Array, "n"]]] | None = None
    """The same in two steps, of which others may share the first."""


@dataclass(frozen=True)
class Context:
    """What an objective is made for: the run's networks, its device, and how errors are evaluated.

    An entry of `config.OBJECTIVES` is a function of it.
    """

    net: Supernet
    device: Device
    numerics: Numerics = FLOAT32
    """What the networks compute in."""
    hybrid: HybridConfig = field(default_factory=HybridConfig)
    """The training that each candidate gets before it is evaluated; by default none."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    key: PRNGKey | None = None
    """Of that training."""
    mesh: Mesh | None = None
    memory_gib: float | None = None
    analog: tuple[InMemory, Trials] | None = None
    """The memory in which analog objectives compute, and how it is tried."""
    shared: dict[str, Evaluation] = field(default_factory=dict)
    """What objectives of this context have in common, by a name of theirs."""

    @property
    def space(self) -> Space:
        return self.net.space


def fitness(
    space: Space,
    objectives: Sequence[Objective],
    inputs: Sequence[EvaluationInputs],
    mesh: Mesh | None = None,
) -> Callable[[Int[np.ndarray, "n genes"]], Float[np.ndarray, "n objectives"]]:
    """The function that a search calls: genomes to fitness, a column an objective.

    One compiled call for each of the static gene's choices. `inputs` has one entry per choice.
    Populations of one size share one program per choice, whatever they hold: candidates of another
    choice are skipped, not evaluated. With a `mesh`, candidates are spread by their MACs.
    """
    devices = 1 if mesh is None else mesh.size
    program = jax.jit(partial(_fitness, tuple(objectives)))

    def evaluate(genomes: Int[np.ndarray, "n genes"]) -> Float[np.ndarray, "n objectives"]:
        choices = space.resolution_choices(genomes)
        order = dealt(
            np.where(choices >= 0, np.asarray(space.costs(genomes).macs, np.float64), 0), devices
        )
        rows = jnp.asarray(np.where(order[:, None] < 0, -1, genomes[order]))
        found = [
            (choice, program(rows, one))
            for choice, one in enumerate(inputs)
            if (choices == choice).any()
        ]
        result = np.full((len(genomes), len(objectives)), np.nan, np.float32)
        # All programs run by now: a device that is done with one goes on with the next.
        for choice, values in found:
            mine = (order >= 0) & (choices[order] == choice)
            result[order[mine]] = np.asarray(values)[mine]
        return result

    return evaluate


def _fitness(
    objectives: tuple[Objective, ...], genomes: Genomes, inputs: EvaluationInputs
) -> Fitness:
    distinct = dict.fromkeys(one.shared[0] for one in objectives if one.shared is not None)
    made = {evaluate: evaluate(genomes, inputs) for evaluate in distinct}
    columns = [
        one.measure(genomes, inputs) if one.shared is None else one.shared[1](made[one.shared[0]])
        for one in objectives
    ]
    return jnp.stack(columns, axis=1)
