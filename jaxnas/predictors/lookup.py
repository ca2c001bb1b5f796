"""The look-up table.

A network takes as long as its blocks together, and every block has a table of its own.

The tables are fitted to the latencies of whole networks.
"""

import math
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxnas.predictors.predictor import (
    Arrays,
    Choices,
    Latencies,
    check_genomes,
    check_training,
    checked,
)
from jaxnas.spaces.soft import expected_canonical
from jaxnas.spaces.space import Space
from jaxnas.types import PRNGKey, SoftGenome

RIDGES = 10.0 ** np.arange(-5, 2)
CONSTANT = 100.0  # prior variance of what every network takes, in that of one table entry
# A sum of fitted entries may be negative: it counts as this share of the fastest network seen.
FLOOR = 0.1

# Networks from which on the entries are solved for, where they are fewer: it takes the square of
# their number in memory, not of the networks'.
MANY = 1000

Blocks = tuple[tuple[int, ...], ...]


def blocks(space: Space) -> Blocks:
    """The genes (positions) that decide what each block takes.

    Those of the space's parts that any decide, or each by itself where it has none.
    """
    parts = tuple(term.genes for term in space.terms if term.genes)
    return parts or tuple((i,) for i in range(len(space.genes)))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Tables:
    """Look-up tables, of several models side by side.

    A pytree, to be passed to a compiled search as an argument.
    """

    space: Space = field(metadata={"static": True})
    # ms, one array a block; the last of the block's genes changes fastest.
    tables: tuple[Float[Array, "k _"], ...]
    constant: Float[Array, "k"]  # ms that every network takes
    floor: Float[Array, "k"]  # ms, the least that is predicted

    def predict(self, genomes: Choices) -> Float[Array, "k n"]:
        check_genomes(self.space, genomes)
        return self._predicted(genomes)

    @jax.jit
    def _predicted(self, genomes: Choices) -> Float[Array, "k n"]:
        total = self.constant[:, None]
        genomes = self.space.canonical(genomes)
        for block, table in zip(blocks(self.space), self.tables, strict=True):
            total = total + table[:, _rows(self.space, block, genomes)]
        return jnp.maximum(total, self.floor[:, None])

    def expected(self, genome: SoftGenome) -> Float[Array, "k"]:
        total = self.constant
        for block, table in zip(blocks(self.space), self.tables, strict=True):
            by_choices = table.T.reshape(*(self.space.sizes[i] for i in block), -1)
            total = total + expected_canonical(self.space, genome, block, by_choices)
        return jnp.maximum(total, self.floor)

    def arrays(self) -> dict[str, Array]:
        tables = {f"table{i}": table for i, table in enumerate(self.tables)}
        return tables | {"constant": self.constant, "floor": self.floor}


@dataclass(frozen=True)
class Lookup:
    """Fits the tables by least squares of the relative error (`predictor.Method`).

    There are more entries than networks, so those that share choices are taken to be alike: an
    entry is the sum of a figure for each choice and one of its own, small ones preferred (ridge
    regression; how strongly, the leave-one-out error says).
    """

    def fit(
        self,
        key: PRNGKey,
        space: Space,
        genomes: Choices,
        latency_ms: Latencies,
        used: Bool[np.ndarray, "k n"],
    ) -> Tables:
        check_training(space, genomes, latency_ms, used)
        genomes = np.asarray(space.canonical(genomes))
        latency_ms = np.asarray(latency_ms, np.float64)
        duals = np.stack(_duals(space, genomes, latency_ms, used))
        tables = []
        for block in blocks(space):
            entries = np.indices([space.sizes[i] for i in block]).reshape(len(block), -1).T
            tables.append(
                jnp.asarray(duals @ _similarity(genomes[:, list(block)], entries), jnp.float32)
            )
        floor = FLOOR * np.array([latency_ms[row].min() for row in used])
        constant = CONSTANT * duals.sum(axis=1)
        return Tables(
            space,
            tuple(tables),
            jnp.asarray(constant, jnp.float32),
            jnp.asarray(floor, jnp.float32),
        )

    def from_arrays(self, space: Space, arrays: Arrays, count: int) -> Tables:
        entries = [math.prod(int(space.sizes[i]) for i in block) for block in blocks(space)]
        tables = {f"table{i}": (count, size) for i, size in enumerate(entries)}
        found = checked(space, arrays, tables | {"constant": (count,), "floor": (count,)})
        return Tables(
            space, tuple(found[name] for name in tables), found["constant"], found["floor"]
        )


def _rows(space: Space, block: tuple[int, ...], genomes: Choices) -> Array:
    """Where a block's table has each genome."""
    row = jnp.zeros(genomes.shape[:-1], jnp.int32)
    for i in block:
        row = row * int(space.sizes[i]) + genomes[..., i]
    return row


def _similarity(one: np.ndarray, other: np.ndarray) -> Float[np.ndarray, "n m"]:
    """Covariance of two entries of a block's table.

    One for each choice that they share, and one if they are the same.
    """
    same = one[:, None] == other[None]
    return same.sum(axis=-1) + same.all(axis=-1).astype(np.float64)


def _duals(
    space: Space,
    genomes: Int[np.ndarray, "n genes"],
    latency_ms: Float[np.ndarray, "n"],
    used: Bool[np.ndarray, "k n"],
) -> list[Float[np.ndarray, "n"]]:
    """What each network adds to the entries like its own, for each row of `used`."""
    entries = [[int(space.sizes[i]) for i in block] for block in blocks(space)]
    if MANY < len(genomes) > sum(sum(sizes) + math.prod(sizes) for sizes in entries):
        columns = _columns(space, genomes)
        return [_solve_by_entries(columns, latency_ms, row) for row in used]
    similar = [_similarity(genomes[:, b], genomes[:, b]) for b in map(list, blocks(space))]
    gram = CONSTANT + np.sum(similar, axis=0)
    return [_solve(gram, latency_ms, row) for row in used]


def _columns(space: Space, genomes: Int[np.ndarray, "n genes"]) -> Float[np.ndarray, "n columns"]:
    """One for each choice of a block's genes, one for each of its entries, and the constant.

    The products of two rows are what `_similarity` sums up to.
    """
    found = [np.full((len(genomes), 1), np.sqrt(CONSTANT))]
    for block in blocks(space):
        sizes = [int(space.sizes[i]) for i in block]
        found += [np.eye(size)[genomes[:, i]] for i, size in zip(block, sizes, strict=True)]
        entry = np.ravel_multi_index(tuple(genomes[:, i] for i in block), sizes)
        found.append(np.eye(math.prod(sizes))[entry])
    return np.concatenate(found, axis=1)


def _solve_by_entries(
    columns: Float[np.ndarray, "n columns"],
    latency: Float[np.ndarray, "n"],
    used: Bool[np.ndarray, "n"],
) -> Float[np.ndarray, "n"]:
    """As `_solve`, of more networks than there are columns."""
    unit = np.exp(np.log(latency[used]).mean())
    scale = unit / latency[used]  # relative errors
    rows = columns[used] * scale[:, None]
    values, vectors = np.linalg.eigh(rows.T @ rows)
    turned = rows @ vectors
    projected = turned.sum(axis=0)

    def solution(ridge: float) -> tuple[float, np.ndarray]:
        damped = 1 / (np.maximum(values, 0) + ridge)
        off = 1 - turned @ (damped * projected)
        return float(np.mean((off / (1 - turned**2 @ damped)) ** 2)), off / ridge

    _, best = min((solution(ridge) for ridge in RIDGES), key=lambda found: found[0])
    duals = np.zeros(len(latency))
    duals[used] = unit * scale * best
    return duals


def _solve(
    gram: Float[np.ndarray, "n n"], latency: Float[np.ndarray, "n"], used: Bool[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
    """What each network adds to the entries like its own.

    Of the ridges that with the least leave-one-out error.
    """
    unit = np.exp(np.log(latency[used]).mean())
    scale = unit / latency[used]  # relative errors
    values, vectors = np.linalg.eigh(gram[np.ix_(used, used)] * scale[:, None] * scale)
    projected = vectors.T @ np.ones(len(scale))

    def solution(ridge: float) -> tuple[float, np.ndarray]:
        damped = 1 / (np.maximum(values, 0) + ridge)
        dual = vectors @ (damped * projected)
        return float(np.mean((dual / ((vectors**2) @ damped)) ** 2)), dual

    _, best = min((solution(ridge) for ridge in RIDGES), key=lambda found: found[0])
    duals = np.zeros(len(latency))
    duals[used] = unit * scale * best
    return duals
