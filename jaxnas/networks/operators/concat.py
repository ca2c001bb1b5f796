"""The channels of any number of inputs, one input after the other."""

from functools import reduce
from operator import add

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.networks.op import Op
from jaxnas.networks.operators.operator import Elastic, Operator, Weights


def _compute(op: Op, arrays: Weights, *inputs: Float[Array, "n h w _"]) -> Float[Array, "..."]:
    if not arrays:
        return jnp.concatenate(inputs, -1)
    placed = []
    for name, weight in arrays.items():
        i, first = map(int, name.removeprefix("input").split("_from"))
        x = inputs[i]
        placed.append(weight.astype(x.dtype) * _from(first, x, op.c_out))
    return reduce(add, placed)


def _from(first: int, x: Array, channels: int) -> Array:
    """`channels` channels, those of `x` from `first` on, zeros elsewhere."""
    x = x[..., : channels - first]
    return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (first, channels - first - x.shape[-1])))


def _elastic(op: Op, arrays: Weights, sizes: Elastic) -> tuple[Op, Weights]:
    """Behind an input of varying width, each stands at the sum of the widths before it.

    Inputs are 0 beyond their widths, so that what stands at all its places, weighted, adds up. The
    weights are named after the places: "input1_from16".
    """
    places = sizes.places()
    if all(len(firsts) == 1 for firsts, _ in places):
        return op, {}
    return op, {
        f"input{i}_from{first}": weight
        for i, (firsts, weights) in enumerate(places)
        for first, weight in zip(firsts, weights, strict=True)
    }


CONCAT = Operator(_compute, elastic=_elastic)
