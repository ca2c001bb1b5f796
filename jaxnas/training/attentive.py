"""AttentiveNAS (Wang et al. 2021): the sandwich rule with random subnets chosen by their loss.

Each is the best (BestUp) or the worst (WorstUp) of some candidates with the same target MACs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxnas.spaces.space import Space
from jaxnas.supernets.supernet import Params, Supernet
from jaxnas.training.losses import hard_loss
from jaxnas.training.method import Batch, TrainConfig
from jaxnas.training.sandwich import Sandwich
from jaxnas.types import Genome, Genomes, PRNGKey

# Of equal width over the MACs that uniform samples have; AttentiveNAS's of 25 MMACs are about as
# many per resolution.
BINS = 32
SAMPLES = 1 << 14  # architectures in the table
TRIES = 100  # draws per candidate, of which the first that hits the bin counts
Keep = Callable[..., Int[Array, "n"]]  # jnp.argmin or jnp.argmax


@dataclass(frozen=True)
class Attentive:
    """Each of the subnets is chosen of some candidates by its loss on labels."""

    keep: Keep
    subnets: int = 2
    candidates: int = 3
    smoothing: float = 0.1

    def __call__(self, net: Supernet, params: Params, batch: Batch, key: PRNGKey) -> Genomes:
        with jax.ensure_compile_time_eval():
            table = macs_tables(net.space)[batch.images.shape[1]]

        def loss(genome: Genome) -> Float[Array, ""]:
            logits = net.apply(params, batch.images, genome)[0]
            return hard_loss(logits, batch.labels, self.smoothing, batch.weights)

        return attentive_genomes(
            key, net.space, table, loss, self.keep, self.subnets, self.candidates
        )


def best_up(settings: TrainConfig) -> Sandwich:
    """Trains the candidate with the lowest loss."""
    return _sandwich(jnp.argmin, settings)


def worst_up(settings: TrainConfig) -> Sandwich:
    """Trains the candidate with the highest loss."""
    return _sandwich(jnp.argmax, settings)


def _sandwich(keep: Keep, settings: TrainConfig) -> Sandwich:
    smoothing = settings.label_smoothing
    sampler = Attentive(keep, settings.random_subnets, settings.candidates, smoothing)
    return Sandwich(sampler, smoothing)


class MacsTable(NamedTuple):
    """How MACs are distributed over a space at one resolution, and each gene's choices given them.

    Both are logarithms of shares.
    """

    low: Float[Array, ""]  # MACs
    width: Float[Array, ""]  # of a bin, MACs
    bins: Float[Array, "bins"]
    genes: Float[Array, "bins genes choices"]

    def bin(self, count: Int[Array, "*n"]) -> Int[Array, "*n"]:
        """The bin of a number of MACs; -1 for a number outside all bins."""
        found = jnp.floor((count - self.low) / self.width).astype(jnp.int32)
        return jnp.where((found >= 0) & (found < self.bins.shape[0]), found, -1)


@cache
def macs_tables(space: Space, samples: int = SAMPLES, bins: int = BINS) -> dict[int, MacsTable]:
    """{resolution: the table of uniform samples of the space at it}; always the same samples."""
    choices = int(space.sizes.max())

    @jax.jit
    def table(resolution: Int[Array, ""]) -> MacsTable:
        genomes = space.at_resolution(space.sample(jax.random.key(0), samples), resolution)
        cost = space.costs(genomes).macs
        low = cost.min().astype(jnp.float32)
        # The largest is just inside the last.
        width = jnp.maximum((cost.max() - low) * 1.0001 / bins, 1.0)
        counts = MacsTable(
            low,
            width,
            jnp.zeros(bins, jnp.float32),
            jnp.zeros((bins, len(space.genes), choices), jnp.float32),
        )
        inside = jax.nn.one_hot(counts.bin(cost), bins, dtype=jnp.float32)
        number = jnp.sum(inside, 0)
        chosen = jnp.einsum(
            "sb,sgc->bgc", inside, jax.nn.one_hot(genomes, choices, dtype=jnp.float32)
        )
        return counts._replace(
            bins=jnp.log(number / samples),
            genes=jnp.log(chosen / jnp.maximum(number, 1)[:, None, None]),
        )

    return {size: table(jnp.int32(i)) for i, size in enumerate(space.resolutions)}


def sample_bin(
    key: PRNGKey, space: Space, table: MacsTable, target: Int[Array, ""], n: int
) -> Genomes:
    """`n` genomes of a bin, each drawn gene by gene from the shares of the bin.

    A genome is redrawn until its MACs hit the bin, at most `TRIES` times; then the first draw is
    taken.
    """
    draws = jax.random.categorical(key, table.genes[target], shape=(n, TRIES, len(space.genes)))
    draws = draws.astype(jnp.int32)
    hits = table.bin(space.costs(draws).macs) == target
    return draws[jnp.arange(n), jnp.argmax(hits, axis=1)]


def attentive_genomes(
    key: PRNGKey,
    space: Space,
    table: MacsTable,
    loss: Callable[[Genome], Float[Array, ""]],
    keep: Keep,
    n: int,
    candidates: int,
) -> Genomes:
    """`n` genomes; each is the one that `keep` finds in the losses of `candidates` with one target.

    `jnp.argmin` makes it BestUp, `jnp.argmax` WorstUp.
    """
    target_key, draw_key = jax.random.split(key)
    targets = jax.random.categorical(target_key, table.bins, shape=(n,))
    drawn = jax.vmap(lambda key, target: sample_bin(key, space, table, target, candidates))(
        jax.random.split(draw_key, n), targets
    )
    losses = jax.lax.map(loss, drawn.reshape(n * candidates, -1)).reshape(n, candidates)
    return drawn[jnp.arange(n), keep(losses, axis=1)]
