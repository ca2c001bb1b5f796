"""What a search minimises: joins networks and predictors to a fitness for a whole population."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from jaxnas.data.augment import Augmentation
from jaxnas.hardware.cost_model import CostModel
from jaxnas.numerics.numerics import Numerics
from jaxnas.predictors.mlp import LatencyMLP, predict
from jaxnas.spaces.encodings import gene_values
from jaxnas.spaces.space import Space
from jaxnas.supernets.supernet import Params, Supernet
from jaxnas.training.evaluate import FLOAT32, Examples, accuracies
from jaxnas.training.loop import Images
from jaxnas.training.parallel import dealt
from jaxnas.training.population import HybridConfig, tuned_accuracies
from jaxnas.types import Fitness, Genomes, PRNGKey


class Evidence(NamedTuple):
    """Arrays that objectives read, an argument of the compiled program.

    Captured, they would be compiled in.
    """

    params: Params
    predictor: LatencyMLP | None  # None where no objective asks it
    static: Int[Array, ""]  # choice of the static gene (resolution) that `examples` have
    examples: Examples
    training: Images | None = None  # None where no objective trains candidates


@dataclass(frozen=True)
class Objective:
    """One figure to be minimised, of each genome.

    NaN where the genome's static gene is not the evidence's.
    """

    name: str
    unit: str
    measure: Callable[[Genomes, Evidence], Float[Array, "n"]]


def classification_error(
    net: Supernet,
    mesh: Mesh | None = None,
    numerics: Numerics = FLOAT32,
    memory_gib: float | None = None,
) -> Objective:
    """Share of the search images that a subnet gets wrong, with recalibrated batch norm.

    The mesh's devices share the subnets.

    `numerics`: the error of the network in these numbers. `memory_gib` as in
    `accuracies`.
    """

    def measure(genomes: Genomes, evidence: Evidence) -> Float[Array, "n"]:
        live = net.space.resolution_choices(genomes) == evidence.static
        options = {"memory_gib": memory_gib, "numerics": numerics, "mesh": mesh}
        return 1 - accuracies(net, evidence.params, genomes, live, evidence.examples, **options)

    return Objective(
        "error" if numerics.exact else f"{numerics.name} error", "share of images", measure
    )


def tuned_error(
    net: Supernet,
    settings: HybridConfig,
    augmentation: Augmentation,
    key: PRNGKey,
    mesh: Mesh | None = None,
    memory_gib: float | None = None,
) -> Objective:
    """`classification_error` after each subnet's own training.

    From the weights it inherits, on the evidence's training images.
    """
    key_data = jax.random.key_data(key)

    def measure(genomes: Genomes, evidence: Evidence) -> Float[Array, "n"]:
        if evidence.training is None:
            raise ValueError("the evidence has no training images")
        live = net.space.resolution_choices(genomes) == evidence.static
        key = jax.random.wrap_key_data(key_data)
        arguments = (evidence.training, evidence.examples, settings, augmentation, key)
        return 1 - tuned_accuracies(
            net, evidence.params, genomes, live, *arguments, memory_gib=memory_gib, mesh=mesh
        )

    return Objective("tuned error", "share of images", measure)


def predicted_latency(space: Space) -> Objective:
    """Latency in ms as the predictor has it."""

    def measure(genomes: Genomes, evidence: Evidence) -> Float[Array, "n"]:
        if evidence.predictor is None:
            raise ValueError("the evidence has no predictor")
        return predict(evidence.predictor, gene_values(space, genomes))

    return Objective("latency", "ms", measure)


def modelled_latency(space: Space, model: CostModel) -> Objective:
    """Latency in ms as an analytic device has it."""
    return Objective(
        "latency",
        "ms",
        lambda genomes, evidence: jax.vmap(lambda genome: model(space.layers(genome)).latency_ms)(
            genomes
        ),
    )


def modelled_energy(space: Space, model: CostModel) -> Objective:
    """Energy of one image in uJ as the chip's model has it."""
    return Objective(
        "energy",
        "uJ",
        lambda genomes, evidence: jax.vmap(
            lambda genome: model(space.layers(genome)).figures["energy_uj"]
        )(genomes),
    )


def network_macs(space: Space) -> Objective:
    """Millions of multiply-adds."""
    return Objective(
        "macs", "million", lambda genomes, evidence: space.costs(genomes).macs / jnp.float32(1e6)
    )


def network_params(space: Space) -> Objective:
    """Millions of weights, biases, norm scales and shifts."""
    return Objective(
        "params",
        "million",
        lambda genomes, evidence: space.costs(genomes).params / jnp.float32(1e6),
    )


def peak_memory(space: Space, bytes_per_activation: int = 4) -> Objective:
    """The most memory that activations take at once (`workload.peak_activations`).

    With norm and activation computed in place.

    A runtime that gives each operator of the ONNX file memory of its own takes more: 1.0 to 1.6
    times as much in spaces with relu, 2.1 to 2.24 times with swish, which is two operators there.
    """
    kib = jnp.float32(bytes_per_activation / 1024)
    return Objective(
        "peak_memory", "KiB", lambda genomes, evidence: space.costs(genomes).peak_activations * kib
    )


def fitness(
    space: Space,
    objectives: Sequence[Objective],
    evidence: Sequence[Evidence],
    mesh: Mesh | None = None,
) -> Callable[[Int[np.ndarray, "n genes"]], Float[np.ndarray, "n objectives"]]:
    """The function that a search calls.

    Genomes to fitness, one compiled call for each of the static gene's choices.

    `evidence` has one entry per choice. Populations of one size share one program per choice,
    whatever they hold: candidates of another choice are skipped, not evaluated. Over the devices of
    a `mesh` candidates are spread by their MACs.
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
            for choice, one in enumerate(evidence)
            if (choices == choice).any()
        ]
        result = np.full((len(genomes), len(objectives)), np.nan, np.float32)
        # All programs run by now: a device that is done with one goes on with the next.
        for choice, values in found:
            mine = (order >= 0) & (choices[order] == choice)
            result[order[mine]] = np.asarray(values)[mine]
        return result

    return evaluate


def _fitness(objectives: tuple[Objective, ...], genomes: Genomes, evidence: Evidence) -> Fitness:
    return jnp.stack([objective.measure(genomes, evidence) for objective in objectives], axis=1)
