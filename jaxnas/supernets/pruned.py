"""The weights of a pruned supernet: those of the whole one, as far as its networks use them."""

from typing import Any

import jax

from jaxnas.networks.op import Op
from jaxnas.networks.operators import OPERATORS
from jaxnas.networks.subnet import fresh
from jaxnas.spaces.space import Space
from jaxnas.supernets.interpreter import planned, put
from jaxnas.supernets.supernet import Params, at


def pruned_params(params: Params, space: Space) -> Params:
    """What a space that was pruned (`spaces.pruned`) takes of the weights of the whole one.

    Every network keeps its weights: first channels, and of kernels the centres as they were made.
    """
    found: dict[str, Any] = {}
    for plan in planned(space):
        for op in plan.largest:
            if op.path:
                put(found, op.path, _share(at(params, op.path), op))
    return found


def _share(arrays: dict[str, Any], op: Op) -> dict[str, Any]:
    made = OPERATORS[op.kind].share(arrays, op) if arrays else {}
    shapes = jax.eval_shape(lambda: fresh(jax.random.key(0), op, 1.0))
    return {
        name: made[name]
        if name in made and made[name].shape == leaf.shape
        else arrays[name][tuple(map(slice, leaf.shape))]
        for name, leaf in shapes.items()
    }
