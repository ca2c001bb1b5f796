"""The subnets that `pareto_rank` ranks, and what is known of each: pure functions of arrays."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxnas.algorithms import pareto
from jaxnas.types import Genomes

MEMORY = 100  # evaluations of a member that its running mean remembers, about


class Members(NamedTuple):
    """The subnets that are ranked.

    `loss` is each one's cross-entropy on held-out images, less what is common to all members; NaN
    of those that were never evaluated.
    """

    genomes: Genomes
    loss: Float[Array, "members"]
    seen: Int[Array, "members"]  # evaluations
    group: Int[Array, "group"]  # those of this step, by position


def no_members(count: int, genes: int, group: int) -> Members:
    """Places for so many, none of which was evaluated."""
    return Members(
        jnp.zeros((count, genes), jnp.int32),
        jnp.full(count, jnp.nan, jnp.float32),
        jnp.zeros(count, jnp.int32),
        jnp.arange(group, dtype=jnp.int32),
    )


def renewed(members: Members, new: Bool[Array, "members"], fresh: Genomes) -> Members:
    """The members with fresh ones, which nothing is known of, in some places."""
    return members._replace(
        genomes=jnp.where(new[:, None], fresh, members.genomes),
        loss=jnp.where(new, jnp.nan, members.loss),
        seen=jnp.where(new, 0, members.seen),
    )


def observed(members: Members, losses: Float[Array, "group"]) -> Members:
    """Running means of the group's members after one more evaluation.

    What a batch adds to all of them, as much as the group's known members tell, is taken off.
    """
    group = members.group
    before = members.loss[group]
    known = ~jnp.isnan(before)
    common = _mean(losses - before, known)
    level = jnp.where(known.any(), common, jnp.mean(losses))
    now = losses - level
    rate = 1.0 / jnp.minimum(members.seen[group] + 1, MEMORY)
    after = jnp.where(known, before + rate * (now - before), now)
    return members._replace(
        loss=members.loss.at[group].set(after), seen=members.seen.at[group].add(1)
    )


def attainable(losses: Float[Array, "n"], costs: Float[Array, "n"]) -> Float[Array, "n"]:
    """The least loss of all that cost at most as much; NaN losses count for none."""
    cheaper = (costs <= costs[:, None]) & ~jnp.isnan(losses)
    return jnp.min(jnp.where(cheaper, losses, jnp.inf), axis=1)


def last_of(members: Members, costs: Float[Array, "members"]) -> Bool[Array, "members"]:
    """The evaluated member of the last rank, and of these with the largest loss."""
    ranks = pareto.rank(jnp.stack([members.loss, costs], axis=-1))
    ranks = jnp.where(jnp.isnan(members.loss), -1, ranks)
    loss = jnp.where(ranks == ranks.max(), members.loss, -jnp.inf)
    return jnp.arange(len(loss), dtype=jnp.int32) == jnp.argmax(loss)


def _mean(values: Float[Array, "n"], counted: Bool[Array, "n"]) -> Float[Array, ""]:
    total = jnp.sum(jnp.where(counted, values, 0.0))
    return total / jnp.maximum(jnp.sum(counted), 1)
