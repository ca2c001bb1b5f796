"""The sandwich rule with in-place distillation (Yu & Huang 2019): one step trains the largest, the smallest and random subnets."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from jaxnas.supernets.subnet import forward
from jaxnas.supernets.supernet import Params, Supernet, take
from jaxnas.training.losses import distillation_loss, hard_loss
from jaxnas.types import Genomes


class Losses(NamedTuple):
    """Mean losses of one step."""

    largest: Float[Array, ""]
    smallest: Float[Array, ""]
    random: Float[Array, ""]


def sandwich_gradients(
    net: Supernet, params: Params, images: Float[Array, "batch h w c"], labels: Int[Array, "batch"], genomes: Genomes, smoothing: float
) -> tuple[Params, Losses]:
    """Summed gradients of the largest (hard labels), the smallest and the given subnets (both taught by the largest).

    The largest and the smallest are static slices of the weights; the given genomes are traced, so every draw runs in
    the same program. `genomes` (k, genes), images at their resolution, batch statistics throughout.
    """

    def sliced(genome, loss):
        ops = net.ops(genome)

        def objective(params):
            logits, _ = forward(ops, take(params, ops), images)
            return loss(logits), logits

        return jax.value_and_grad(objective, has_aux=True)(params)

    (largest, teacher), gradients = sliced(net.space.largest, lambda logits: hard_loss(logits, labels, smoothing))
    (smallest, _), more = sliced(net.space.smallest, lambda logits: distillation_loss(logits, teacher))
    gradients = jax.tree.map(jnp.add, gradients, more)

    def one(gradients: PyTree, genome):
        loss, more = jax.value_and_grad(lambda p: distillation_loss(net.apply(p, images, genome)[0], teacher))(params)
        return jax.tree.map(jnp.add, gradients, more), loss

    gradients, random = jax.lax.scan(one, gradients, genomes)
    return gradients, Losses(largest, smallest, jnp.mean(random))
