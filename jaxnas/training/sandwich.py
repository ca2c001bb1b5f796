"""The sandwich rule with in-place distillation (Yu & Huang 2019).

One step trains the largest, the smallest and random subnets.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from jaxnas.networks.subnet import forward
from jaxnas.supernets.supernet import Params, Supernet, take
from jaxnas.training.dropout import Drop
from jaxnas.training.losses import distillation_loss, hard_loss
from jaxnas.types import Genomes


class Losses(NamedTuple):
    """Mean losses of one step.

    `random` is that of the subnets drawn, `smallest` None where a method does not train it each
    step.
    """

    largest: Float[Array, ""]
    smallest: Float[Array, ""] | None
    random: Float[Array, ""]


def sandwich_gradients(
    net: Supernet,
    params: Params,
    images: Float[Array, "batch h w c"],
    labels: Int[Array, "batch"],
    genomes: Genomes,
    smoothing: float,
    distil: Callable[..., Float[Array, ""]] = distillation_loss,
    drop: Drop | None = None,
) -> tuple[Params, Losses]:
    """Summed gradients of the largest, the smallest and the given subnets.

    Of the largest on hard labels; both others are taught by it.

    The largest and the smallest are static slices of the weights; the given genomes are traced, so
    every draw runs in the same program. `genomes` (k, genes), images at their resolution, batch
    statistics throughout. `distil` (logits, teacher's logits) is the loss of the taught; `drop`
    regularises the largest only.
    """
    largest, gradients, teacher = largest_gradients(net, params, images, labels, smoothing, drop)
    ops = net.ops(net.space.smallest)
    smallest, more = jax.value_and_grad(
        lambda p: distil(forward(ops, take(p, ops), images)[0], teacher)
    )(params)
    gradients = jax.tree.map(jnp.add, gradients, more)

    def one(gradients: PyTree, genome):
        loss, more = jax.value_and_grad(lambda p: distil(net.apply(p, images, genome)[0], teacher))(
            params
        )
        return jax.tree.map(jnp.add, gradients, more), loss

    gradients, random = jax.lax.scan(one, gradients, genomes)
    return gradients, Losses(largest, smallest, jnp.mean(random))


def largest_gradients(
    net: Supernet,
    params: Params,
    images: Float[Array, "batch h w c"],
    labels: Int[Array, "batch"],
    smoothing: float,
    drop: Drop | None,
) -> tuple[Float[Array, ""], Params, Float[Array, "batch classes"]]:
    """Loss of the largest network on hard labels, its gradients and its logits.

    A static slice, batch statistics.
    """
    ops = net.ops(net.space.largest)

    def objective(params):
        logits, _ = forward(ops, take(params, ops), images, drop=drop)
        return hard_loss(logits, labels, smoothing), logits

    (loss, logits), gradients = jax.value_and_grad(objective, has_aux=True)(params)
    return loss, gradients, logits
