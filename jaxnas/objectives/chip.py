"""What the chip costs that is chosen with the network: its local memory."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.errors import UserError
from jaxnas.hardware.cost_model import cost_model
from jaxnas.hardware.elastic_chip import ElasticChip, chip_of
from jaxnas.objectives.objective import Context, EvaluationInputs, Objective
from jaxnas.spaces.space import Space
from jaxnas.types import Genome, Genomes

NAME = "chip_kib"
LABEL = "local memory of the chip (KiB)"


def memory(context: Context) -> Objective:
    """Local memory of a chip that is searched with the network.

    A `UserError` where the device leaves none to be chosen.
    """
    model = cost_model(context.device)
    chosen = [name for name, _ in model.choices] if isinstance(model, ElasticChip) else []
    if not isinstance(model, ElasticChip) or not {*chosen} & {*model.chip.memories}:
        raise UserError(
            f"{NAME} asks how much memory a chip gets, and the device {context.device.name} leaves "
            "none to be chosen: leave the objective out, or name a .toml file with a list of "
            "memory_bytes"
        )
    return chosen_memory(context.space, model)


def chosen_memory(space: Space, model: ElasticChip) -> Objective:
    """KiB of all local memories of the chip of each genome."""

    def measure(genomes: Genomes, inputs: EvaluationInputs) -> Float[Array, "n"]:
        def kib(genome: Genome) -> Float[Array, ""]:
            chip = chip_of(model, space, genome)
            sizes = [jnp.float32(getattr(chip, name)) for name in model.chip.memories]
            return jnp.stack(sizes).sum() / 1024

        return jax.vmap(kib)(genomes)

    return Objective(NAME, "KiB", LABEL, measure)
