"""The energy of one image, of a device that is a model and gives account of it."""

import jax
from jaxtyping import Array, Float

from jaxnas.hardware.cost_model import CostModel, model_with
from jaxnas.hardware.elastic_chip import chip_of
from jaxnas.objectives.objective import Context, EvaluationInputs, Objective
from jaxnas.spaces.space import Space
from jaxnas.types import Genomes

NAME = "energy_uj"
LABEL = "energy (uJ)"


def energy(context: Context) -> Objective:
    """Microjoules of one image, of a device that models them.

    A `UserError` where it does not.
    """
    return modelled_energy(context.space, model_with(context.device, NAME))


def modelled_energy(space: Space, model: CostModel) -> Objective:
    """Energy of one image in uJ as the device's model has it, on the chip of each genome."""

    def measure(genomes: Genomes, inputs: EvaluationInputs) -> Float[Array, "n"]:
        return jax.vmap(
            lambda genome: chip_of(model, space, genome)(space.layers(genome)).figures[NAME]
        )(genomes)

    return Objective(NAME, "uJ", LABEL, measure)
