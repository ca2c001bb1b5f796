"""What the network of a soft genome is expected to cost: the term that a search by gradient adds.

A cost is a pure function of a soft genome (`spaces.soft`), differentiable, in the unit of its
objective, and of a one-hot genome the figure of that genome.
"""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnas.errors import UserError, choose
from jaxnas.hardware.device import Device
from jaxnas.hardware.tables import Table
from jaxnas.predictors.predictor import Model
from jaxnas.spaces.soft import expected
from jaxnas.spaces.space import Space
from jaxnas.types import SoftGenome

Cost = Callable[[SoftGenome], Float[Array, ""]]
Models = Mapping[str, Model]  # fitted predictors, by the objective that each predicts


def make_cost(name: str, space: Space, device: Device, models: Models) -> Cost:
    """The expected cost that `search.objectives` calls by this name.

    Raises:
        UserError: there is none of this name, or neither the space, the device nor the models say
            what a network costs.
    """
    return choose("expected cost", name, COSTS)(space, device, models)


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


def _sum_of_terms(space: Space, name: str) -> Cost:
    tables = [(term.genes, getattr(term, name) / 1e6) for term in space.terms]

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


COSTS: dict[str, Callable[[Space, Device, Models], Cost]] = {
    "mmacs": lambda space, device, models: expected_macs(space),
    "mparams": lambda space, device, models: expected_params(space),
}
