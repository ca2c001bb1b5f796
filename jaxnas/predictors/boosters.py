"""XGBoost's trees from plain arrays, and what they say of rows of features; XGBoost is not needed.

An archive has, for all nodes of all trees one after the other, `left` and `right` (within the
tree, -1 at a leaf), `feature`, `threshold` (a feature below it leads to the left), `value` (of a
leaf) and `default_left` (1: a missing value, NaN, leads to the left); and `offsets`, where each
tree begins, and `base_score`. The published surrogates of AnalogNAS (Benmeziane et al., EDGE 2023)
are three of them.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnas.data.archives import ArchiveError, opened
from jaxnas.errors import UserError

NAMES = ("left", "right", "feature", "threshold", "value", "default_left", "offsets", "base_score")
CHUNK = 2048  # rows at a time: what a tree's questions to them take fits into a cache
MOST_DEPTH = 10  # complete trees of it have a thousand leaves


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Booster:
    """Complete trees of one depth, a pytree.

    Nodes are in order of depth; the left children of a level stand before all its right ones, in
    the order of their parents.
    """

    features: int = field(metadata={"static": True})
    # The column that a node asks for: where a missing value leads to the right, `features` more.
    column: Int[Array, "trees nodes"]
    threshold: Float[Array, "trees nodes"]  # a feature of at least this leads to the right
    value: Float[Array, "trees leaves"]
    base_score: Float[Array, ""]

    def __call__(self, x: Float[Array | np.ndarray, "n features"]) -> Float[Array, "n"]:
        """The prediction for each row, NaN being a missing value; traceable.

        Every node of a tree is asked, which vectorises, and leaves are chosen from the deepest
        level up.
        """
        if x.shape[1] != self.features:
            raise ValueError(f"expected {self.features} features, got {x.shape[1]}")
        chunk = min(CHUNK, max(len(x), 1))
        padded = jnp.pad(jnp.asarray(x, jnp.float32), ((0, -len(x) % chunk), (0, 0)))
        missing = jnp.isnan(padded)
        both = [jnp.where(missing, side, padded) for side in (-jnp.inf, jnp.inf)]
        rows = jnp.concatenate(both, axis=1)
        columns = rows.reshape(-1, chunk, rows.shape[1]).transpose(0, 2, 1)
        return jax.lax.map(self._chunk, columns).reshape(-1)[: len(x)]

    def _chunk(self, columns: Float[Array, "columns chunk"]) -> Float[Array, "chunk"]:
        trees = (self.column, self.threshold, self.value)

        def add(total, tree):
            return total + _leaf(columns, *tree), None

        start = jnp.full(columns.shape[1], self.base_score)
        return jax.lax.scan(add, start, trees)[0]


def _leaf(
    columns: Float[Array, "columns chunk"],
    column: Int[Array, "nodes"],
    threshold: Float[Array, "nodes"],
    value: Float[Array, "leaves"],
) -> Float[Array, "chunk"]:
    """The value of the leaf that each row comes to in one tree."""
    right = columns[column] >= threshold[:, None]
    found = value[:, None]
    for level in reversed(range((len(value) - 1).bit_length())):
        nodes = 2**level
        found = jnp.where(right[nodes - 1 : 2 * nodes - 1], found[nodes:], found[:nodes])
    return found[0]


class _Nodes(NamedTuple):
    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    value: np.ndarray
    default_left: np.ndarray


def load(path: Path | str, features: int) -> Booster:
    """The booster of an archive, that takes so many features. Nothing is unpickled.

    Raises:
        UserError: the file cannot be read, lacks an array, or its nodes make no trees.
    """
    try:
        with opened(Path(path)) as archive:
            if missing := [name for name in NAMES if name not in archive.names]:
                raise UserError(
                    f"{path} has no array {missing[0]!r} of a booster's trees; it needs "
                    f"{', '.join(NAMES)}"
                )
            arrays = {name: archive.read(name) for name in NAMES}
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such booster; check the path, which is relative to the working directory"
        ) from None
    except ArchiveError as error:
        raise UserError(
            f"{path} cannot be read as an .npz of plain arrays ({error}): write it with numpy.savez"
        ) from error
    try:
        return _made(features, **arrays)
    except (IndexError, ValueError) as error:
        raise UserError(f"{path} has no trees of a booster: {error}") from error


def _made(features: int, offsets: np.ndarray, base_score: np.ndarray, **nodes: np.ndarray):
    trees = [
        _Nodes(**{name: array[start:end] for name, array in nodes.items()})
        for start, end in pairwise(offsets)
    ]
    depth = max(map(_depth, trees))
    rows = [_complete(tree, depth) for tree in trees]
    feature, threshold, missing_right, value = map(np.stack, zip(*rows, strict=True))
    if feature.size and (feature.min() < 0 or feature.max() >= features):
        raise ValueError(f"a node asks for a feature that is none of {features}")
    return Booster(
        features,
        jnp.asarray(feature + features * missing_right, jnp.int32),
        jnp.asarray(threshold, jnp.float32),
        jnp.asarray(value, jnp.float32),
        jnp.asarray(base_score, jnp.float32).reshape(()),
    )


def _depth(tree: _Nodes) -> int:
    """Questions on the longest way from the root to a leaf; refuses a way that does not end."""
    level = np.zeros(1, int)
    for depth in range(MOST_DEPTH + 1):
        level = level[tree.left[level] >= 0]
        if not len(level):
            return depth
        level = np.concatenate([tree.left[level], tree.right[level]])
    raise ValueError(f"a tree asks more than {MOST_DEPTH} questions")


def _complete(tree: _Nodes, depth: int) -> tuple[np.ndarray, ...]:
    """The nodes of the complete tree, and its leaves; a leaf above is repeated down to them."""
    nodes = np.zeros(1, int)
    asked = []
    for _ in range(depth):
        inner = tree.left[nodes] >= 0
        asked.append(
            (
                np.where(inner, tree.feature[nodes], 0),
                np.where(inner, tree.threshold[nodes], 0.0),
                inner & (tree.default_left[nodes] == 0),
            )
        )
        sides = [np.where(inner, side[nodes], nodes) for side in (tree.left, tree.right)]
        nodes = np.concatenate(sides)
    levels = map(np.concatenate, zip(*asked, strict=True)) if asked else (np.zeros(0),) * 3
    return *levels, tree.value[nodes]
