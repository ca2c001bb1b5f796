"""Strict fairness (FairNAS; Chu et al., ICCV 2021): a step trains every operation equally often."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxnas.errors import UserError
from jaxnas.plugins import leaves_unread
from jaxnas.spaces.space import Space
from jaxnas.supernets.supernet import Supernet
from jaxnas.training.method import Batch, TrainConfig, TrainState
from jaxnas.training.single_path import SinglePath
from jaxnas.types import Genomes, PRNGKey

MOST = 1000  # subnets of a step, as of train.random_subnets


@dataclass(frozen=True)
class Fair(SinglePath):
    """As many subnets a step as the longest gene has choices, with each of its choices once.

    Their gradients are summed, and the weights change once.
    """

    def check(self, space: Space) -> None:
        """See `check_fair`."""
        check_fair(space, "fairnas")

    def draw(
        self, net: Supernet, state: TrainState, steps: int, batch: Batch, key: PRNGKey
    ) -> Genomes:
        return fair_genomes(key, net.space)


@leaves_unread("random_subnets", "candidates", "dropout", "drop_connect")
def fairnas(settings: TrainConfig) -> Fair:
    """FairNAS as published."""
    return Fair(smoothing=settings.label_smoothing)


def check_fair(space: Space, method: str) -> None:
    """Refuses a space of which a step would train too many subnets; the method is named."""
    longest = max(space.genes, key=lambda gene: len(gene.choices))
    if len(longest.choices) > MOST:
        raise UserError(
            f"train.method {method} trains as many subnets a step as a gene has choices, and "
            f"{longest.name} of {space.name} has {len(longest.choices)}, more than {MOST}: "
            "choose another method, or give it fewer"
        )


def fair_genomes(key: PRNGKey, space: Space) -> Genomes:
    """As many genomes as the longest gene has choices, in which it has each choice once.

    A shorter gene has its choices equally often, or, where that cannot be, some of them once more;
    which ones is drawn. Every gene is ordered by itself.
    """
    most = max(space.sizes.tolist())

    def gene(key: PRNGKey, size):
        order_key, first_key = jax.random.split(key)
        first = jax.random.randint(first_key, (), 0, size)
        return (first + jax.random.permutation(order_key, most)) % size

    keys = jax.random.split(key, len(space.genes))
    return jax.vmap(gene)(keys, jnp.asarray(space.sizes)).T.astype(jnp.int32)
