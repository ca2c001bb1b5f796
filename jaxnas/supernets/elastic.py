"""An operator's sizes under a traced genome, as weights of what occurs."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnas.networks.op import Op

Row = Float[Array, "_"]  # the weights of a gene's choices


class Sizes:
    """The sizes of one operator under a genome: `networks.operators.operator.Elastic`."""

    def __init__(self, op: Op, genes: Sequence[Int[Array, ""] | Row], read: Sequence[Op] = ()):
        self.op = op
        self.genes = genes
        self.read = read  # the operators of its inputs

    def live(self, name: str, largest: int) -> Float[Array, "largest"] | None:
        """Weight of each channel; None where the size is always the largest."""
        found, at = self._found(name)
        if len(found) == 1 and found[0, 0] >= largest:
            return None
        if self._hard:
            channels = jnp.arange(largest, dtype=jnp.int32)
            return (channels < looked_up(found[:, 0], [at])).astype(jnp.float32)
        return at @ jnp.asarray(np.arange(largest) < found, jnp.float32)

    def taps(self, largest: int) -> Float[Array, "largest largest"] | None:
        """Weight of each tap; None where the kernel is always the largest."""
        found, at = self._found("kernel")
        if len(found) == 1:
            return None
        off_centre = np.abs(np.arange(largest) - largest // 2)
        if self._hard:
            reach = looked_up(found[:, 0] // 2, [at])
            inside = jnp.asarray(off_centre, jnp.int32) <= reach
            return (inside[:, None] & inside[None, :]).astype(jnp.float32)
        inside = off_centre <= found // 2
        return jnp.tensordot(
            at, jnp.asarray(inside[:, :, None] & inside[:, None, :], jnp.float32), 1
        )

    def weights(self, *names: str) -> tuple[list[tuple[int, ...]], Float[Array, "variants"]]:
        """The different sizes that occur together, and the weight of each."""
        found, at = self._found(*names)
        return [tuple(map(int, row)) for row in found], self._weights(found, at)

    def places(self) -> list[tuple[list[int], Float[Array, "variants"]]]:
        """Of each input the different sums of the widths before it, and the weight of each."""
        before = np.zeros_like(self.op.repeat)
        places = []
        for op in self.read:
            found, at = self._different(before[..., None])
            places.append((found[:, 0].tolist(), self._weights(found, at)))
            before = before + op.c_out
        return places

    def chosen(self, name: str) -> tuple[np.ndarray, Any]:
        """Different values of a size, and which of them it is: an index, or weights."""
        found, at = self._found(name)
        return found[:, 0], at

    @property
    def _hard(self) -> bool:
        return not self.genes or self.genes[0].ndim == 0

    def _found(self, *names: str) -> tuple[np.ndarray, Any]:
        """Different rows of the sizes `names`, int (variants, names), and an index or weights."""
        return self._different(np.stack([getattr(self.op, name) for name in names], axis=-1))

    def _weights(self, found: np.ndarray, at: Any) -> Float[Array, "variants"]:
        """The weight of each row found, of a hard genome 0 or 1."""
        return (np.arange(len(found)) == at).astype(jnp.float32) if self._hard else at

    def _different(self, table: np.ndarray) -> tuple[np.ndarray, Any]:
        """Different rows of a table by the genes' choices, and an index or weights."""
        axes = [a for a in range(table.ndim - 1) if (np.diff(table, axis=a) != 0).any()]
        few = table[tuple(slice(None) if a in axes else 0 for a in range(table.ndim - 1))]
        found, of = np.unique(few.reshape(-1, table.shape[-1]), axis=0, return_inverse=True)
        if len(found) == 1:
            return found, jnp.int32(0) if self._hard else jnp.ones(1, jnp.float32)
        of = of.reshape(few.shape[:-1])
        genes = [self.genes[a] for a in axes]
        if self._hard:
            return found, looked_up(of, genes)
        joint = reduce(lambda a, b: (a[:, None] * b[None]).ravel(), genes)
        of_each = jnp.asarray(of.ravel()[:, None] == np.arange(len(found)), jnp.float32)
        return found, joint @ of_each


def looked_up(table: Int[np.ndarray, "..."], index: Sequence[Int[Array, ""]]) -> Int[Array, ""]:
    """The entry of a small table, as a sum.

    XLA repeats an indexing in every loop that reads the entry, and a sum it computes once.
    """
    found = jnp.asarray(table, jnp.int32)
    for i in index:
        here = jnp.arange(len(found), dtype=jnp.int32) == i
        found = jnp.sum(
            jnp.where(here.reshape(-1, *[1] * (found.ndim - 1)), found, 0), axis=0, dtype=jnp.int32
        )
    return found
