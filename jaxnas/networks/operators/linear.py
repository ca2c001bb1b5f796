"""A linear layer: N, 1, 1, C or N, C -> N, C; and `flatten`, the same without weights."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.networks.initializers import kaiming
from jaxnas.networks.op import Op
from jaxnas.networks.operators.operator import Elastic, Operator, Weights, one_pixel
from jaxnas.types import PRNGKey, Size


def _weights(op: Op) -> Size:
    return op.c_out * op.c_in


def _compute(op: Op, arrays: Weights, x: Float[Array, "n ..."]) -> Float[Array, "n c_out"]:
    return x.reshape(x.shape[0], -1) @ arrays["kernel"]


def _fresh(key: PRNGKey, op: Op) -> Weights:
    """With an activation behind it as a convolution's; as the last layer of deviation 0.01."""
    if op.act:
        return {"kernel": kaiming(key, (1, 1, op.c_in, op.c_out))[0, 0]}
    return {"kernel": 0.01 * jax.random.normal(key, (op.c_in, op.c_out), jnp.float32)}


def _share(arrays: Weights, op: Op) -> Weights:
    return {"kernel": arrays["kernel"][: op.c_in, : op.c_out]}


def _elastic(op: Op, arrays: Weights, sizes: Elastic) -> tuple[Op, Weights]:
    live = sizes.live("c_out", op.c_out)
    return op, arrays if live is None else {"kernel": arrays["kernel"] * live}


LINEAR = Operator(
    _compute,
    side=one_pixel,
    macs=_weights,
    params=_weights,
    fresh=_fresh,
    share=_share,
    elastic=_elastic,
)
FLATTEN = Operator(
    lambda op, arrays, x: x.reshape(x.shape[0], -1), side=one_pixel, channelwise=True
)
