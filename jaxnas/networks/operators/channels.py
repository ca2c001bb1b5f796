"""What chooses among channels."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.networks.op import Op
from jaxnas.networks.operators.operator import Operator, Weights


def _select(op: Op, arrays: Weights, x: Float[Array, "n h w c"]) -> Float[Array, "..."]:
    before = max(-op.start, 0)
    first = max(op.start, 0)
    x = x[:, :: op.stride, :: op.stride, first : op.start + op.c_out]
    after = op.c_out - before - x.shape[-1]
    return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (before, after)))


SELECT = Operator(_select)
"""Every `stride`-th pixel of the channels from `start` on, zeros where the input has none."""
