"""Logits and probabilities of a space's choices: what they mean, and what they have come to.

Of a static gene, the resolution, nothing is learnt: its row is one-hot, by the images.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxnas.networks.op import INPUT
from jaxnas.relaxations.relaxation import Logits
from jaxnas.spaces.parts import made_by
from jaxnas.spaces.space import Space
from jaxnas.types import SoftGenome

Cost = Callable[[SoftGenome], Float[Array, ""]]  # in its own unit; exact on one-hot genomes

COLLAPSED = 0.6  # share of the genes that may skip and do, from which it is a collapse


@dataclass(frozen=True)
class Architecture:
    """What a search by gradient has learnt: a probability of every choice."""

    label: str  # what it was asked for: "" or "cost weight 0.1"
    probabilities: Float[np.ndarray, "genes choices"]  # at the largest resolution
    choices: Bool[np.ndarray, "genes choices"]  # that are searched
    hard: bool  # trained on one network a step, not on mixtures
    cost: Cost | None = None
    target: float = math.nan
    reward: float = math.nan  # of a controller's last candidates

    def cost_of(self, genome: SoftGenome) -> float:
        """NaN where there is no cost."""
        return math.nan if self.cost is None else float(self.cost(genome))

    def entropies(self) -> Float[np.ndarray, "genes"]:
        """Of each gene's choices, as a share of the most it can be, log of their number.

        1: nothing is learnt; 0: it is decided, or there is one choice.
        """
        logs = np.log(np.where(self.probabilities > 0, self.probabilities, 1))
        return -(self.probabilities * logs).sum(-1) / np.log(np.maximum(self.choices.sum(-1), 2))


def searched_choices(space: Space, zeros: bool = True) -> Bool[np.ndarray, "genes choices"]:
    """The choices that are searched; without zeros, where a gene has others.

    False behind a gene's last choice.
    """
    every = np.arange(space.sizes.max()) < space.sizes[:, None]
    others = every & ~given_by("zero", space)
    return every if zeros else np.where(others.any(-1, keepdims=True), others, every)


def padded(choices: Bool[np.ndarray, "genes choices"], logits: Logits) -> Logits:
    """Minus infinity where no choice is searched."""
    return jnp.where(choices, logits, -jnp.inf)


def at_resolution(space: Space, soft: SoftGenome, pixels: int) -> SoftGenome:
    """The soft genome at this resolution, hard in the static gene."""
    if space.static is None:
        return soft
    choice = jax.nn.one_hot(space.resolution_choice(pixels), soft.shape[-1], dtype=soft.dtype)
    return soft.at[space.static].set(choice)


def probabilities(
    space: Space, choices: Bool[np.ndarray, "genes choices"], logits: Logits, pixels: int
) -> SoftGenome:
    """Of every choice, 0 where none is searched; differentiable."""
    return at_resolution(space, jax.nn.softmax(padded(choices, logits)), pixels)


def derived(space: Space, one: Architecture) -> Int[np.ndarray, "resolutions genes"]:
    """The most probable choice of every gene, at each resolution; genes that do not matter 0.

    Where it costs more than the target, see `_within_target`.
    """
    genome = one.probabilities.argmax(-1).astype(np.int32)
    every = [space.at_resolution(genome, i) for i in range(len(space.resolutions))]
    return np.asarray(space.canonical(np.stack([_within_target(space, one, g) for g in every])))


def _within_target(
    space: Space, one: Architecture, genome: Int[np.ndarray, "genes"]
) -> Int[np.ndarray, "genes"]:
    """The network after as many exchanges of a choice as the target takes.

    Each is the one that loses least probability (its logarithm) for what it saves; what it saves
    beyond the target does not count.
    """
    while one.cost is not None and (now := one.cost_of(_one_hot(space, genome))) > one.target:
        others = one.choices.copy()
        others[np.arange(len(genome)), genome] = False
        others[[] if space.static is None else space.static] = False
        genes, choices = np.nonzero(others & (one.probabilities > 0))
        changed = np.tile(genome, (len(genes), 1))
        changed[np.arange(len(genes)), genes] = choices
        saved = now - np.asarray(jax.vmap(one.cost)(_one_hot(space, changed)))
        if not (saved > 0).any():
            return genome  # there is no cheaper one
        logs = np.log(one.probabilities[genes, genome[genes]] / one.probabilities[genes, choices])
        counted = np.minimum(saved, now - one.target)
        genome = changed[np.where(saved > 0, logs / counted, np.inf).argmin()]
    return genome


def _one_hot(
    space: Space, genomes: Int[np.ndarray, "*n genes"]
) -> Float[Array, "*n genes choices"]:
    return jax.nn.one_hot(genomes, int(space.sizes.max()))


@cache
def given_by(kind: str, space: Space) -> Bool[np.ndarray, "genes choices"]:
    """Choices of operations with which an operator of this kind gives a part's result.

    Of the kind `INPUT` they are skips: the part hands on its input.
    """
    found = np.zeros((len(space.genes), space.sizes.max()), bool)
    for part, ops in zip(space.parts, space.tabled, strict=True):
        made = made_by(ops)[-1]
        given = np.isin(made, [i for i, op in enumerate(ops) if op.kind == kind])
        for axis, gene in enumerate(part.genes):
            if space.genes[gene].kind == "operation":
                others = tuple(a for a in range(given.ndim) if a != axis)
                found[gene, : given.shape[axis]] |= given.all(axis=others)
    return found


def skipped(space: Space, genome: Int[np.ndarray, "genes"]) -> tuple[int, int]:
    """How many genes of a network skip, and how many of those that matter could."""
    able = given_by(INPUT, space)
    alive = np.asarray(space.alive(genome))
    taken = able[np.arange(len(genome)), genome]
    return int((taken & alive).sum()), int((able.any(-1) & alive).sum())


def has_collapsed(space: Space, genome: Int[np.ndarray, "genes"]) -> bool:
    """Whether a network has turned into skips, as DARTS's do (Zela et al., ICLR 2020)."""
    taken, able = skipped(space, genome)
    return able > 0 and taken >= COLLAPSED * able


def collapse(label: str, skips: int, skippable: int) -> str:
    """A collapse in words."""
    of = f" of {label}" if label else ""
    count = f"{skips} of its {skippable} operations"
    return (
        f"the architecture{of} collapses to skips: {count} hand on their input; fewer "
        "epochs, or the relaxations sampled and gumbel, are the known remedies"
    )
