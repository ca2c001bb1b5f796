"""The hand-designed networks by name, and fresh weights for them.

Names are those of github.com/chenyaofo/pytorch-cifar-models.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from jaxnas.baselines import mobilenet_v2, repvgg, resnet, shufflenet_v2, vgg
from jaxnas.networks.op import Op
from jaxnas.networks.subnet import Arrays, Subnet, fresh
from jaxnas.types import PRNGKey

BASELINES: dict[str, Callable[[int], tuple[Op, ...]]] = {
    **{f"resnet{depth}": partial(resnet.operators, depth) for depth in (20, 32, 44, 56)},
    **{f"vgg{layers}_bn": partial(vgg.operators, layers) for layers in (11, 13, 16, 19)},
    "mobilenetv2_x0_5": partial(mobilenet_v2.operators, 0.5),
    "mobilenetv2_x0_75": partial(mobilenet_v2.operators, 0.75),
    "mobilenetv2_x1_0": partial(mobilenet_v2.operators, 1.0),
    "mobilenetv2_x1_4": partial(mobilenet_v2.operators, 1.4),
    "shufflenetv2_x0_5": partial(shufflenet_v2.operators, 0.5),
    "shufflenetv2_x1_0": partial(shufflenet_v2.operators, 1.0),
    "shufflenetv2_x1_5": partial(shufflenet_v2.operators, 1.5),
    "shufflenetv2_x2_0": partial(shufflenet_v2.operators, 2.0),
    **{f"repvgg_{size}": partial(repvgg.operators, size) for size in ("a0", "a1", "a2")},
}
"""{name: number of classes -> operators}, all of 32 x 32 RGB images."""


def init(key: PRNGKey, ops: tuple[Op, ...]) -> Subnet:
    """Fresh weights.

    He et al. (2015), a last linear layer of deviation 0.01, norms that begin as they find the
    batch.
    """
    with_path = [op for op in ops if op.path]
    keys = jax.random.split(key, len(with_path))
    weights: Arrays = {op.path: fresh(key, op) for key, op in zip(keys, with_path, strict=True)}
    stats: Arrays = {
        op.path: {"mean": jnp.zeros(op.c_out, jnp.float32), "var": jnp.ones(op.c_out, jnp.float32)}
        for op in ops
        if op.norm
    }
    return Subnet(ops, weights, stats)
