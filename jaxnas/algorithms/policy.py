"""An autoregressive policy: a recurrent network that decides gene after gene.

The controller of Zoph & Le (ICLR 2017): a gene's choice is drawn given those drawn before it. A
gene that does not matter, given those, takes its first choice for certain.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxnas.algorithms.algorithm import AnySpace
from jaxnas.errors import UserError
from jaxnas.spaces.box import Box
from jaxnas.spaces.space import Space
from jaxnas.types import Genome, Genomes, PRNGKey

Params = Any  # a pytree of float32 arrays
AnyGenomes = Int[Array | np.ndarray, "n genes"]


class Scores(NamedTuple):
    """How a policy draws a genome, gene by gene; 0 of genes that do not matter."""

    log_probs: Float[Array, "*n genes"]  # of the choice, given those of earlier genes
    entropies: Float[Array, "*n genes"]  # in nats, given the choices of earlier genes


class Memory(NamedTuple):
    """What the LSTM keeps from gene to gene."""

    cell: Float[Array, "hidden"]
    hidden: Float[Array, "hidden"]


class Gene(NamedTuple):
    """What a step of the network reads; with an axis in front, of all genes."""

    position: Int[Array, "*genes"]
    parent: Int[Array, "*genes"]  # the gene that it needs, or itself
    allowed: Bool[Array, "*genes choices"]  # choices of the parent with which it matters
    possible: Bool[Array, "*genes choices"]  # its own
    embedding: Float[Array, "*genes choices hidden"]
    kernel: Float[Array, "*genes hidden choices"]
    bias: Float[Array, "*genes choices"]


@dataclass(frozen=True)
class Policy:
    """An LSTM that reads the choice drawn last; a gene comes after the one that it needs.

    Every gene has an embedding of each of its choices, and an output layer of its own that begins
    at 0. So the first genomes are uniform over the choices of the genes that matter.
    """

    hidden: int = 64
    """Units of the LSTM."""
    tanh: float = 0.0
    """Logits are kept between this and its negative by a hyperbolic tangent (ENAS: 1.1); 0: they
    are not."""

    def __post_init__(self):
        if self.hidden < 1:
            raise UserError(f"hidden must be at least 1, got {self.hidden}; set more units")
        if not self.tanh >= 0:
            raise UserError(f"tanh must be at least 0, got {self.tanh:g}; set 0 for no tangent")

    def init(self, key: PRNGKey, space: AnySpace) -> Params:
        space = _discrete(space)
        cell_key, embedding_key = jax.random.split(key)
        genes, choices, hidden = len(space.genes), int(space.sizes.max()), self.hidden
        cell = jax.random.normal(cell_key, (2 * hidden, 4 * hidden), jnp.float32)
        return {
            "cell": cell / np.float32(np.sqrt(2 * hidden)),
            "embedding": jax.random.normal(embedding_key, (genes, choices, hidden), jnp.float32),
            "kernel": jnp.zeros((genes, hidden, choices), jnp.float32),
            "bias": jnp.zeros((genes, choices), jnp.float32),
        }

    def sample(self, key: PRNGKey, space: AnySpace, params: Params, n: int) -> Genomes:
        """`n` genomes, independent, as `Space.canonical` has them."""
        noise = jax.random.gumbel(key, (n, *params["bias"].shape), jnp.float32)

        def one(noise: Float[Array, "genes choices"]) -> Genome:
            return self._unrolled(space, params, noise, _most_probable)[0]

        return jax.vmap(one)(noise)

    def likeliest(self, space: AnySpace, params: Params) -> Genome:
        """The genome of each gene's most probable choice, given those of earlier genes."""
        nothing = jnp.zeros_like(params["bias"])
        return self._unrolled(space, params, nothing, _most_probable)[0]

    def scores(self, space: AnySpace, params: Params, genomes: AnyGenomes) -> Scores:
        """Of each genome; the log-probability of its network is the sum over genes."""

        def one(genome: Genome) -> Scores:
            return self._unrolled(space, params, genome, lambda _, choice: choice)[1]

        return jax.vmap(one)(jnp.asarray(genomes))

    def _unrolled(
        self, space: AnySpace, params: Params, given: Array, choose: Callable[..., Int[Array, ""]]
    ) -> tuple[Genome, Scores]:
        """One genome: each gene's choice is that of its logits and its row of `given`."""
        space = _discrete(space)
        order = _order(space)
        genes = jax.tree.map(lambda array: array[order], _genes(space, params))

        def step(carry, gene_and_given):
            state, drawn, alive = carry
            gene, given = gene_and_given
            logits = jnp.where(gene.possible, self._logits(gene, state.hidden), -jnp.inf)
            matters = alive[gene.parent] & gene.allowed[drawn[gene.parent]]
            choice = jnp.where(matters, choose(logits, given), 0)
            state = _lstm(params["cell"], state, gene.embedding[choice])
            drawn = drawn.at[gene.position].set(choice)
            alive = alive.at[gene.position].set(matters)
            scores = jax.tree.map(
                lambda score: jnp.where(matters, score, 0.0), _scores(logits, choice)
            )
            return (state, drawn, alive), scores

        nothing = jnp.zeros(self.hidden, jnp.float32)
        drawn = jnp.zeros(len(order), jnp.int32)
        start = Memory(nothing, nothing), drawn, jnp.ones(len(order), bool)
        (_, drawn, _), scores = jax.lax.scan(step, start, (genes, given[order]))
        return drawn, jax.tree.map(lambda rows: jnp.zeros_like(rows).at[order].set(rows), scores)

    def _logits(self, gene: Gene, hidden: Float[Array, "hidden"]) -> Float[Array, "choices"]:
        logits = hidden @ gene.kernel + gene.bias
        return self.tanh * jnp.tanh(logits) if self.tanh else logits


def entropy_share(space: AnySpace, genomes: AnyGenomes, scores: Scores) -> Float[Array, ""]:
    """The mean entropy of the genes that matter in these genomes, as a share of the most."""
    space = _discrete(space)
    most = jnp.asarray(np.log(space.sizes), jnp.float32) * space.alive(genomes)
    return jnp.sum(scores.entropies) / jnp.maximum(jnp.sum(most), jnp.finfo(jnp.float32).tiny)


def _discrete(space: AnySpace) -> Space:
    if isinstance(space, Box):
        raise UserError(
            f"a policy needs a Space of choices, got the Box {space.name}: choose nsga2, moead or "
            "evosax"
        )
    return space


def _lstm(kernel: Float[Array, "inputs gates"], state: Memory, x: Float[Array, "hidden"]) -> Memory:
    """A step of long short-term memory (Hochreiter & Schmidhuber 1997), which forgets little."""
    gates = jnp.concatenate([x, state.hidden]) @ kernel
    take, forget, new, show = jnp.split(gates, 4)
    kept = jax.nn.sigmoid(forget + 1) * state.cell
    cell = kept + jax.nn.sigmoid(take) * jnp.tanh(new)
    return Memory(cell, jax.nn.sigmoid(show) * jnp.tanh(cell))


def _most_probable(
    logits: Float[Array, "choices"], noise: Float[Array, "choices"]
) -> Int[Array, ""]:
    """With noise of Gumbel's distribution a draw (Maddison et al., 2014)."""
    return jnp.argmax(logits + noise).astype(jnp.int32)


def _scores(logits: Float[Array, "choices"], choice: Int[Array, ""]) -> Scores:
    log_probs = jax.nn.log_softmax(logits)
    # Of an impossible choice 0, for -inf times 0 is none.
    finite = jnp.where(jnp.isfinite(logits), log_probs, 0.0)
    return Scores(finite[choice], -jnp.sum(jnp.exp(log_probs) * finite))


def _genes(space: Space, params: Params) -> Gene:
    parents, allowed, _ = space.needs
    return Gene(
        position=jnp.arange(len(parents), dtype=jnp.int32),
        parent=jnp.asarray(parents),
        allowed=jnp.asarray(allowed),
        possible=jnp.asarray(np.arange(space.sizes.max()) < space.sizes[:, None]),
        embedding=params["embedding"],
        kernel=params["kernel"],
        bias=params["bias"],
    )


def _order(space: Space) -> np.ndarray:
    """The genes' positions, each after the gene that it needs, else as the space has them."""
    parents = space.needs[0].tolist()
    order: list[int] = []

    def place(position: int) -> None:
        if position not in order:
            if parents[position] != position:
                place(parents[position])
            order.append(position)

    for position in range(len(parents)):
        place(position)
    return np.array(order, np.int32)
