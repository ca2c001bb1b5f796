"""A network as a graph of its parts: what each computes, and whose results it depends on."""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxnas.networks.op import INPUT, PICK, Op
from jaxnas.networks.operators import OPERATORS
from jaxnas.networks.operators.operator import nothing
from jaxnas.spaces.layer_sequence import layer_sequence, looked_up, need_parts
from jaxnas.spaces.parts import IMAGE, inputs_of
from jaxnas.spaces.space import Space


class OperatorGraph(NamedTuple):
    """Nodes are the parts of the space in order, blocks or edges; float32."""

    nodes: Float[Array, "*n parts features"]  # `layer_sequence`, and 1 where the part is live
    reads: Float[Array, "*n parts parts"]  # 1 where a live part (row) depends on another (column)


class Ways(NamedTuple):
    """How results come about, of one genome or of many."""

    live: Bool[Array, "*n parts"]  # on a way from the image to the result of the network
    reads: Bool[Array, "*n parts parts"]  # as of `OperatorGraph`
    depth: Int[Array, "*n"]  # operators with weights on the longest way


def operator_graph(space: Space, genomes: Int[Array | np.ndarray, "*n genes"]) -> OperatorGraph:
    """The graph of each network.

    A part depends on what it reads, unless it makes zeros of it (`none`) or picks another input. It
    is live if such steps lead from the image to it and on to the network's result. A norm that
    shifts zeros counts as making zeros of them. Traceable. Raises a `UserError` where the space has
    no parts.
    """
    found = ways(space, genomes)
    rows = layer_sequence(space, genomes)
    nodes = jnp.concatenate([rows, found.live[..., None].astype(jnp.float32)], axis=-1)
    return OperatorGraph(nodes, found.reads.astype(jnp.float32))


def ways(space: Space, genomes: Int[Array | np.ndarray, "*n genes"]) -> Ways:
    """As of `operator_graph`."""
    need_parts(space, "operator graph")
    sources, tables = _tables(space)
    lengths = looked_up(space, tables, genomes)
    flat = lengths.reshape(-1, *lengths.shape[-2:])
    found = jax.vmap(lambda one: _ways(sources, one))(flat)
    shape = lengths.shape[:-2]
    return Ways(*(x.reshape(*shape, *x.shape[1:]) for x in found))


def _ways(sources: Int[np.ndarray, "parts inputs"], lengths: Int[Array, "parts inputs"]) -> Ways:
    """Of one network; place 0 is the image, i + 1 part i."""
    parts = len(sources)
    order = (jnp.arange(1, parts + 1), jnp.asarray(sources), lengths)

    def forward(far, part):
        place, read, length = part
        ways = jnp.where((length >= 0) & (far[read] >= 0), length + far[read], -1)
        return far.at[place].set(ways.max()), None

    def backward(needed, part):
        place, read, length = part
        return needed.at[read].max(needed[place] & (length >= 0)), None

    start = jnp.full(parts + 1, -1).at[0].set(0)
    far, _ = jax.lax.scan(forward, start, order)
    last = jnp.zeros(parts + 1, bool).at[-1].set(True)
    needed, _ = jax.lax.scan(backward, last, order, reverse=True)
    live = needed & (far >= 0)
    reads = jnp.zeros((parts, parts + 1), bool)
    reads = reads.at[np.arange(parts)[:, None], sources].max(lengths >= 0)
    reads = reads[:, 1:] & live[1:, None] & live[1:]
    return Ways(live[1:], reads, jnp.maximum(far[-1], 0))


@cache
def _tables(space: Space) -> tuple[Int[np.ndarray, "parts inputs"], tuple[np.ndarray, ...]]:
    """What each part reads, and by its choices how far each input is from its result.

    In operators with weights, -1 where the result does not depend on it; rows are padded with that.
    """
    names = inputs_of(space.parts)
    place = {IMAGE: 0} | {part.name: i for i, part in enumerate(space.parts, 1)}
    most = max(map(len, names))
    sources = np.zeros((len(names), most), np.int32)
    tables = []
    for i, (row, ops) in enumerate(zip(names, space.tabled, strict=True)):
        sources[i, : len(row)] = [place[name] for name in row]
        table = np.full((*ops[0].repeat.shape, most), -1, np.int32)
        table[..., : len(row)] = _lengths(ops, len(row))
        tables.append(table)
    return sources, tuple(tables)


def _lengths(ops: tuple[Op, ...], inputs: int) -> Int[np.ndarray, "*choices inputs"]:
    shape = (*ops[0].repeat.shape, inputs)
    found: list[np.ndarray] = []
    for i, op in enumerate(ops):
        if op.kind == INPUT:
            length = np.broadcast_to(np.where(np.arange(inputs) == i, 0, -1), shape)
        elif op.kind == PICK:
            offered = np.stack([found[j] for j in op.inputs])
            chosen = np.broadcast_to(np.asarray(op.choice)[..., None], shape)[None]
            length = np.take_along_axis(offered, chosen, axis=0)[0]
        elif op.kind == "zero":
            length = np.full(shape, -1)
        else:
            longest = np.max([found[j] for j in op.inputs], axis=0)
            weighs = OPERATORS[op.kind].params is not nothing
            length = np.where(longest >= 0, longest + weighs, -1)
        found.append(length)
    return found[-1]
