"""A network as the sequence of its layers: the parts of its space, a row of features each."""

from functools import cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnas.errors import UserError
from jaxnas.networks.op import Op
from jaxnas.spaces.cost_tables import counted
from jaxnas.spaces.space import Space

SIZES = ("macs", "params", "c_out", "side", "kernel", "groups")


def layer_sequence(
    space: Space, genomes: Int[Array | np.ndarray, "*n genes"]
) -> Float[Array, "*n parts features"]:
    """What each part, a block or an edge, computes; float32, in the order of the parts.

    How many operators of each kind it has (the kinds that the space knows, in order of name), then
    the `SIZES`, as log2(1 + size): multiply-adds and weights of all its operators, channels and
    pixels of a side of its result, and the largest kernel and number of groups. A part that is not
    there has no operators. Traceable; one look-up a part. Raises a `UserError` where the space has
    no parts.
    """
    return looked_up(space, _tables(space), genomes)


def kinds(space: Space) -> list[str]:
    """Kinds of operators that a network of the space may have, in order of name."""
    return sorted({op.kind for ops in space.tabled for op in ops if counted(op)})


def looked_up(
    space: Space, tables: tuple[np.ndarray, ...], genomes: Int[Array | np.ndarray, "*n genes"]
) -> Float[Array, "*n parts columns"] | Int[Array, "*n parts columns"]:
    """The row of each part's table, (*choices of its genes, columns), that each genome has.

    A gene that does not matter counts as its first choice.
    """
    genomes = space.canonical(genomes)
    shape = genomes.shape[:-1]
    rows = []
    for part, table in zip(space.parts, tables, strict=True):
        row = jnp.asarray(table)[tuple(genomes[..., i] for i in part.genes)]
        rows.append(jnp.broadcast_to(row, (*shape, table.shape[-1])))
    return jnp.stack(rows, axis=-2)


def need_parts(space: Space, encoding: str) -> None:
    """Refuses a space of genes alone."""
    if not space.parts:
        raise UserError(
            f"space {space.name} has no parts, of which the {encoding} is made: give it parts, or "
            "use an encoding of genes (one_hot, gene_features)"
        )


@cache
def _tables(space: Space) -> tuple[np.ndarray, ...]:
    need_parts(space, "sequence of layers")
    names = kinds(space)
    return tuple(_features(ops, names) for ops in space.tabled)


def _features(ops: tuple[Op, ...], names: list[str]) -> Float[np.ndarray, "*choices features"]:
    """Of one part, for every combination of its genes' choices."""
    shape = ops[0].repeat.shape
    real = [op for op in ops if counted(op)]
    counts = [total([op.repeat for op in real if op.kind == name], shape) for name in names]
    sizes = [
        total([op.repeat * op.macs for op in real], shape),
        total([op.repeat * op.params for op in real], shape),
        ops[-1].c_out,
        ops[-1].height,
        np.max([op.repeat * op.kernel for op in real], axis=0, initial=0),
        np.max([op.repeat * op.groups for op in real], axis=0, initial=0),
    ]
    logs = [np.log2(1 + np.broadcast_to(size, shape)) for size in sizes]
    return np.stack([*counts, *logs], axis=-1).astype(np.float32)


def total(figures: list, shape: tuple[int, ...]) -> Int[np.ndarray, "*choices"]:
    """Their sum, 0 of none."""
    every = [np.zeros(shape, np.int64), *(np.broadcast_to(one, shape) for one in figures)]
    return np.asarray(np.sum(every, axis=0))
