"""The share of the search images that a network gets wrong."""

import jax
from jax.sharding import Mesh
from jaxtyping import Array, Float

from jaxnas.data.augment import Augmentation
from jaxnas.numerics.numerics import Numerics
from jaxnas.objectives.objective import Context, EvaluationInputs, Objective
from jaxnas.supernets.supernet import Supernet
from jaxnas.training.evaluate import FLOAT32, accuracies
from jaxnas.training.population import HybridConfig, tuned_accuracies
from jaxnas.types import Genomes, PRNGKey

UNIT = "share of images"


def error(context: Context) -> Objective:
    """The error with the supernet's weights, or after each candidate's own training."""
    if context.hybrid.trains:
        if context.key is None:
            raise ValueError("candidates that are trained need a key")
        return tuned_error(
            context.net,
            context.hybrid,
            context.augmentation,
            context.key,
            context.mesh,
            context.memory_gib,
        )
    return classification_error(context.net, context.mesh, context.numerics, context.memory_gib)


def classification_error(
    net: Supernet,
    mesh: Mesh | None = None,
    numerics: Numerics = FLOAT32,
    memory_gib: float | None = None,
) -> Objective:
    """Share of the search images that a subnet gets wrong, with recalibrated batch norm.

    NaN where the genome's static gene is not that of the inputs. The mesh's devices share the
    subnets. `memory_gib` as in `accuracies`.
    """

    def measure(genomes: Genomes, inputs: EvaluationInputs) -> Float[Array, "n"]:
        live = net.space.resolution_choices(genomes) == inputs.static
        options = {"memory_gib": memory_gib, "numerics": numerics, "mesh": mesh}
        return 1 - accuracies(net, inputs.params, genomes, live, inputs.examples, **options)

    label = "error" if numerics.exact else f"error as {numerics.name}"
    return Objective("error", UNIT, label, measure)


def tuned_error(
    net: Supernet,
    settings: HybridConfig,
    augmentation: Augmentation,
    key: PRNGKey,
    mesh: Mesh | None = None,
    memory_gib: float | None = None,
) -> Objective:
    """`classification_error` after each subnet's own training.

    From the weights it inherits, on the training images of the inputs.
    """
    key_data = jax.random.key_data(key)

    def measure(genomes: Genomes, inputs: EvaluationInputs) -> Float[Array, "n"]:
        if inputs.training is None:
            raise ValueError("the inputs have no training images")
        live = net.space.resolution_choices(genomes) == inputs.static
        key = jax.random.wrap_key_data(key_data)
        arguments = (inputs.training, inputs.examples, settings, augmentation, key)
        return 1 - tuned_accuracies(
            net, inputs.params, genomes, live, *arguments, memory_gib=memory_gib, mesh=mesh
        )

    return Objective("error", UNIT, "error after each candidate's own training", measure)
