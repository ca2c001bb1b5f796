"""Fresh weights of a supernet."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxnas.networks.op import Op
from jaxnas.networks.operators import OPERATORS
from jaxnas.spaces.space import Space
from jaxnas.supernets.interpreter import planned, put


def build_init(space: Space) -> Callable[[Any], PyTree]:
    """key -> fresh weights of the largest operators. A residual branch begins as nothing.

    Its last norm has scale 0 (Goyal et al., "Accurate, large minibatch SGD", 2017), so that a block
    begins as its shortcut, where every network that has the branch has the shortcut, too.
    """
    plans = planned(space)

    def init(key):
        params: dict[str, Any] = {}
        with_weights = [
            (op, op.path in _branches(plan.ops)) for plan in plans for op in plan.largest if op.path
        ]
        keys = jax.random.split(key, len(with_weights))
        for one, (op, branch) in zip(keys, with_weights, strict=True):
            put(params, op.path, fresh(one, op, 0.0 if branch else 1.0))
        return params

    return init


def fresh(key, op: Op, scale: float = 1.0) -> dict[str, Any]:
    """Weights of an operator, its bias and its norm among them."""
    arrays = dict(OPERATORS[op.kind].fresh(key, op))
    if op.bias:
        arrays["bias"] = jnp.zeros(op.c_out, jnp.float32)
    if op.norm:
        arrays["scale"] = jnp.full(op.c_out, scale, jnp.float32)
        arrays["shift"] = jnp.zeros(op.c_out, jnp.float32)
    return arrays


def _branches(ops: Sequence[Op]) -> set[str]:
    """Paths of operators that every network adds to a shortcut."""
    added = [(ops[op.inputs[0]], op) for op in ops if op.kind == "add"]
    return {one.path for one, add in added if one.norm and (one.repeat == add.repeat).all()}
