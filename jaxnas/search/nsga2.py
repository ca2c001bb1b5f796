"""NSGA-II over genomes of choice indices (Deb et al., 2002): ranks first, then room on the front."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxnas.errors import UserError
from jaxnas.search import pareto
from jaxnas.search.algorithm import Asked
from jaxnas.spaces.space import Space
from jaxnas.types import Fitness, Genomes, PRNGKey

ROUNDS = 4  # times that an offspring which duplicates another candidate is mutated again


class State(NamedTuple):
    """The members of the population, best first, and how far the search is."""

    genomes: Genomes
    fitness: Fitness
    rows: Int[Array, "n"]  # where the archive has the members; -1 before they are evaluated
    rank: Int[Array, "n"]
    crowding: Float[Array, "n"]
    evaluated: Int[Array, ""]  # candidates told so far
    generation: Int[Array, ""]  # generations told so far


@dataclass(frozen=True)
class NSGA2:
    """Evolves a population towards the whole front of non-dominated candidates.

    The first generation is uniform over the space. Later ones: parents win binary tournaments on (rank, crowding) and
    come in pairs. `crossover` is the probability, per pair, that the two exchange genes, each gene with probability
    1/2; otherwise the children are copies. `mutation` is the probability, per child, that it is mutated at all: then
    each free gene (one with two choices or more) changes with probability 1/(number of free genes), or one of them,
    uniformly, if none was drawn, and always to a different value. A child that means the same network as a member or
    an earlier child is mutated again, up to `ROUNDS` times, and then accepted as it is.

    Parents and children compete for the places: by rank, then by crowding, then the newer first. Failed candidates only
    fill places that nobody else can, and are parents only if the whole population failed.
    """

    population: int = 28
    """Members, and candidates per generation; at least 2, even or odd."""
    crossover: float = 0.9
    """Probability that a pair of parents exchanges genes."""
    mutation: float = 0.35
    """Probability that a child is mutated."""
    objectives: int = 2
    """Columns of the fitness."""

    def __post_init__(self):
        if self.population < 2:
            raise UserError(f"population must be at least 2, got {self.population}; set a larger one")
        if self.objectives < 1:
            raise UserError(f"objectives must be at least 1, got {self.objectives}; set the number of fitness columns")
        for name in ("crossover", "mutation"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} must be a probability from 0 to 1, got {getattr(self, name)}; set one")

    def init(self, key: PRNGKey, space: Space) -> State:
        n = self.population
        return State(
            genomes=space.sample(key, n),
            fitness=jnp.full((n, self.objectives), jnp.nan, jnp.float32),
            rows=jnp.full(n, -1, jnp.int32),
            rank=jnp.zeros(n, jnp.int32),
            crowding=jnp.zeros(n, jnp.float32),
            evaluated=jnp.int32(0),
            generation=jnp.int32(0),
        )

    def ask(self, key: PRNGKey, space: Space, state: State) -> Asked:
        pairs_key, children_key, mutation_key, duplicates_key = jax.random.split(key, 4)
        pairs = _tournament(pairs_key, state, (2, (self.population + 1) // 2))
        children, parents = self._cross(children_key, state, pairs)
        children = self._mutate(mutation_key, space, children)
        children = _without_duplicates(duplicates_key, space, children, state.genomes)
        initial = Asked(state.genomes, jnp.full_like(parents, -1))
        return jax.tree.map(partial(jnp.where, state.generation == 0), initial, Asked(children, parents))

    def tell(self, state: State, asked: Asked, fitness: Fitness) -> State:
        if fitness.shape != state.fitness.shape:
            raise UserError(f"fitness must have shape {state.fitness.shape}, got {fitness.shape}; set objectives of NSGA2 to its columns")
        # The newer come first and win ties, so that the initial population takes the place of its unevaluated self.
        genomes = jnp.concatenate([asked.genomes, state.genomes])
        fitness = jnp.concatenate([fitness.astype(jnp.float32), state.fitness])
        rows = jnp.concatenate([state.evaluated + jnp.arange(self.population, dtype=jnp.int32), state.rows])
        rank = pareto.rank(fitness)
        crowding = pareto.crowding(fitness, rank)
        kept = pareto.survivors(rank, crowding, self.population)
        members = (array[kept] for array in (genomes, fitness, rows, rank, crowding))
        return State(*members, evaluated=state.evaluated + self.population, generation=state.generation + 1)

    def _cross(self, key: PRNGKey, state: State, pairs: Int[Array, "2 pairs"]) -> tuple[Genomes, Int[Array, "n 2"]]:
        """Two children a pair, the last one dropped if the population is odd; a copy has one parent."""
        crosses_key, swap_key = jax.random.split(key)
        first, second = state.genomes[pairs]
        crosses = jax.random.bernoulli(crosses_key, self.crossover, first.shape[:1])
        swap = crosses[:, None] & jax.random.bernoulli(swap_key, 0.5, first.shape)
        children = jnp.concatenate([jnp.where(swap, second, first), jnp.where(swap, first, second)])
        own, other = state.rows[pairs].reshape(-1), state.rows[pairs[::-1]].reshape(-1)
        parents = jnp.stack([own, jnp.where(jnp.tile(crosses, 2), other, -1)], axis=1)
        return children[: self.population], parents[: self.population]

    def _mutate(self, key: PRNGKey, space: Space, genomes: Genomes) -> Genomes:
        chosen_key, change_key = jax.random.split(key)
        chosen = jax.random.bernoulli(chosen_key, self.mutation, genomes.shape[:1])
        return _change(change_key, space, genomes, chosen)


def _tournament(key: PRNGKey, state: State, shape: tuple[int, ...]) -> Int[Array, "..."]:
    """Members that won against one other, both drawn uniformly from those that did not fail (from all if all did)."""
    valid = jnp.sum(~pareto.failed(state.fitness))  # failed members are the last ones
    drawn = jax.random.randint(key, (2, *shape), 0, jnp.where(valid > 0, valid, len(state.rank)))
    one, other = drawn
    tied = state.rank[other] == state.rank[one]
    better = (state.rank[other] < state.rank[one]) | (tied & (state.crowding[other] > state.crowding[one]))
    return jnp.where(better, other, one)


def _change(key: PRNGKey, space: Space, genomes: Genomes, chosen: Bool[Array, "n"]) -> Genomes:
    """Mutate the chosen genomes: each free gene with probability 1/(number of free genes), and at least one."""
    genes_key, values_key = jax.random.split(key)
    free = jnp.asarray(space.sizes > 1)
    draw = jnp.where(free, jax.random.uniform(genes_key, genomes.shape), jnp.inf)
    changes = draw <= jnp.maximum(1 / jnp.maximum(free.sum(), 1), draw.min(axis=1, keepdims=True))
    return space.mutate(values_key, genomes, changes & free & chosen[:, None])


def _without_duplicates(key: PRNGKey, space: Space, children: Genomes, members: Genomes) -> Genomes:
    """Mutate children that mean the same network as a member or an earlier child, `ROUNDS` times at most."""
    canonical = jax.vmap(space.canonical)
    taken = canonical(members)

    def again(step, children):
        mine = canonical(children)
        duplicate = _equal(mine, taken).any(axis=1) | jnp.tril(_equal(mine, mine), -1).any(axis=1)
        return _change(jax.random.fold_in(key, step), space, children, duplicate)

    return jax.lax.fori_loop(0, ROUNDS, again, children)


def _equal(one: Genomes, other: Int[Array, "m genes"]) -> Bool[Array, "n m"]:
    return (one[:, None] == other[None]).all(axis=-1)
