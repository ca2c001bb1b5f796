"""Fresh weights of a supernet."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jaxtyping import PyTree

from jaxnas.networks.op import Op
from jaxnas.networks.subnet import fresh
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


def _branches(ops: Sequence[Op]) -> set[str]:
    """Paths of operators that every network adds to a shortcut."""
    added = [(ops[op.inputs[0]], op) for op in ops if op.kind == "add"]
    return {one.path for one, add in added if one.norm and (one.repeat == add.repeat).all()}
