"""What a network costs on any device: multiply-adds, parameters, memory of activations. Exact."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.objectives.objective import Context, EvaluationInputs, Objective
from jaxnas.types import Genomes

LABELS = {
    "mmacs": "multiply-adds (million)",
    "mparams": "parameters (million)",
    "peak_kib": "most activations at once, computed in place (KiB)",
}
BYTES_PER_ACTIVATION = 4  # of float32


def macs(context: Context) -> Objective:
    """Millions of multiply-adds."""

    def measure(genomes: Genomes, inputs: EvaluationInputs) -> Float[Array, "n"]:
        return context.space.costs(genomes).macs / jnp.float32(1e6)

    return Objective("mmacs", "million", LABELS["mmacs"], measure)


def params(context: Context) -> Objective:
    """Millions of weights, biases, norm scales and shifts."""

    def measure(genomes: Genomes, inputs: EvaluationInputs) -> Float[Array, "n"]:
        return context.space.costs(genomes).params / jnp.float32(1e6)

    return Objective("mparams", "million", LABELS["mparams"], measure)


def peak_memory(context: Context) -> Objective:
    """The most memory that activations take at once, as float32.

    With norm and activation computed in place. A runtime that gives each operator of the ONNX file
    memory of its own takes more: 1.0 to 1.6 times as much in spaces with relu, 2.1 to 2.24 times
    with swish, which is two operators there.
    """
    kib = jnp.float32(BYTES_PER_ACTIVATION / 1024)

    def measure(genomes: Genomes, inputs: EvaluationInputs) -> Float[Array, "n"]:
        return context.space.costs(genomes).peak_activations * kib

    return Objective("peak_kib", "KiB", LABELS["peak_kib"], measure)
