"""What the network of a soft genome is expected to cost: the term that a search by gradient adds.

A cost is a pure function of a soft genome (`spaces.soft`), differentiable, in the unit of its
objective, and of a one-hot genome the figure of that genome.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnas.errors import UserError
from jaxnas.hardware.cost_model import CostModel, SummedModel, cost_model, model_with
from jaxnas.hardware.device import Device
from jaxnas.hardware.tables import Table
from jaxnas.networks.costs import Layers
from jaxnas.objectives import energy, latency
from jaxnas.plugins import find
from jaxnas.predictors.predictor import Model, SoftModel
from jaxnas.relaxations.architecture import Cost
from jaxnas.spaces.cost_tables import counted, part_layers
from jaxnas.spaces.soft import expected
from jaxnas.spaces.space import Space
from jaxnas.types import SoftGenome

Models = Mapping[str, Model]  # fitted predictors, by the objective that each predicts


def make_cost(name: str, space: Space, device: Device, models: Models) -> Cost:
    """The expected cost that `search.objectives` calls by this name.

    A user's own is a function of the space, the device and the models.

    Raises:
        UserError: there is none of this name, or neither the space, the device nor the models say
            what a network costs.
    """
    return find("expected cost", name, COSTS)(space, device, models)


def expected_macs(space: Space) -> Cost:
    """Millions of multiply-adds."""
    _check_parts(space, "multiply-adds")
    return _sum_of_terms(space, "macs")


def expected_params(space: Space) -> Cost:
    """Millions of weights, biases, norm scales and shifts."""
    _check_parts(space, "parameters")
    return _sum_of_terms(space, "params")


def expected_figure(space: Space, table: Table) -> Cost:
    """A figure looked up in a table of all genomes; a `UserError` where the table lacks some."""
    missing = int(np.isnan(table.values).sum())
    if missing:
        raise UserError(
            f"the table {table.name} lacks {missing} of the {table.values.size} genomes of "
            f"{space.name}, and a soft genome needs all: complete the table, or fit a predictor"
        )
    genes = range(len(space.genes))
    return lambda genome: expected(space, genome, genes, table.values)


def modelled_cost(space: Space, model: CostModel, figure: str) -> Cost:
    """A figure that the model of a chip has, at the expected sums over the layers.

    Of what is no sum (whichever of two takes longer, whether a network fits) it is no mean over
    genomes: by Jensen's inequality the longer of two means is at most the mean of the longer.
    """
    _check_parts(space, figure)
    if not isinstance(model, SummedModel):
        raise UserError(
            f"the device {model.name} models whole networks, which a soft genome is not: name one "
            "that sums over layers, such as raptor or hailo8l_model, or one that measures"
        )
    tables, structure = _sums_of_parts(space, model)

    def cost(genome: SoftGenome) -> Float[Array, ""]:
        each = [expected(space, genome, genes, table) for genes, table in tables.items()]
        sums = jax.tree.unflatten(structure, list(jnp.sum(jnp.stack(each), axis=0)))
        return model.estimate(sums).figures[figure]

    return cost


def predicted_cost(space: Space, model: Model) -> Cost:
    """What a fitted predictor says; a `UserError` where it has no gradient."""
    if not isinstance(model, SoftModel):
        raise UserError(
            f"a predictor of {type(model).__name__} has no gradient by which a soft genome could "
            "be searched: fit one that has, with predict.method mlp, ensemble or lookup"
        )
    genome = jax.ShapeDtypeStruct((len(space.genes), int(space.sizes.max())), jnp.float32)
    jax.eval_shape(model.expected, genome)  # raises what there is to raise
    return model.expected


def _latency(space: Space, device: Device, models: Models) -> Cost:
    """In ms, as the device's own model has it, else as predicted."""
    model = cost_model(device)
    if model is not None:
        return modelled_cost(space, model, latency.NAME)
    if latency.NAME not in models:
        raise UserError(
            f"the device {device.name} measures networks, and a soft genome is none: name the "
            "directory of a run that has learnt to predict it in place of latency_ms, or a device "
            "that is modelled, such as raptor"
        )
    return predicted_cost(space, models[latency.NAME])


def _energy(space: Space, device: Device, models: Models) -> Cost:
    return modelled_cost(space, model_with(device, energy.NAME), energy.NAME)


def _sums_of_parts(
    space: Space, model: SummedModel
) -> tuple[dict[tuple[int, ...], np.ndarray], Any]:
    """{genes: sums over the layers of all parts with these, by their choices}, and their names."""
    counts = [i for i, ops in enumerate(space.tabled) if any(map(counted, ops))]
    parts = [part_layers(space, i) for i in counts]
    most = max(part.kind.shape[-1] for part in parts)
    rows = [_rows(part, most) for part in parts]
    sums = jax.jit(model.sums, static_argnums=1)
    first, structure = jax.tree.flatten(sums(_layers(rows[0]), True))
    rest = jax.tree.leaves(sums(_layers(np.concatenate(rows)), False))
    found = np.stack(rest, axis=-1)
    found[: len(rows[0])] = np.stack(first, axis=-1)
    ends = np.cumsum([*map(len, rows)])
    tables: dict[tuple[int, ...], np.ndarray] = {}
    for i, part, few in zip(counts, parts, np.split(found, ends[:-1]), strict=True):
        genes = space.parts[i].genes
        tables[genes] = tables.get(genes, 0) + few.reshape(*part.kind.shape[:-1], -1)
    return tables, structure


def _rows(layers: Layers, most: int) -> Int[np.ndarray, "combinations layers columns"]:
    """A row for each combination of choices, filled up to as many layers with absent ones."""
    table = np.stack(layers, axis=-1)
    rows = table.reshape(-1, *table.shape[-2:])
    absent = np.array([name != "repeat" for name in Layers._fields], rows.dtype)
    more = np.broadcast_to(absent, (len(rows), most - rows.shape[1], len(absent)))
    return np.concatenate([rows, more], axis=1)


def _layers(rows: Int[np.ndarray, "n layers columns"]) -> Layers:
    return Layers(*jnp.asarray(np.moveaxis(rows, -1, 0), jnp.int32))


def _sum_of_terms(space: Space, name: str) -> Cost:
    tables = [(term.genes, np.asarray(getattr(term, name) / 1e6)) for term in space.terms]

    def cost(genome: SoftGenome) -> Float[Array, ""]:
        each = [expected(space, genome, genes, table) for genes, table in tables]
        return jnp.sum(jnp.stack(each))

    return cost


def _check_parts(space: Space, what: str) -> None:
    if not space.parts:
        raise UserError(
            f"the space {space.name} has no parts, from which {what} of its networks would follow: "
            "look the cost up in a table of its genomes, or predict it"
        )


# Those that the space alone decides.
OF_SPACE: dict[str, Callable[[Space], Cost]] = {
    "mmacs": expected_macs,
    "mparams": expected_params,
}
COSTS: dict[str, Callable[[Space, Device, Models], Cost]] = {
    "mmacs": lambda space, device, models: expected_macs(space),
    "mparams": lambda space, device, models: expected_params(space),
    latency.NAME: _latency,
    energy.NAME: _energy,
}
