"""The latency of a network: as the fitted predictor has it, or as an analytic device has it."""

import jax
from jaxtyping import Array, Float

from jaxnas.hardware.cost_model import CostModel, cost_model
from jaxnas.hardware.elastic_chip import chip_of
from jaxnas.objectives.objective import Context, EvaluationInputs, Objective
from jaxnas.spaces.space import Space
from jaxnas.types import Genomes

NAME = "latency_ms"
LABEL = "predicted latency (ms)"


def latency(context: Context) -> Objective:
    """Exact of a device that is a model, predicted of one that is measured."""
    model = cost_model(context.device)
    return predicted_latency() if model is None else modelled_latency(context.space, model)


def predicted_latency() -> Objective:
    """Latency in ms as the predictor has it."""

    def measure(genomes: Genomes, inputs: EvaluationInputs) -> Float[Array, "n"]:
        if NAME not in inputs.models:
            raise ValueError(f"the inputs have no predictor of {NAME}")
        return inputs.models[NAME](genomes)

    return Objective(NAME, "ms", LABEL, measure)


def modelled_latency(space: Space, model: CostModel) -> Objective:
    """Latency in ms as an analytic device has it, on the chip of each genome."""

    def measure(genomes: Genomes, inputs: EvaluationInputs) -> Float[Array, "n"]:
        return jax.vmap(
            lambda genome: chip_of(model, space, genome)(space.layers(genome)).latency_ms
        )(genomes)

    return Objective(NAME, "ms", LABEL, measure)
